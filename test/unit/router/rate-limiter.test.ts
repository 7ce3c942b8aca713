import { describe, expect, it } from '@jest/globals'
import { RateLimiter } from '../../../src/router/rate-limiter.js'

describe('RateLimiter', () => {
  it('allows a burst of one minute, then as many as the time gives back', () => {
    let now = 0
    const limiter = new RateLimiter(3, () => now)
    expect([1, 2, 3].map(() => limiter.take('a'))).toEqual([0, 0, 0])
    expect(limiter.take('a')).toBeCloseTo(20)
    now = 20_001
    expect(limiter.take('a')).toBe(0)
    expect(limiter.take('a')).toBeGreaterThan(19)
  })

  it('counts every caller apart', () => {
    const limiter = new RateLimiter(1, () => 0)
    expect(limiter.take('a')).toBe(0)
    expect(limiter.take('b')).toBe(0)
    expect(limiter.take('a')).toBeGreaterThan(0)
  })

  it('saves up no more than one minute', () => {
    let now = 0
    const limiter = new RateLimiter(2, () => now)
    limiter.take('a')
    now = 3_600_000
    expect([1, 2].map(() => limiter.take('a'))).toEqual([0, 0])
    expect(limiter.take('a')).toBeGreaterThan(0)
  })

  it('forgets the caller that was idle longest, and no other, when there are too many', () => {
    const limiter = new RateLimiter(1, () => 0)
    for (let i = 0; i < 10_000; i++) limiter.take(`caller ${i}`)
    limiter.take('caller 0')
    limiter.take('one more')
    expect(limiter.take('caller 0')).toBeGreaterThan(0)
    expect(limiter.take('caller 1')).toBe(0)
  })
})
