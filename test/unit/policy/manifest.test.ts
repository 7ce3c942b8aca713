import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { parseManifest } from '../../../src/steps/manifest.js'

const failure = (text: string): UserError => {
  try {
    parseManifest(text, 'pod.yaml')
  } catch (error) {
    if (error instanceof UserError) return error
    throw error
  }
  throw new Error('the manifest was read')
}

describe('parseManifest', () => {
  it('reads documents, aliases and merges', () => {
    expect(parseManifest('a: &x [1]\nb: *x\n---\n---\nv: &m {k: 1}\nw: {<<: *m, l: 2}\n', 'pod.yaml')).toEqual([
      { a: [1], b: [1] },
      { v: { k: 1 }, w: { k: 1, l: 2 } }
    ])
  })

  it.each([
    ['day: 2026-01-01', 'day is a Date'],
    ['a: [{b: !!binary aGVsbG8=}]', 'a[0].b is a'],
    ['s: !!set {a, b}', 's is a Set'],
    ['v: .nan', 'v is NaN'],
    ['v: -.inf', 'v is -Infinity'],
    ['v: 12345678901234567890', 'v is a whole number that cannot be kept exactly'],
    ['t: "\\ud800"', 't has half of a surrogate pair']
  ])('refuses what JSON cannot say, and names the place: %s', (text, why) => {
    const { code, why: said } = failure(text)
    expect(code).toBe('policy.file')
    expect(said).toContain(why)
  })

  const levels = (line: (level: number) => string) => Array.from({ length: 30 }, (_, level) => line(level)).join('\n')
  it.each([
    [
      'aliases of aliases',
      levels(
        (i) =>
          `a${i}: &a${i} [${
            i === 0
              ? 'x'
              : Array(9)
                  .fill(`*a${i - 1}`)
                  .join()
          }]`
      )
    ],
    [
      'merges of merges',
      levels((i) => `m${i}: &m${i} {x: {<<: ${i === 0 ? '{a: 1}' : `*m${i - 1}`}}, y: ${i === 0 ? '1' : `*m${i - 1}`}}`)
    ],
    ['an alias of itself', 'metadata: &m {name: p, x: *m}'],
    ['very many aliases', `a: &a 1\nb: [${Array(2_000).fill('*a').join()}]`],
    ['very deep lists', `a: ${'['.repeat(5_000)}${']'.repeat(5_000)}`],
    ['a list', '[1]'],
    ['what is no YAML', 'a: [']
  ])('answers %s with an error of the file, soon', (_, text) => {
    const begin = performance.now()
    expect(failure(text).code).toBe('policy.file')
    expect(performance.now() - begin).toBeLessThan(5_000)
  })
})
