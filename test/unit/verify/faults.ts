import { describe, expect, it } from '@jest/globals'
import type { Claim } from '../../../src/verify/check.js'
import { appraise, type Changes, mismatches, type World } from './forge.js'

export type Row = readonly [fault: string, expected: readonly Claim[], changes: Changes]

/** Each row breaks one thing; the claims named are all that do not hold, and no others. */
export function describeFaults(area: string, world: World, rows: readonly Row[]): void {
  describe(area, () => {
    it.each(rows)('%s', async (_, expected, changes) => {
      const verdict = await appraise(world, changes)
      expect(mismatches(verdict)).toEqual(expected)
      expect(verdict.verdict).toBe(expected.length === 0 ? 'trusted' : 'rejected')
    })
  })
}
