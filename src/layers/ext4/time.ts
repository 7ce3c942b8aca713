import type { TarTime } from '../tar/entry.js'

/** The 64 bits of a time: seconds in 34, nanoseconds above them. As two halves, for `writeUInt32LE`. */
export interface Ext4Time {
  readonly low: number
  readonly high: number
}

const two32 = 2 ** 32
const earliest = -(2 ** 31)
const latest = 0x3_7fff_ffff
/** 0001-01-01T00:00:00Z, which Go's `time.Time` does not tell from "no time". */
const goZeroSeconds = -62_135_596_800

export const noTime: Ext4Time = { low: 0, high: 0 }

/**
 * Seconds before 1970 fill the upper half with ones, over the nanoseconds, as the platform's own
 * converter does it. Times out of range become the nearest end of it.
 */
export function encodeTime(time: TarTime | undefined): Ext4Time {
  if (time === undefined || (time.seconds === goZeroSeconds && time.nanoseconds === 0)) return noTime
  if (time.seconds < earliest) return { low: 0x8000_0000, high: 0 }
  if (time.seconds > latest) return { low: latest % two32, high: Math.floor(latest / two32) }
  const low = time.seconds >>> 0
  if (time.seconds < 0) return { low, high: 0xffff_ffff }
  return { low, high: (Math.floor(time.seconds / two32) | (time.nanoseconds << 2)) >>> 0 }
}

/**
 * What becomes of a time that is read from one inode and written to another. It is not the identity:
 * seconds from 2^31 to 2^32 turn negative, and what was negative comes out as far in the future.
 */
export function recodeTime(time: Ext4Time): Ext4Time {
  if (time.low === 0 && time.high === 0) return noTime
  const unsigned = time.low + (time.high & 3) * two32
  const seconds = unsigned > 0x7fff_ffff && unsigned < two32 ? unsigned - two32 : unsigned
  const nanoseconds = time.high >>> 2
  const carry = nanoseconds >= 1_000_000_000 ? 1 : 0
  return encodeTime({ seconds: seconds + carry, nanoseconds: nanoseconds - carry * 1_000_000_000 })
}
