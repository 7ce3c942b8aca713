import { describe, expect, it } from '@jest/globals'
import { sortLikeGo } from '../../../../src/layers/ext4/go-sort.js'
import { readVector } from '../vectors.js'

type Triple = readonly [number, number, number]
interface SortVector {
  readonly input: Triple[]
  readonly sorted: Triple[]
}

const vectors = JSON.parse(readVector('go-sort.json').toString()) as readonly SortVector[]

/** No order at all: of (0,1,0) and (1,0,0) each precedes the other. */
function contradicts(a: Triple, b: Triple): boolean {
  return a[0] < b[0] || a[1] < b[1] || a[2] < b[2]
}

describe('sortLikeGo', () => {
  it('ends where Go ends for a comparison that contradicts itself', () => {
    for (const { input, sorted } of vectors) {
      const items = [...input]
      sortLikeGo(items, contradicts)
      expect(items).toEqual(sorted)
    }
    expect(vectors.some(({ input }) => input.length > 150)).toBe(true)
  })

  for (const [shape, make] of Object.entries<(i: number, n: number) => number>({
    'in order': (i) => i,
    'in reverse order': (i, n) => n - i,
    'all equal': () => 1,
    'with many equal elements': (i) => (i * 7) % 5,
    'like a saw': (i) => i % 17,
    'out of any order': (i) => (i * 7919) % 1009
  })) {
    it(`sorts a list ${shape} by a comparison that does not`, () => {
      for (const length of [0, 1, 12, 13, 49, 50, 51, 200, 3000]) {
        const items = Array.from({ length }, (_, i) => make(i, length))
        const expected = [...items].sort((a, b) => a - b)
        sortLikeGo(items, (a, b) => a < b)
        expect(items).toEqual(expected)
      }
    })
  }
})
