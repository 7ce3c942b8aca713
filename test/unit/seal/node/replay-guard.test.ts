import { describe, expect, it } from '@jest/globals'
import { ReplayGuard } from '../../../../src/seal/node/replay-guard.js'
import { Seeded } from '../seeded.js'

const windowMs = 60_000
const now = 1_790_000_000_000

const guard = (maximumEntries = 1000) => new ReplayGuard({ windowMs, maximumEntries })
const key = (number: number): Uint8Array => {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

describe('ReplayGuard', () => {
  it('lets a request through once', () => {
    const seen = guard()
    expect(seen.check(key(1), now, now)).toBe('ok')
    expect(seen.check(key(1), now, now)).toBe('replayed')
    expect(seen.check(key(1), now, now + windowMs)).toBe('replayed')
    expect(seen.check(key(2), now, now)).toBe('ok')
  })

  it('remembers the key, whatever time is claimed with it', () => {
    const seen = guard()
    expect(seen.check(key(1), now - windowMs, now)).toBe('ok')
    expect(seen.check(key(1), now + windowMs, now)).toBe('replayed')
  })

  it.each([
    [-windowMs - 1, 'expired'],
    [-windowMs, 'ok'],
    [0, 'ok'],
    [windowMs, 'ok'],
    [windowMs + 1, 'expired']
  ])('takes a time %d ms from its own for %s', (offset, verdict) => {
    expect(guard().check(key(1), now + offset, now)).toBe(verdict)
  })

  it('refuses a time that is no number', () => {
    expect(guard().check(key(1), Number.NaN, now)).toBe('expired')
  })

  it('refuses what it has forgotten when the clock is set back', () => {
    const seen = guard()
    seen.check(key(1), now, now)
    seen.check(key(2), now + 3 * windowMs, now + 3 * windowMs)
    expect(seen.entries).toBe(1)
    expect(seen.check(key(1), now, now)).toBe('expired')
    expect(seen.check(key(3), now, now)).toBe('expired')
    expect(seen.check(key(4), now + 2 * windowMs, now + windowMs)).toBe('ok')
  })

  it('refuses when it is full, and has room again when time goes on', () => {
    const seen = guard(3)
    for (const number of [1, 2, 3]) expect(seen.check(key(number), now, now)).toBe('ok')
    expect(seen.check(key(4), now, now)).toBe('full')
    expect(seen.check(key(1), now, now)).toBe('replayed')
    expect(seen.entries).toBe(3)
    let later = now
    while (seen.check(key(5), later, later) === 'full') later += 1000
    expect(later - now).toBeLessThanOrEqual(2.5 * windowMs)
    expect(later - now).toBeGreaterThan(2 * windowMs)
    expect(seen.entries).toBe(1)
  })

  it('never lets one through twice, and never keeps more than it may, however the clock jumps', () => {
    let total = 0
    for (let seed = 0; seed < 20; seed++) {
      const random = new Seeded(seed)
      const seen = guard(200)
      const through = new Set<string>()
      const sent: [number, number][] = []
      let clock = now
      for (let step = 0; step < 1500; step++) {
        const jump = random.below(100)
        if (jump === 0) clock += (random.below(20) - 10) * windowMs
        else clock += random.below(2000)
        const isNew = sent.length === 0 || random.below(3) > 0
        const [number, timeMs] = isNew ? [step, clock + random.below(3 * windowMs) - 1.5 * windowMs] : random.pick(sent)
        sent.push([number, timeMs])
        const isFresh = Math.abs(timeMs - clock) <= windowMs
        const verdict = seen.check(key(number), timeMs, clock)
        if (!isFresh) expect(verdict).toBe('expired')
        if (verdict === 'ok') {
          expect(through.has(`${number}`)).toBe(false)
          through.add(`${number}`)
        }
        expect(seen.entries).toBeLessThanOrEqual(200)
      }
      total += through.size
    }
    expect(total).toBeGreaterThan(2000)
  })

  it('never refuses a fresh request as long as the clock goes forward', () => {
    const random = new Seeded(99)
    const seen = guard(1_000_000)
    let clock = now
    for (let step = 0; step < 5000; step++) {
      clock += random.below(1000)
      const timeMs = clock + random.below(2 * windowMs + 1) - windowMs
      expect(seen.check(key(step), timeMs, clock)).toBe('ok')
    }
    // What lies two windows and a slice behind the newest time is forgotten.
    expect(seen.entries).toBeLessThan((3.3 * windowMs) / 500)
  })

  it.each([
    [0, 1],
    [1, 0],
    [Number.NaN, 1]
  ])('cannot have a window of %d ms and %d entries', (windowMs, maximumEntries) => {
    expect(() => new ReplayGuard({ windowMs, maximumEntries })).toThrow(RangeError)
  })
})
