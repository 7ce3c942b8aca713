import { describe, expect, it } from '@jest/globals'
import { parseAllDocuments } from 'yaml'
import { pythonYaml } from '../../../src/policy/index.js'

const lines = (value: Parameters<typeof pythonYaml>[0][number]) => pythonYaml([{ k: value }]).trimEnd()

describe('pythonYaml', () => {
  it.each([
    ['yes', "k: 'yes'"],
    ['1', "k: '1'"],
    ['1.5', "k: '1.5'"],
    ['0x1f', "k: '0x1f'"],
    ['', "k: ''"],
    ['null', "k: 'null'"],
    ['2026-01-01', "k: '2026-01-01'"],
    ['a: b', "k: 'a: b'"],
    ['a #b', "k: 'a #b'"],
    ['- a', "k: '- a'"],
    ["it's", "k: it's"],
    ["'a'", "k: '''a'''"],
    ['a:b', 'k: a:b'],
    ['/bin/sh', 'k: /bin/sh'],
    ['1m', 'k: 1m'],
    ['a\nb', "k: 'a\n\n  b'"],
    ['tab\t', 'k: "tab\\t"'],
    ['é', 'k: "\\u00E9"']
  ])('writes %j', (value, expected) => {
    expect(lines(value)).toBe(expected)
  })

  it('writes lists, mappings and empty ones', () => {
    expect(pythonYaml([{ b: [1, { d: true, c: null }, [2]], a: { x: [] }, e: {} }])).toBe(
      'a:\n  x: []\nb:\n- 1\n- c: null\n  d: true\n- - 2\ne: {}\n'
    )
  })

  it('puts a line between documents', () => {
    expect(pythonYaml([{ a: 1 }, { b: 2 }])).toBe('a: 1\n---\nb: 2\n')
  })

  it.each([
    [{ long: Array(40).fill('word').join(' '), quoted: `${Array(40).fill('word').join(' ')}: x` }],
    [
      {
        a: [
          'x  y',
          ' lead',
          'trail ',
          'a\n\nb\n',
          'a \nb',
          '@x',
          '%',
          '!',
          '&',
          '*',
          '`',
          '~',
          '=',
          '<<',
          '?',
          ':',
          '-'
        ]
      }
    ],
    [{ 'odd key: ': 1, yes: 2, '': 3 }],
    [{ a: 'üñ€𝄞', b: '\u0000\u001b', c: 1e21, d: -0.5 }]
  ])('writes what YAML reads back as it was: %#', (value) => {
    const [document] = parseAllDocuments(pythonYaml([value]), { version: '1.1' }) as { toJS(): unknown }[]
    expect(document?.toJS()).toEqual(value)
  })

  it('breaks a long text behind column 80', () => {
    const [first = ''] = lines(Array(40).fill('word').join(' ')).split('\n')
    expect(first.length).toBeGreaterThan(80)
    expect(first.length).toBeLessThan(86)
  })
})
