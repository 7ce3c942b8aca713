import { describe, expect, it } from '@jest/globals'
import {
  type JsonNumber,
  JsonTextError,
  parseJsonPrefix,
  parseJsonText,
  toJson
} from '../../../src/policy/json-text.js'
import { pythonFloat, pythonJson } from '../../../src/policy/python-json.js'
import { damaged, generator } from './random.js'
import { vector } from './vectors.js'

describe('parseJsonText', () => {
  it('reads what JSON.parse reads', () => {
    const text = vector('cases', 'default', 'template.in.json')
    expect(toJson(parseJsonText(text, 'refuse'))).toEqual(JSON.parse(text))
  })

  it('keeps the spelling of numbers and the order of members that look like indexes', () => {
    const node = parseJsonText('{"2":1.0,"1":1e2}', 'refuse') as Map<string, JsonNumber>
    expect([...node].map(([key, value]) => [key, value.text])).toEqual([
      ['2', '1.0'],
      ['1', '1e2']
    ])
  })

  it('takes the last of repeated members in the place of the first, or refuses them', () => {
    expect(pythonJson(parseJsonText('{"a":1,"b":2,"a":3}', 'last'), { sortKeys: false })).toBe('{"a":3,"b":2}')
    expect(() => parseJsonText('{"a":1,"a":3}', 'refuse')).toThrow('member "a" appears twice')
  })

  it('keeps a member named __proto__ as a member', () => {
    const value = toJson(parseJsonText('{"__proto__":{"polluted":true}}', 'refuse'))
    expect(Object.hasOwn(value as object, '__proto__')).toBe(true)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('reads texts of any length and with any number of escapes', () => {
    const text = JSON.stringify('\n"\\'.repeat(2_000_000))
    expect(parseJsonText(text, 'refuse')).toHaveLength(6_000_000)
  })

  it.each(['"', '"a', '"\\', '"\\"', '"\\x"', '"\\u12"', '"a\nb"', '{"a'])('refuses the text %j', (text) => {
    expect(() => parseJsonText(text, 'refuse')).toThrow('malformed string')
  })

  it('says where a value in a longer text ends', () => {
    expect(parseJsonPrefix('x := [1] rest', 5, 'refuse').end).toBe(8)
  })

  const malformed = [
    '',
    ' ',
    '{',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    "{'a':1}",
    '01',
    '1.',
    '.5',
    '+1',
    'NaN',
    'tru',
    '"\n"',
    '"\\x"',
    '"\\u12g4"',
    '"open',
    '[1] 2',
    '{"a" 1}',
    '\u00a01'
  ]
  for (const text of malformed) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseJsonText(text, 'last')).toThrow(JsonTextError)
    })
  }

  it('refuses endless nesting', () => {
    expect(() => parseJsonText('['.repeat(5_000), 'last')).toThrow('levels of nesting')
  })

  it('agrees with JSON.parse on damaged texts', () => {
    const random = generator(3)
    const text = '{"a":[1,-2.5e+3,"x\\u00e9\\n",{"b":null}],"c":{"d":true,"e":[false,[]]}}'
    for (let round = 0; round < 5_000; round++) {
      const broken = damaged(text, random)
      expect([broken, outcome(() => toJson(parseJsonText(broken, 'last')))]).toEqual([
        broken,
        outcome(() => JSON.parse(broken) as unknown)
      ])
    }
  })
})

describe('pythonJson', () => {
  it('escapes all but printable ASCII, DEL included, as lower-case UTF-16 units', () => {
    expect(pythonJson('\x7f/<&>é😀\x01"\\\n\t\b\f\r\ud800', { sortKeys: true })).toBe(
      '"\\u007f/<&>\\u00e9\\ud83d\\ude00\\u0001\\"\\\\\\n\\t\\b\\f\\r\\ud800"'
    )
  })

  it('writes numbers as Python does', () => {
    const text = '[1e16,1e15,1e-5,0.0001,1.0,123456789012345678901234567890,-0.0,1E22,2.5e-7,-0,-12.5,1.10]'
    expect(pythonJson(parseJsonText(text, 'last'), { sortKeys: false })).toBe(
      '[1e+16,1000000000000000.0,1e-05,0.0001,1.0,123456789012345678901234567890,-0.0,1e+22,2.5e-07,0,-12.5,1.1]'
    )
  })

  it('refuses a number that no double holds', () => {
    expect(() => pythonFloat(Number.POSITIVE_INFINITY)).toThrow(RangeError)
  })

  it('indents, sorts and leaves empty lists and objects on one line', () => {
    expect(pythonJson({ b: [], a: { c: {} }, d: [1] }, { sortKeys: true, indent: 2 })).toBe(
      '{\n  "a": {\n    "c": {}\n  },\n  "b": [],\n  "d": [\n    1\n  ]\n}'
    )
  })
})

function outcome(parse: () => unknown): unknown {
  try {
    return JSON.stringify(parse())
  } catch {
    return 'refused'
  }
}
