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

  it('writes a character beyond the basic plane with one escape, which YAML and Go read back', () => {
    expect(lines('😀 a')).toBe('k: "\\U0001F600 a"')
    expect(parseAllDocuments(pythonYaml([{ k: '😀 a' }]))[0]?.toJS()).toEqual({ k: '😀 a' })
  })

  it('writes numbers with an exponent so that YAML 1.1 takes them for numbers', () => {
    expect(lines(1e-7)).toBe('k: 1.0e-7')
  })

  it.each(['1e5', 'y', 'N', '0o17', '1_000', '.5', '+1', 'Infinity-free', '-c', 'NaN', 'yEs'])(
    'puts %s in quotes for readers of any YAML where one may take it for something else',
    (value) => {
      const text = pythonYaml([{ k: value }], { readers: 'any' }).trimEnd()
      expect(text).toBe(value === 'Infinity-free' ? `k: ${value}` : `k: '${value}'`)
      for (const version of ['1.1', '1.2'] as const) {
        expect(parseAllDocuments(text, { version })[0]?.toJS()).toEqual({ k: value })
      }
    }
  )

  it('leaves them as PyYAML writes them otherwise', () => {
    expect(lines('1e5')).toBe('k: 1e5')
    expect(lines('y')).toBe('k: y')
  })
})
