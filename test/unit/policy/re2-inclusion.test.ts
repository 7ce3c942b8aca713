import { describe, expect, it } from '@jest/globals'
import { comparisonBudget } from '../../../src/policy/comparison-budget.js'
import { type Compiled, compileAnchored } from '../../../src/policy/re2.js'
import { textOnlyIn } from '../../../src/policy/re2-inclusion.js'
import { compileNode } from '../../../src/policy/re2-program.js'
import { literalNode } from '../../../src/policy/re2-syntax.js'

const literal = (text: string): Compiled => ({ node: literalNode(text), program: compileNode(literalNode(text)) })
const only = (one: Compiled, others: readonly Compiled[], steps?: number) =>
  textOnlyIn(one, others, comparisonBudget(steps))
const onlyIn = (pattern: string, ...others: readonly string[]) =>
  only(compileAnchored(pattern), others.map(compileAnchored))

describe('textOnlyIn', () => {
  it.each([
    ['X=.+', ['X=.*']],
    ['X=[0-9]{2}', ['X=\\d+']],
    ['X=(a|b)', ['X=a', 'X=b']],
    ['X=ab', ['(?i)x=AB']],
    ['X=.*', ['X=', 'X=.+']],
    ['a+', ['a|aa+']]
  ])('finds nothing in %s that %j do not match', (pattern, others) => {
    expect(onlyIn(pattern, ...others)).toBe('none')
  })

  it.each([
    ['X=.*', ['X=.+']],
    ['X=.+', ['X=[a-z]+']],
    ['(?i)x=a', ['X=A']],
    ['X=a{0,3}', ['X=a{0,2}']],
    ['[^a]', ['[b-z]']],
    ['a|b', ['^a$']],
    ['X=.+', []]
  ])('finds a text of %s that %j do not match', (pattern, others) => {
    const found = onlyIn(pattern, ...others)
    if (found === undefined || found === 'none') throw new Error(`found ${String(found)}`)
    expect(compileAnchored(pattern).matches(found.text)).toBe(true)
    expect(others.filter((other) => compileAnchored(other).matches(found.text))).toEqual([])
  })

  it('takes a text for itself, whatever signs are in it', () => {
    expect(only(literal('X=.*'), [compileAnchored('X=a*')])).toEqual({ text: 'X=.*' })
    expect(only(literal('X=a'), [literal('X=a')])).toBe('none')
  })

  it('keeps newlines apart, which a dot does not match', () => {
    expect(onlyIn('X=[^a]', 'X=.')).toEqual({ text: 'X=\n' })
  })

  it('gives up on patterns that need too many situations, and does not claim anything', () => {
    expect(onlyIn('(a|b)*a(a|b){14}', '(a|b)*a(a|b){13}(a|c|b)')).toBeUndefined()
  })

  it('decides nothing once the steps of the whole comparison are used up', () => {
    const pair = [compileAnchored('X=[0-9]{2}'), [compileAnchored('X=\\d+')]] as const
    expect(only(...pair, 10)).toBeUndefined()
    expect(only(...pair)).toBe('none')
  })
})
