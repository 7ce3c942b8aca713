import { describe, expect, it } from '@jest/globals'
import { renderTable } from '../../../src/terminal/table.js'

describe('renderTable', () => {
  it('puts values below each other, and a dash where there is none', () => {
    expect(
      renderTable(
        [
          ['a', ['1', '2']],
          ['long', []]
        ],
        80
      )
    ).toBe('a     1\n      2\nlong  –')
  })

  it('breaks what is too long, at a space or within a word', () => {
    const text = renderTable([['n', [`${'x'.repeat(20)} ${'y'.repeat(50)}`]]], 33)
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(33)
    expect(text.replace(/\s/g, '')).toBe(`n${'x'.repeat(20)}${'y'.repeat(50)}`)
  })

  it('makes what moves the cursor harmless', () => {
    expect(renderTable([['n', ['a\u001b[2Jb']]], 80)).toBe('n  ab')
  })
})
