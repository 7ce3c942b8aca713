import { describe, expect, it } from '@jest/globals'
import { compileAnchored, compileRe2, Re2SyntaxError } from '../../../src/policy/re2.js'
import { generator, pick } from './random.js'

const matching: readonly (readonly [string, string])[] = [
  ['HOSTNAME=.+', 'HOSTNAME=wk-caas-1'],
  ['T(E)?MP=.+', 'TMP=/tmp'],
  ['T(E)?MP=.+', 'TEMP=/tmp'],
  ['(?i)(FABRIC)_.+=.+', 'Fabric_NodeIPOrFQDN=10.0.0.1'],
  ['(?i)(FABRIC)_.+=.+', 'FABRIC_x=y'],
  ['(?i)k=s', '\u212a=\u017f'],
  ['A=.*', 'A='],
  ['A=[a-c]{2,3}', 'A=abc'],
  ['A=[^0-9]+', 'A=x\ny'],
  ['A=\\d+\\.\\w+', 'A=12.x_9'],
  ['A=[\\d-]+', 'A=1-2'],
  ['A=[]x]+', 'A=]x'],
  ['A=(x|yy|)', 'A='],
  ['A=(?:x(?i:y)z)', 'A=xYz'],
  ['A=(a*)*', 'A=aaa'],
  ['A=x{0}', 'A='],
  ['A=x{2,}', 'A=xxxx'],
  ['A=.+?', 'A=long'],
  ['A=.', 'A=😀'],
  ['^A=x$', 'A=x'],
  ['x|', 'anything'],
  ['x|$', 'anything'],
  ['X=.*|', 'Y=1'],
  ['X=1|(?:)', 'Y=1'],
  ['(?i)[\\d]\\D\\s\\S', '1a b'],
  ['/tmp/atlas/resolvconf/.+', '/tmp/atlas/resolvconf/x/y']
]

const notMatching: readonly (readonly [string, string])[] = [
  ['HOSTNAME=.+', 'HOSTNAME='],
  ['HOSTNAME=.+', 'XHOSTNAME=a'],
  ['HOSTNAME=.+', 'hostname=a'],
  ['HOSTNAME=.+', 'HOSTNAME=a\nb'],
  ['T(E)?MP=.+', 'TEEMP=/tmp'],
  ['(?i)(FABRIC)_.+=.+', 'Fabric=1'],
  ['A=(?i:b)c', 'A=BC'],
  ['A=[a-c]{2,3}', 'A=abca'],
  ['A=[^0-9]+', 'A=x1'],
  ['A=(?i)[^k]', 'A=K'],
  ['A=x{2,3}', 'A=x'],
  ['A=\\.', 'A=x']
]

describe('the RE2 subset', () => {
  for (const [pattern, text] of matching) {
    it(`finds ${JSON.stringify(text)} to match ${pattern}`, () => {
      expect(compileAnchored(pattern).matches(text)).toBe(true)
    })
  }

  for (const [pattern, text] of notMatching) {
    it(`finds ${JSON.stringify(text)} not to match ${pattern}`, () => {
      expect(compileAnchored(pattern).matches(text)).toBe(false)
    })
  }

  it('anchors as the guest does, so that each branch of a top-level choice has one anchor', () => {
    const pattern = compileAnchored('A=1|B=2')
    expect(['A=1 and more', 'more and B=2', 'A=1', 'xA=1', 'B=2x'].map((text) => pattern.matches(text))).toEqual([
      true,
      true,
      true,
      false,
      false
    ])
  })

  it('does not add an anchor that is there', () => {
    expect(compileAnchored('^A=1').matches('A=1')).toBe(true)
    expect(compileAnchored('^A=1').matches('A=12')).toBe(false)
  })

  it('searches where no anchor is asked for', () => {
    expect(compileRe2('b+').matches('abbc')).toBe(true)
    expect(compileRe2('b+$').matches('abbc')).toBe(false)
  })

  const refused = [
    '(a',
    'a)',
    '[a',
    '[b-a]',
    '*a',
    'a**',
    'a{2}{3}',
    'a{3,2}',
    'a{1001}',
    'a{',
    '(?=a)',
    '(?P<n>a)',
    '(?s)a',
    '\\b',
    '\\1',
    '\\x41',
    '\\pL',
    '[[:alpha:]]',
    '[\\',
    'a\\',
    '(?i)é',
    '(?i)[à-é]',
    '$+',
    '(?i)\\w',
    '(?i)\\W',
    '(?i:[\\w-])',
    '(?i:[^\\W])',
    '(?:(?:a{10}){10}){11}',
    '(?:a{2,}|b{600}){2}',
    '(?:b{501}?)*{2}',
    '(?:(?:b{501})*){2}',
    '(?'
  ]
  for (const pattern of refused) {
    it(`refuses ${pattern}`, () => {
      expect(() => compileRe2(pattern)).toThrow(Re2SyntaxError)
    })
  }

  it('refuses patterns that are too long, too large or too deep', () => {
    expect(() => compileRe2('a'.repeat(5000))).toThrow('longer')
    expect(() => compileRe2('(?:aaa){1000}')).toThrow('too large')
    expect(() => compileRe2('(a{100}){100}')).toThrow('multiply')
    expect(() => compileRe2('('.repeat(200) + ')'.repeat(200))).toThrow('nested')
  })

  it('multiplies only counts in braces that stand in each other', () => {
    expect(compileRe2('^(?:a{10}){10}$').matches('a'.repeat(100))).toBe(true)
    expect(compileRe2('^a{600}b{600}$').matches('a'.repeat(600) + 'b'.repeat(600))).toBe(true)
    expect(compileRe2('^(?:a{600}){0}$').matches('')).toBe(true)
  })

  it('takes no exponential time', () => {
    const started = performance.now()
    expect(compileAnchored('(a+)+').matches(`${'a'.repeat(20_000)}b`)).toBe(false)
    expect(performance.now() - started).toBeLessThan(2_000)
  })

  it('matches nothing longer than an environment string can be', () => {
    expect(compileAnchored('.*').matches('a'.repeat(131_072))).toBe(true)
    expect(compileAnchored('.*').matches('a'.repeat(131_073))).toBe(false)
  })

  it('agrees with JavaScript on random patterns that both read alike', () => {
    const random = generator(7)
    const pieces = ['a', 'b', '.', '[ab]', '[^a]', '(?:ab|b)', '(?:a|)', '(?:|a)']
    const counts = ['', '', '*', '+', '?', '{2}', '{1,2}']
    for (let round = 0; round < 3_000; round++) {
      const sequence = () =>
        Array.from({ length: random(5) }, () => pick(pieces, random) + pick(counts, random)).join('')
      const pattern = Array.from({ length: 1 + random(3) }, sequence).join('|') + pick(['', '', '|$', '$'], random)
      const text = Array.from({ length: random(7) }, () => pick(['a', 'b', 'c'], random)).join('')
      const expected = new RegExp(pattern.endsWith('$') ? `^${pattern}` : `^${pattern}$`, 'u').test(text)
      expect([pattern, text, compileAnchored(pattern).matches(text)]).toEqual([pattern, text, expected])
    }
  })
})
