import { describe, expect, it } from '@jest/globals'
import { decode, encode, Tagged as OracleTagged } from 'cborg'
import { type Cbor, decodeCbor, Tagged } from '../../../src/verify/cbor.js'
import { generator } from './generator.js'

type Random = (below: number) => number

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex')
const read = (text: string): Cbor => decodeCbor(hex(text), [1, 18], 'it')

describe('decodeCbor', () => {
  // RFC 8949, appendix A: those of its examples that the reader takes.
  it.each<readonly [string, unknown]>([
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['1864', 100],
    ['1903e8', 1000],
    ['1a000f4240', 1000000],
    ['1b000000e8d4a51000', 1000000000000],
    ['1bffffffffffffffff', 18446744073709551615n],
    ['3bffffffffffffffff', -18446744073709551616n],
    ['20', -1],
    ['3863', -100],
    ['3903e7', -1000],
    ['c1f90000', new Tagged(1, 0)],
    ['c1f98000', new Tagged(1, -0)],
    ['c1f93c00', new Tagged(1, 1)],
    ['c1f93e00', new Tagged(1, 1.5)],
    ['c1f97bff', new Tagged(1, 65504)],
    ['c1f90001', new Tagged(1, 5.960464477539063e-8)],
    ['c1f90400', new Tagged(1, 0.00006103515625)],
    ['c1f9c400', new Tagged(1, -4)],
    ['c1f97c00', new Tagged(1, Infinity)],
    ['c1f97e00', new Tagged(1, NaN)],
    ['c1f9fc00', new Tagged(1, -Infinity)],
    ['c1fa47c35000', new Tagged(1, 100000)],
    ['c1fb3ff199999999999a', new Tagged(1, 1.1)],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['c11a514b67b0', new Tagged(1, 1363896240)],
    ['40', hex('')],
    ['4401020304', hex('01020304')],
    ['60', ''],
    ['6449455446', 'IETF'],
    ['62c3bc', 'ü'],
    ['64f0908591', '𐅑'],
    ['80', []],
    ['8301820203820405', [1, [2, 3], [4, 5]]],
    ['a0', new Map()],
    ['a201020304', new Map([[1, 2], [3, 4]])], // prettier-ignore
    ['a26161016162820203', new Map<string, unknown>([['a', 1], ['b', [2, 3]]])] // prettier-ignore
  ])('reads %s', (bytes, value) => {
    const found = read(bytes)
    expect(found instanceof Uint8Array ? Buffer.from(found) : found).toEqual(
      value instanceof Uint8Array ? Buffer.from(value) : value
    )
  })

  it('keeps integers exact at the border of what a number can hold', () => {
    expect(read('1b001fffffffffffff')).toBe(Number.MAX_SAFE_INTEGER)
    expect(read('1b0020000000000000')).toBe(9007199254740992n)
    expect(read('3b001ffffffffffffe')).toBe(-Number.MAX_SAFE_INTEGER)
    expect(read('3b001fffffffffffff')).toBe(-9007199254740992n)
  })

  it.each<readonly [string, string, RegExp]>([
    ['nothing', '', /^it is cut off$/],
    ['a second item', '0000', /^it has bytes after its end$/],
    ['an integer in one byte more than it needs', '1817', /shortest form/],
    ['an integer in two bytes more', '1900ff', /shortest form/],
    ['an integer in four bytes more', '1a0000ffff', /shortest form/],
    ['an integer in eight bytes more', '1b00000000ffffffff', /shortest form/],
    ['a negative integer that is longer than it must be', '3817', /shortest form/],
    ['a length that is longer than it must be', '580100', /shortest form/],
    ['a tag that is longer than it must be', 'd80100', /shortest form/],
    ['a reserved length', '1c', /indefinite or reserved/],
    ['bytes without a length', '5f4100ff', /indefinite or reserved/],
    ['a text without a length', '7f6161ff', /indefinite or reserved/],
    ['a list without a length', '9fff', /indefinite or reserved/],
    ['a map without a length', 'bfff', /indefinite or reserved/],
    ['a break alone', 'ff', /simple value 31/],
    ['undefined', 'f7', /simple value 23/],
    ['an unassigned simple value', 'e0', /simple value 0/],
    ['a simple value in two bytes', 'f8ff', /simple value 24/],
    ['a known simple value in two bytes', 'f814', /simple value 24/],
    ['a tag that nobody asked for', 'c249010000000000000000', /unknown tag 2$/],
    ['a tag beyond all numbers', 'dbffffffffffffffff00', /unknown tag 18446744073709551615$/],
    ['a tag of nothing', 'd2', /cut off/],
    ['bytes that are cut off', '4200', /cut off/],
    ['a text that is cut off', '6261', /cut off/],
    ['a list that is cut off', '8200', /cut off/],
    ['a map without its last value', 'a100', /cut off/],
    ['a head that is cut off', '19ff', /cut off/],
    ['a float that is cut off', 'c1fb00000000000000', /cut off/],
    ['a float of two bytes that is no time', 'f94000', /float that is no time/],
    ['a float of four bytes that is no time', 'fa40000000', /float that is no time/],
    ['a float of eight bytes that is no time', 'fb4000000000000000', /float that is no time/],
    ['a float below another tag', 'd2f94000', /float that is no time/],
    ['a float in a list that is tagged as a time', 'c181f94000', /float that is no time/],
    ['a float for the value of a label', 'a101f94000', /float that is no time/],
    ['bytes of a length beyond all numbers', '5bffffffffffffffff00', /cut off/],
    ['a list of four thousand millions', '9affffffff00', /cut off/],
    ['a map of four thousand millions', 'baffffffff00', /cut off/],
    ['a text that is not UTF-8', '61ff', /not UTF-8/],
    ['a text with half a surrogate pair', '63eda080', /not UTF-8/],
    ['an integer label twice', 'a201000100', /label twice/],
    ['a text label twice', 'a2616100616100', /label twice/],
    ['a label that is bytes', 'a1410000', /label that is neither/],
    ['a label that is a list', 'a18000', /label that is neither/],
    ['a label that is a float', 'a1f93c0000', /float that is no time/],
    ['a label that is null', 'a1f600', /label that is neither/],
    ['a label that is tagged', 'a1c10000', /label that is neither/],
    ['a label beyond what a number can hold', 'a11b002000000000000000', /label that is neither/]
  ])('refuses %s', (_, bytes, problem) => {
    expect(() => read(bytes)).toThrow(TypeError)
    expect(() => read(bytes)).toThrow(problem)
  })

  it('takes a text and an integer of the same digits for two labels', () => {
    expect(read('a20100613100')).toEqual(
      new Map<unknown, unknown>([
        [1, 0],
        ['1', 0]
      ])
    )
  })

  it.each(['81', 'a100', 'c1'])('reads sixteen levels of %s and no more', (head) => {
    expect(() => read(head.repeat(15) + '00')).not.toThrow()
    expect(() => read(head.repeat(16) + '00')).toThrow('nested more than 16 levels deep')
    expect(() => read(head.repeat(100_000) + '00')).toThrow(TypeError)
  })

  it('reads 256 KiB and no more', () => {
    const bytes = (length: number): Uint8Array => encode(new Uint8Array(length))
    expect(decodeCbor(bytes(256 * 1024 - 5), [], 'it')).toHaveLength(256 * 1024 - 5)
    expect(() => decodeCbor(bytes(256 * 1024 - 4), [], 'it')).toThrow('longer than 262144 bytes')
  })

  it('reads bytes that lie within a larger memory', () => {
    const memory = hex('ffff c1f93c00 ffff')
    expect(decodeCbor(memory.subarray(2, 6), [1], 'it')).toEqual(new Tagged(1, 1))
  })
})

