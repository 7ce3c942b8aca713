import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { differenceFromExisting, generatePolicies, type GroupPolicy } from '../../../src/policy/index.js'
import { images, templateOf } from './vectors.js'

const [made] = generatePolicies({ template: templateOf('default'), images }) as readonly [GroupPolicy]
const differenceFrom = (rego: string) =>
  differenceFromExisting({ groupName: 'group', base64: Buffer.from(rego).toString('base64') }, made)

function differencesFrom(change: (text: string) => string): unknown {
  const changed = change(made.rego)
  expect(changed).not.toBe(made.rego)
  const { differences } = differenceFrom(changed)
  return differences === undefined ? undefined : JSON.parse(differences)
}

describe('differenceFromExisting', () => {
  it('finds none between a policy and itself', () => {
    expect(differenceFrom(made.rego)).toEqual({ differences: undefined, warnings: [] })
  })

  it('names every container where there is no policy', () => {
    const { differences } = differenceFromExisting({ groupName: 'group', base64: '' }, made)
    expect(Object.keys(JSON.parse(differences ?? '') as object)).toEqual([
      'pause-container',
      'router-container',
      'skr-sidecar-container'
    ])
  })

  it('shows a member that differs, old and new', () => {
    const command = '"command":["/usr/local/bin/node","/app/server.js","--port","8080"]'
    expect(differencesFrom((text) => text.replace('"--port","8080"]', '"--port","9090"]'))).toEqual({
      'router-container': {
        values_changed: {
          "root['command']": {
            new_value: (JSON.parse(`{${command}}`) as { command: string[] }).command,
            old_value: ['/usr/local/bin/node', '/app/server.js', '--port', '9090']
          }
        }
      }
    })
  })

  it('shows a layer that differs', () => {
    const found = differencesFrom((text) => text.replace(/"layers":\["[0-9a-f]{64}"/, `"layers":["${'0'.repeat(64)}"`))
    expect(JSON.stringify(found)).toContain("root['layers']")
  })

  it('finds no difference in the order of a list', () => {
    expect(differencesFrom((text) => text.replace('"--port","8080"]', '"8080","--port"]'))).toBeUndefined()
  })

  it('finds a variable that no rule allows, and none that a pattern of the policy allows', () => {
    const rule = '{"pattern":"KID=router-key-1","required":false,"strategy":"string"}'
    const pattern = '{"pattern":"KID=router-key-[0-9]","required":false,"strategy":"re2"}'
    const other = '{"pattern":"KID=other","required":false,"strategy":"string"}'
    expect(differencesFrom((text) => text.replace(rule, pattern))).toBeUndefined()
    expect(differencesFrom((text) => text.replace(rule, other))).toEqual({
      'router-container': {
        env_rules: ["environment variable with rule 'KID=router-key-1' does not match strings or regex in policy rules"]
      }
    })
  })

  it('wants a pattern to be in the policy as it is', () => {
    const found = differencesFrom((text) => text.replaceAll('"HOSTNAME=.+"', '"HOSTNAME=.*"'))
    expect(JSON.stringify(found)).toContain("rule 'HOSTNAME=.+'")
  })

  it('says nothing of what the policy allows beyond the template', () => {
    const more = '"env_rules":[{"pattern":".*","required":false,"strategy":"re2"},'
    expect(differencesFrom((text) => text.replaceAll('"env_rules":[', more))).toBeUndefined()
  })

  it('finds a container by its name when the image is another, and by its image when the name is', () => {
    const image = 'ghcr.io/example/inference-router:1.4.2'
    expect(differencesFrom((text) => text.replace(`"id":"${image}"`, '"id":"other:1"'))).toBeUndefined()
    const renamed = differencesFrom((text) => text.replace('"name":"router-container"', '"name":"other"'))
    expect(JSON.stringify(renamed)).toContain("root['name']")
  })

  it('warns of fragments that are not the default ones', () => {
    const { warnings } = differenceFrom(made.rego.replace('aci-cc-infra-fragment', 'another-fragment'))
    expect(warnings.join()).toContain('other fragments')
  })

  it.each([
    ['package policy', 'has no "containers"'],
    ['containers := [{]', 'cannot be compared'],
    [
      'containers := [{"name":"router-container","env_rules":[{"pattern":"(","strategy":"re2"}]}]\nfragments := []',
      'the existing policy'
    ]
  ])('refuses to compare with %j', (rego, words) => {
    expect(() => differenceFrom(rego)).toThrow(UserError)
    expect(() => differenceFrom(rego)).toThrow(words)
  })

  it('refuses a policy that is not base64', () => {
    expect(() => differenceFromExisting({ groupName: 'group', base64: '!!!' }, made)).toThrow('not base64')
  })

  it('refuses an existing policy whose patterns are too large together', () => {
    const rules = Array.from({ length: 300 }, (_, index) =>
      JSON.stringify({ pattern: `A=.{990}${index}`, required: false, strategy: 're2' })
    ).join()
    expect(() => differenceFrom(made.rego.replaceAll('"env_rules":[', `"env_rules":[${rules},`))).toThrow(
      'too large together'
    )
  })
})
