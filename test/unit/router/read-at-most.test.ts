import { describe, expect, it } from '@jest/globals'
import { Collector, readAtMost } from '../../../src/router/read-at-most.js'

async function* chunksOf(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

describe('readAtMost', () => {
  it('joins chunks of any number and size', async () => {
    expect((await readAtMost(chunksOf(), 5)).toString()).toBe('')
    expect((await readAtMost(chunksOf('hello'), 5)).toString()).toBe('hello')
    const words = Array.from({ length: 50_000 }, (_, i) => `${i},`)
    expect((await readAtMost(chunksOf('', ...words), 1e6)).toString()).toBe(words.join(''))
  })

  it('refuses more than its limit', async () => {
    await expect(readAtMost(chunksOf('hello', '!'), 5)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
    await expect(readAtMost(chunksOf('hello!'), 5)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
  })
})

describe('Collector', () => {
  it('does not write into a chunk that it was given', () => {
    const first = Buffer.from('abcdef').subarray(0, 3)
    const collector = new Collector(10)
    collector.add(first)
    collector.add(Buffer.from('XYZ'))
    expect(collector.bytes.toString()).toBe('abcXYZ')
    expect(Buffer.from(first.buffer, first.byteOffset, 6).toString()).toBe('abcdef')
  })
})