/** What another reader makes of the same bytes, under the rules that both have. */
function oracle(bytes: Uint8Array): unknown {
  return decode(bytes, {
    strict: true,
    useMaps: true,
    rejectDuplicateMapKeys: true,
    allowIndefinite: false,
    allowUndefined: false,
    tags: OracleTagged.preserve(1, 18)
  })
}

/** One form for both readers' values. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `h'${Buffer.from(value).toString('hex')}'`
  if (value instanceof Tagged || value instanceof OracleTagged) return { tag: value.tag, value: plain(value.value) }
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Map) return { entries: [...value].map(([name, member]) => [plain(name), plain(member)]) }
  return value
}

/** A document that both readers take. */
function document(random: Random, depth: number): unknown {
  const many = <T>(make: () => T): T[] => Array.from({ length: random(5) }, make)
  const magnitude = (): number => Math.floor(2 ** random(53) * (1 + random(1000) / 1000))
  switch (random(depth === 0 ? 6 : 9)) {
    case 0:
      return magnitude()
    case 1:
      return -1 - magnitude()
    case 2:
      return Uint8Array.from({ length: random(300) }, () => random(256))
    case 3:
      return many(() => String.fromCodePoint(32 + random(0xd000))).join('')
    case 4:
      return [true, false, null][random(3)]
    case 5:
      return new OracleTagged(1, random(1000) / 8 + 0.0625)
    case 6:
      return many(() => document(random, depth - 1))
    case 7:
      return new OracleTagged(random(2) === 0 ? 1 : 18, document(random, depth - 1))
    default:
      return new Map(many(() => [random(2) === 0 ? magnitude() : `label ${random(10)}`, document(random, depth - 1)]))
  }
}

describe('decodeCbor beside another reader', () => {
  it('reads the same out of documents that are well-formed', () => {
    const random = generator(8949)
    for (let round = 0; round < 2000; round++) {
      const bytes = encode(document(random, 5))
      expect(plain(decodeCbor(bytes, [1, 18], 'it'))).toEqual(plain(oracle(bytes)))
    }
  })

  it('takes nothing that the other refuses, and reads the same, out of documents that are damaged', () => {
    const random = generator(9052)
    let taken = 0
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from(encode(document(random, 3)).subarray(0, 200))
      for (let faults = 1 + random(3); faults > 0; faults--) bytes[random(bytes.length)] = random(256)
      let value: Cbor
      try {
        value = decodeCbor(bytes, [1, 18], 'it')
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError)
        continue
      }
      taken++
      expect(plain(value)).toEqual(plain(oracle(bytes)))
    }
    expect(taken).toBeGreaterThan(1000)
  })

  it('never throws anything but a TypeError at garbage', () => {
    const random = generator(1)
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from({ length: random(40) }, () => random(256))
      try {
        expect(plain(decodeCbor(bytes, [1, 18], 'it'))).toEqual(plain(oracle(bytes)))
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
      }
    }
  })
})
