import { describe, expect, it } from '@jest/globals'
import { progressBar, watched } from '../../../src/image/transfer.js'
import { bytesOf } from './support.js'

async function* chunks(...sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (const size of sizes) yield new Uint8Array(size)
}

describe('watched', () => {
  it('passes bytes through and tells how many there were', async () => {
    const seen: number[] = []
    const bytes = await bytesOf(watched(chunks(3, 4), (received) => seen.push(received)))
    expect([bytes.length, seen]).toEqual([7, [3, 7]])
  })
})

describe('a progress bar', () => {
  function bar(totalBytes: number) {
    const notes: string[] = []
    let time = 0
    const watch = progressBar(
      'base layer 2 of 5',
      totalBytes,
      (text) => notes.push(text),
      () => time
    )
    return { notes, at: (seconds: number, received: number) => ((time = seconds * 1000), watch(received)) }
  }

  it('shows how far a blob is, in words and as a bar', () => {
    const { notes, at } = bar(29_800_000)
    at(2, 11_920_000)
    at(5, 29_800_000)
    expect(notes).toEqual([
      'base layer 2 of 5 [########------------] 11.9 of 29.8 MB',
      'base layer 2 of 5 [####################] 29.8 of 29.8 MB'
    ])
  })

  it('says nothing of a blob that takes less than a second, and not more than ten things of one that takes long', () => {
    const quick = bar(100)
    for (let received = 1; received <= 100; received++) quick.at(received / 200, received)
    expect(quick.notes).toEqual([])
    const slow = bar(100_000)
    for (let received = 1; received <= 100_000; received += 50) slow.at(received, received)
    expect(slow.notes.length).toBeGreaterThan(8)
    expect(slow.notes.length).toBeLessThanOrEqual(10)
  })

  it('is not confused by an empty blob, or by more bytes than were promised', () => {
    const empty = bar(0)
    empty.at(2, 0)
    expect(empty.notes).toEqual(['base layer 2 of 5 [####################] 0.0 of 0.0 MB'])
    const longer = bar(10)
    longer.at(2, 1000)
    expect(longer.notes[0]).toContain('[####################]')
  })
})
