import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { requireSamePlan } from '../../../src/commands/plan.js'
import { parsePlanFile } from '../../../src/plan/parse-plan.js'
import { encodePlanFile, type Plan, planDifferences, planHash } from '../../../src/plan/plan.js'
import { diffProperties } from '../../../src/plan/properties.js'
import { renderPlan } from '../../../src/plan/render-plan.js'

const plan: Plan = {
  version: 1,
  deployment: { name: 'n', cloud: 'local', subscription: 's', resourceGroup: 'g', location: 'l' },
  strategy: 'blue-green',
  changes: [
    {
      resource: 'deploy',
      action: 'replace',
      reason: 'its CCE policy is another one',
      properties: [{ property: 'hostData', from: 'aa', to: 'bb', forces: 'replace' }]
    }
  ],
  unchanged: ['vault'],
  trustChanges: [{ what: 'host data', from: 'aa', to: 'bb' }]
}

describe('diffProperties', () => {
  it('names what differs, in the order of what is wanted', () => {
    expect(diffProperties({ a: '1', b: '2', c: '3' }, { b: '2', c: '4', d: '5' })).toEqual([
      { property: 'c', from: '3', to: '4' },
      { property: 'd', from: null, to: '5' }
    ])
  })

  it('leaves alone what is not mentioned, unless the whole is compared', () => {
    expect(diffProperties({ a: '1' }, {})).toEqual([])
    expect(diffProperties({ a: '1' }, {}, { complete: true })).toEqual([{ property: 'a', from: '1', to: null }])
  })

  it('says which changes cannot be made in place', () => {
    const [change] = diffProperties({ cpu: '1' }, { cpu: '2' }, { immutable: new Set(['cpu']) })
    expect(change).toEqual({ property: 'cpu', from: '1', to: '2', forces: 'replace' })
  })

  it('tells an empty text from an absent one', () => {
    expect(diffProperties({ a: '' }, { a: undefined })).toEqual([{ property: 'a', from: '', to: null }])
  })
})

describe('the hash of a plan', () => {
  it('is the same for the same plan, however its members are ordered', () => {
    expect(planHash(JSON.parse(JSON.stringify({ ...plan, deployment: { ...plan.deployment } })) as Plan)).toBe(
      planHash(plan)
    )
  })

  it.each([
    ['the strategy', { ...plan, strategy: 'replace' as const }],
    ['a property', { ...plan, changes: [{ ...plan.changes[0]!, properties: [] }] }],
    ['what is trusted', { ...plan, trustChanges: [] }],
    ['the subscription', { ...plan, deployment: { ...plan.deployment, subscription: 'other' } }],
    ['what is left alone', { ...plan, unchanged: [] }]
  ])('is another one where %s is', (_name, other) => {
    expect(planHash(other)).not.toBe(planHash(plan))
    expect(planDifferences(plan, other)).not.toEqual([])
  })

  it('has no differences to name between equal plans', () => {
    expect(planDifferences(plan, { ...plan })).toEqual([])
  })
})

describe('the file of a plan', () => {
  it('is read back as it was written, and is the same bytes each time', () => {
    expect(parsePlanFile(encodePlanFile(plan), 'p')).toEqual(plan)
    expect(encodePlanFile({ ...plan })).toBe(encodePlanFile(plan))
  })

  it.each([
    ['an edited value', (text: string) => text.replace('"bb"', '"cc"'), 'hash'],
    ['a cut end', (text: string) => text.slice(0, -20), 'not JSON'],
    ['another version', (text: string) => text.replace('"version":1', '"version":2'), 'version'],
    ['no plan', () => '{"sha256":"x"}', 'no plan'],
    ['a list that is none', (text: string) => text.replace('"unchanged":["vault"]', '"unchanged":"vault"'), 'list']
  ])('is refused with %s', (_name, damage, why) => {
    const text = damage(encodePlanFile(plan))
    expect(() => parsePlanFile(text, 'p.json')).toThrow(
      expect.objectContaining({ code: 'plan.invalid', why: expect.stringContaining(why) })
    )
  })
})

describe('a file that is no plan at all', () => {
  it.each([
    ['text', 'name: confrouter'],
    ['another document', '{"kind":"release"}']
  ])('is not to be written over: %s', (_name, text) => {
    expect(() => parsePlanFile(text, 'release.json')).toThrow(
      expect.objectContaining({ code: 'plan.invalid', next: ['confrouter plan --out NEW_FILE'] })
    )
  })

  it('is told from a damaged one, which is made again under its name', () => {
    const edited = encodePlanFile(plan).replace('"bb"', '"cc"')
    expect(() => parsePlanFile(edited, 'p.json')).toThrow(
      expect.objectContaining({ next: ['confrouter plan --out p.json'] })
    )
  })
})

describe('requireSamePlan', () => {
  const moved = (count: number, to: string): Plan => ({
    ...plan,
    trustChanges: Array.from({ length: count }, (_, index) => ({ what: `link ${index}`, from: 'aa', to }))
  })
  const failure = (approved: Plan, now: Plan): UserError => {
    try {
      requireSamePlan(approved, now, 'again')
    } catch (error) {
      if (error instanceof UserError) return error
    }
    throw new Error('it should have thrown a UserError')
  }

  it('passes the plan that was approved', () => {
    expect(() => requireSamePlan(plan, { ...plan }, 'again')).not.toThrow()
  })

  it('names the first differences, one a line and each of bounded length', () => {
    const { code, why } = failure(plan, moved(9, 'x'.repeat(1000)))
    const lines = (why ?? '').split('\n')
    expect([code, lines.length, lines.at(-1)]).toEqual(['plan.moved', 6, 'and 5 more, see --json'])
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(160)
  })

  it('has all of them whole for programs', () => {
    const { report } = failure(plan, moved(9, 'x'.repeat(1000)))
    expect((report['differences'] as string[]).map(({ length }) => length > 160)).toEqual([
      false,
      ...Array(9).fill(true)
    ])
  })
})

describe('renderPlan', () => {
  const titles = new Map([
    ['vault', 'key vault'],
    ['deploy', 'container group']
  ])

  it('has a sign first, the properties below, what forces a replacement, the trust apart and the hash last', () => {
    const text = renderPlan(plan, titles)
    expect(text).toMatch(/^ {2}= key vault +unchanged$/m)
    expect(text).toMatch(/^ {2}± container group +its CCE policy is another one$/m)
    expect(text).toContain('hostData: aa → bb   (forces delete and create)')
    expect(text).toMatch(/trust changes\n {4}host data\n {6}aa\n {3}→ {2}bb/)
    expect(text).toContain('1 to replace, 1 unchanged. Nothing has been changed yet.')
    expect(text.endsWith(`plan sha256:${planHash(plan)}`)).toBe(true)
  })

  it('cuts long values for the eye and says what is absent', () => {
    const long = 'x'.repeat(100)
    const change = { ...plan.changes[0]!, properties: [{ property: 'p', from: null, to: long }] }
    const text = renderPlan({ ...plan, changes: [change] }, titles)
    expect(text).toMatch(/p: \(none\) → x+…x+$/m)
    expect(text).not.toContain(long)
  })
})
