import { describe, expect, it } from '@jest/globals'
import { encodeTime, recodeTime } from '../../../../src/layers/ext4/time.js'

const at = (seconds: number, nanoseconds = 0) => encodeTime({ seconds, nanoseconds })

describe('encodeTime', () => {
  it('puts bits 32 and 33 of the seconds below the nanoseconds', () => {
    expect(at(1)).toEqual({ low: 1, high: 0 })
    expect(at(0x3_1234_5678, 5)).toEqual({ low: 0x1234_5678, high: 3 | (5 << 2) })
    expect(at(0, 999_999_999)).toEqual({ low: 0, high: (999_999_999 << 2) >>> 0 })
  })

  it('fills everything above the lower seconds with ones before 1970', () => {
    expect(at(-1, 500)).toEqual({ low: 0xffff_ffff, high: 0xffff_ffff })
    expect(at(-(2 ** 31))).toEqual({ low: 0x8000_0000, high: 0xffff_ffff })
  })

  it('goes no further than the ends of the range', () => {
    expect(at(-(2 ** 31) - 1, 7)).toEqual({ low: 0x8000_0000, high: 0 })
    expect(at(0x3_7fff_ffff, 0)).toEqual({ low: 0x7fff_ffff, high: 3 })
    expect(at(0x3_8000_0000, 7)).toEqual({ low: 0x7fff_ffff, high: 3 })
    expect(at(2 ** 63)).toEqual({ low: 0x7fff_ffff, high: 3 })
  })

  it('is 0 for no time and for the year 1', () => {
    expect(encodeTime(undefined)).toEqual({ low: 0, high: 0 })
    expect(at(-62_135_596_800)).toEqual({ low: 0, high: 0 })
    expect(at(-62_135_596_800, 1)).not.toEqual({ low: 0, high: 0 })
  })
})

describe('recodeTime', () => {
  it('leaves times alone up to 2038 and from 2106 on', () => {
    for (const time of [at(0), at(1, 999_999_999), at(2 ** 31 - 1), at(2 ** 32), at(0x3_7fff_ffff)]) {
      expect(recodeTime(time)).toEqual(time)
    }
  })

  it('takes times between for times before 1970', () => {
    expect(recodeTime(at(2 ** 31, 5))).toEqual({ low: 0x8000_0000, high: 0xffff_ffff })
    expect(recodeTime(at(2 ** 32 - 1))).toEqual({ low: 0xffff_ffff, high: 0xffff_ffff })
  })

  it('moves times before 1970 to the end of the range, or a second short of overflowing it', () => {
    expect(recodeTime(at(-1))).toEqual({ low: 0x7fff_ffff, high: 3 })
    expect(recodeTime(at(-(2 ** 31)))).toEqual({ low: 0x7fff_ffff, high: 3 })
  })
})
