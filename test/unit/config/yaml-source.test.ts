import { describe, expect, it } from '@jest/globals'
import { readYaml } from '../../../src/config/yaml-source.js'

function messagesOf(text: string) {
  return readYaml(text, 'f.yaml').problems.map(({ place, message }) => `${place}: ${message}`)
}

describe('readYaml', () => {
  it('reads YAML 1.2, where yes and on are text', () => {
    const source = readYaml('a: yes\nb: on\nc: 0o17\nd: [1, {e: null}]\n', 'f.yaml')
    expect(source.readable).toBe(true)
    expect(JSON.stringify(source.value)).toBe('{"a":"yes","b":"on","c":15,"d":[1,{"e":null}]}')
  })

  it.each(['', '\n', '# only a comment\n', '---\n'])('reads %j as nothing', (text) => {
    expect(readYaml(text, 'f.yaml')).toMatchObject({ value: null, readable: true, problems: [] })
  })

  it('accepts a byte order mark and Windows line ends', () => {
    const source = readYaml('\ufeffa: 1\r\nb:\r\n  c: 2\r\n', 'f.yaml')
    expect(JSON.stringify(source.value)).toBe('{"a":1,"b":{"c":2}}')
    expect(source.originOf(['b', 'c'])).toMatchObject({ line: 3, column: 6 })
  })

  it('knows the place of keys, values, items and of the nearest ancestor of what is absent', () => {
    const { originOf } = readYaml('a:\n  b: [1, 2]\n', 'f.yaml')
    expect(originOf(['a', 'b'])).toMatchObject({ place: 'f.yaml:2:6' })
    expect(originOf(['a'], 'b')).toMatchObject({ place: 'f.yaml:2:3' })
    expect(originOf(['a', 'b', 1])).toMatchObject({ place: 'f.yaml:2:10' })
    expect(originOf(['a', 'missing'])).toMatchObject({ place: 'f.yaml:2:3' })
    expect(originOf(['missing'])).toEqual({ source: 'file', place: 'f.yaml' })
  })

  it.each([
    ['a tab', 'a:\n\tb: 1\n', 'f.yaml:2:1: a tab is used for indentation, expected spaces'],
    ['an open quote', 'a: "x\n', 'f.yaml:2:1: a closing quote'],
    ['an open bracket', 'a: [1,\nb: 2\n', 'f.yaml:2:1: the indentation does not fit'],
    ['a missing line break', 'a: b: c\n', 'f.yaml:1:4: a key inside a value'],
    ['a reserved character', 'a: @x\n', 'f.yaml:1:4: a value cannot begin with this character'],
    ['a wrong escape', 'a: "\\q"\n', 'f.yaml:1:5: an invalid escape'],
    ['several documents', 'a: 1\n---\nb: 2\n', 'f.yaml:2:1: a second document (---) begins'],
    ['an alias', 'a: &x 1\nb: *x\n', 'f.yaml:2:4: an alias (*name) is not supported'],
    ['an alias of nothing', 'a: *x\n', 'f.yaml:1:4: an alias (*name) is not supported'],
    ['a tag', 'a: !secret x\n', 'f.yaml:1:4: a tag (!name) is not supported'],
    ['a binary tag', 'a: !!binary aGk=\n', 'a tag (!name) is not supported'],
    ['a key that is a map', '{ {a: 1}: 2 }\n', 'f.yaml:1:3: a key must be plain text'],
    ['a key that is a number', '8080: x\n', 'f.yaml:1:1: a key must be plain text'],
    ['an unknown directive', '%YAML 9.9\n---\na: 1\n', 'an unsupported directive']
  ])('reports %s with its place', (_, text, expected) => {
    const messages = messagesOf(text)
    expect(messages).toHaveLength(1)
    expect(messages[0]).toContain(expected)
  })

  it('reports a key that is given twice and reads on', () => {
    const source = readYaml('a: 1\n"a": 2\nb: 3\n', 'f.yaml')
    expect(source.problems).toMatchObject([{ line: 2, column: 1, path: 'a' }])
    expect(JSON.stringify(source.value)).toBe('{"a":1,"b":3}')
  })

  it('refuses a small text of aliases that would become a large value', () => {
    const levels = Array.from({ length: 30 }, (_, i) => `l${i + 1}: &l${i + 1} [*l${i}, *l${i}]`).join('\n')
    const messages = messagesOf(`l0: &l0 lol\n${levels}\n`)
    expect(messages).toHaveLength(60)
    expect(messages[0]).toContain('an alias (*name) is not supported')
  })

  it.each(['[', '{a: ', '- '])('refuses deep nesting of %j', (open) => {
    expect(messagesOf(open.repeat(20_000)).join()).toMatch(/nested|indentation/)
  })

  it('refuses a value that is nested deeply and closed properly', () => {
    expect(messagesOf(`a: ${'['.repeat(40)}${']'.repeat(40)}`)).toEqual([expect.stringMatching(/nested more than 16/)])
  })

  it('refuses a text that is too long', () => {
    expect(messagesOf('#'.repeat(256 * 1024 + 1))).toEqual([expect.stringMatching(/expected at most 262144$/)])
  })

  it('reports at most twenty lines of broken YAML', () => {
    expect(messagesOf('a: @\n'.repeat(50)).length).toBeLessThanOrEqual(20)
  })
})
