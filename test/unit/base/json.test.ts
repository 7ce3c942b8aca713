import { describe, expect, it } from '@jest/globals'
import { canonicalJson } from '../../../src/base/json.js'

describe('canonicalJson', () => {
  it('sorts members by UTF-16 code unit, at every depth, and has no white space', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'é' }], a: true, '\uff00': 1, '\u{1f600}': 2 })).toBe(
      '{"a":true,"b":[1,{"c":"é","d":null}],"\u{1f600}":2,"\uff00":1}'
    )
  })

  it('leaves out members that are undefined, and writes null for items that are', () => {
    expect(canonicalJson({ a: undefined, b: [undefined] })).toBe('{"b":[null]}')
  })

  it.each([
    ['a number that is not finite', Number.NaN],
    ['an infinite number in a list', [Number.POSITIVE_INFINITY]],
    ['an infinite number in an object', { a: Number.NEGATIVE_INFINITY }],
    ['undefined itself', undefined],
    ['a function', () => undefined],
    ['a symbol', Symbol('s')],
    ['a bigint', 1n]
  ])('refuses %s, which JSON cannot express', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError)
  })
})
