import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import { generatePolicies, injectPolicies, type PolicyOptions } from '../../../src/policy/index.js'
import { policyOfEngine } from '../../../src/steps/policy-engines.js'
import type { Run } from '../../../src/steps/run.js'
import { unifiedDifference } from '../../../src/steps/unified-difference.js'
import { images } from './vectors.js'

const template: JsonObject = {
  resources: [
    {
      type: 'Microsoft.ContainerInstance/containerGroups',
      name: 'g',
      properties: { containers: [{ name: 'app', properties: { image: 'localhost/tiny:1', command: ['/app'] } }] }
    }
  ]
}
const run = (engine: string) =>
  ({ config: { policy: { engine } }, signal: new AbortController().signal }) as unknown as Run

let folder = ''
const path = process.env['PATH'] ?? ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'confrouter-engines-'))
  process.env['PATH'] = `${folder}${delimiter}${path}`
})
afterEach(() => {
  process.env['PATH'] = path
  rmSync(folder, { recursive: true, force: true })
})

/** An `az` that writes the policy of these options into the template, changed. */
function fakeAz(options: PolicyOptions, change: (rego: string) => string = (rego) => rego): void {
  const [made] = generatePolicies({ template, images, options })
  if (made === undefined) throw new Error('the template has a group')
  const base64 = Buffer.from(change(made.rego)).toString('base64')
  writeFileSync(join(folder, 'filled.json'), injectPolicies(template, [{ ...made, base64 }]))
  writeFileSync(join(folder, 'az'), `#!/bin/sh\ncp '${folder}/filled.json' "$4"\n`)
  chmodSync(join(folder, 'az'), 0o755)
}

const both = () => policyOfEngine(run('both'), template, images)

describe('policyOfEngine with both', () => {
  it('gives the native policy where az makes the same, byte for byte', async () => {
    fakeAz({ platformIdentityRules: true })
    const made = await both()
    expect(made).toMatchObject({ engine: 'both', warnings: [] })
    expect(made.rego).toBe((await policyOfEngine(run('native'), template, images)).rego)
  })

  it('leaves our own rules out of the comparison where az does not know them, and says so', async () => {
    fakeAz({})
    const { rego, warnings } = await both()
    expect(rego).toContain('IMDS_ENDPOINT=.+')
    expect(warnings).toEqual([expect.stringContaining('az confcom has no rules for APP_IDENTITY_ENDPOINT')])
  })

  it.each([
    ['a word', (rego: string) => rego.replace('"/app"', '"/other"'), ['-"/app"', '+"/other"']],
    [
      'a switch',
      (rego: string) => rego.replace('stacks := false', 'stacks := true'),
      ['-allow_dump_stacks := false', '+allow_dump_stacks := true']
    ],
    ['a newline at the end', (rego: string) => `${rego}\n`, ['+']],
    [
      'one rule of ours that it has, and two that it lacks',
      (rego: string) =>
        rego.replace('"env_rules":[', '"env_rules":[{"pattern":"IMDS_ENDPOINT=.+","required":false,"strategy":"re2"},'),
      ['IMDS_ENDPOINT']
    ]
  ])('fails for %s that differs, and shows it', async (_, change, shown) => {
    fakeAz({}, change)
    const error: unknown = await both().catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'policy.engines-differ', exitCode: 4 })
    const { why } = error as { why: string }
    expect(why).toContain('--- native\n+++ az\n@@')
    for (const line of shown) expect(why).toContain(line)
  })

  it('fails for a policy of an older version of the text', async () => {
    fakeAz({ frame: '0.10.0' })
    await expect(both()).rejects.toMatchObject({
      code: 'policy.engines-differ',
      why: expect.stringContaining('+api_version := "0.10.0"')
    })
  })

  it('fails without az', async () => {
    process.env['PATH'] = folder
    await expect(both()).rejects.toMatchObject({ code: 'az.missing' })
  })
})

describe('unifiedDifference', () => {
  const names = { from: 'a', to: 'b' }

  it('shows what differs with the lines around it', () => {
    const first = ['1', '2', '3', '4', '5', '6', '7', '8', '9']
    const second = ['1', '2', '3', '4', 'five', '6', '7', '8', '9', '10']
    expect(unifiedDifference(first, second, names)).toBe(
      ['--- a', '+++ b', '@@', ' 3', ' 4', '-5', '+five', ' 6', ' 7', ' 8', ' 9', '+10'].join('\n')
    )
  })

  it('shows nothing but the names for equal texts', () => {
    expect(unifiedDifference(['1'], ['1'], names)).toBe('--- a\n+++ b')
  })

  it('counts what it does not show', () => {
    const many = [...Array(500).keys()].map(String)
    expect(unifiedDifference(many, [], names)).toContain('… and 381 more lines')
  })
})
