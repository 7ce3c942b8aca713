import { PassThrough } from 'node:stream'
import { describe, expect, it } from '@jest/globals'
import { openLineDialogue } from '../../../src/terminal/index.js'

function open(signal = new AbortController().signal) {
  const stdin = new PassThrough()
  const output = new PassThrough()
  return { stdin, output, dialogue: openLineDialogue({ stdin, output, signal }) }
}

describe('openLineDialogue', () => {
  it('writes the question as it is and returns the line without its end', async () => {
    const { stdin, output, dialogue } = open()
    stdin.write('y\r\n')
    expect(await dialogue.ask('well? ')).toBe('y')
    expect(String(output.read())).toBe('well? ')
  })

  it('keeps the lines that came at once for the questions that follow', async () => {
    const { stdin, dialogue } = open()
    stdin.end('one\ntwo')
    expect([await dialogue.ask(''), await dialogue.ask(''), await dialogue.ask('')]).toEqual(['one', 'two', undefined])
  })

  it('gives an empty line for an empty line', async () => {
    const { stdin, dialogue } = open()
    stdin.end('\n')
    expect([await dialogue.ask(''), await dialogue.ask('')]).toEqual(['', undefined])
  })

  it('reads nothing before it is asked, and nothing after it is closed', async () => {
    const { stdin, dialogue } = open()
    expect(stdin.listenerCount('data')).toBe(0)
    stdin.write('y\n')
    await dialogue.ask('')
    dialogue.close()
    expect(stdin.isPaused()).toBe(true)
  })

  it('stops waiting when it is interrupted', async () => {
    const interruption = new AbortController()
    const { dialogue } = open(interruption.signal)
    const answer = dialogue.ask('well? ')
    interruption.abort()
    expect(await answer).toBeUndefined()
  })
})
