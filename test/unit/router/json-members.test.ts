import { describe, expect, it } from '@jest/globals'
import { findMembers } from '../../../src/router/json-members.js'

const find = (text: string, ...names: string[]) =>
  Object.fromEntries(
    [...findMembers(Buffer.from(text), new Set(names))].map(([name, { start, end }]) => [
      name,
      Buffer.from(text).toString('utf8', start, end)
    ])
  )

describe('findMembers', () => {
  it.each([
    ['{"model":"a"}', '"a"'],
    [' {\n "x" : [1, {"model":"no"}], "model"\t:\r "a" } \n', '"a"'],
    ['{"x":{"model":"no"},"y":"}\\"{","model":"a\\\\"}', '"a\\\\"'],
    ['{"x":"\\\\","model":"a","z":-1.5e+3,"w":null}', '"a"'],
    ['{"mod\\u0065l":"a"}', '"a"'],
    ['{"x":"ä👋","model":"ü"}', '"ü"'],
    ['{"model":{"a":[1,"]"]}}', '{"a":[1,"]"]}'],
    ['{"model":12}', '12']
  ])('finds the member in %s', (text, expected) => {
    expect(find(text, 'model')).toEqual({ model: expected })
  })

  it('finds nothing where there is nothing', () => {
    expect(find('{}', 'model')).toEqual({})
    expect(find('{"a":[{"model":1}]}', 'model')).toEqual({})
  })

  it.each([
    ['', 'nothing'],
    ['[]', 'a list'],
    ['"model"', 'a text'],
    ['{"model":"a"', 'no end'],
    ['{"model":"a"} x', 'text behind the end'],
    ['{"model":"a"}{}', 'a second object'],
    ['{"model" "a"}', 'no colon'],
    ['{"model":}', 'no value'],
    ['{"model":"a",}', 'a comma at the end'],
    ['{"model":"a" "b":1}', 'no comma'],
    ['{"model":"a', 'an open text'],
    ['{"x":[1,2', 'an open list'],
    ['{model:"a"}', 'a key without quotes'],
    ['{"\\x":1}', 'a key with a bad escape'],
    ['\ufeff{"model":"a"}', 'a byte order mark']
  ])('refuses %s (%s)', (text) => {
    expect(() => find(text, 'model')).toThrow(expect.objectContaining({ code: 'invalid_json' }))
  })

  it('refuses a member that is there twice, in any spelling', () => {
    expect(() => find('{"model":"a","mod\\u0065l":"b"}', 'model')).toThrow('"model" is there twice')
  })

  it('agrees with JSON.parse on what the value is, for many texts', () => {
    const values = ['a"b', '\\', '\\"', 'x:{', [], [[]], [{ model: 'x' }], {}, { a: '}' }, 0, -1.25e-7, true, null, '']
    for (const before of values) {
      for (const value of values) {
        const text = JSON.stringify({ before, model: value, after: before })
        expect(JSON.parse(find(text, 'model').model ?? 'missing')).toEqual(value)
      }
    }
  })

  it('reads a body of many megabytes in well under a second', () => {
    const texts = [`{"a":"${'x'.repeat(2e7)}","model":"m"}`, `{"a":${'1'.repeat(2e7)},"model":"m"}`]
    for (const text of [...texts, `{"a":[${'[],'.repeat(4e6)}1],"model":"m"}`]) {
      const startedAt = performance.now()
      findMembers(Buffer.from(text), new Set(['model']))
      expect(performance.now() - startedAt).toBeLessThan(1500)
    }
  })
})
