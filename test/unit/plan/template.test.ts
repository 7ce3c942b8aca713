import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import { fillTemplate, type GroupValues } from '../../../src/plan/template.js'

const template = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../templates/container-group.json'), 'utf8')
) as JsonObject
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the assertions check the shape
const propertiesOf = (given: any) => given.resources[0].properties

/** A value for each variable that the template names. */
function valuesOf(container: number): Record<string, string> {
  const variables: readonly { name: string }[] =
    propertiesOf(template).containers[container].properties.environmentVariables
  return Object.fromEntries(
    variables.filter(({ name }) => name !== 'CONFROUTER_SECRETS').map(({ name }) => [name, 'v'])
  )
}

const values = (router: Partial<GroupValues['router']> = {}): GroupValues => ({
  name: 'group',
  location: 'westeurope',
  identityId: '/id',
  dnsLabel: undefined,
  publicPorts: [8080],
  router: { image: 'r', ports: [8080, 8443], cpu: 1, memoryGb: 1, environment: valuesOf(0), ...router },
  sidecar: { image: 's', ports: [8081], cpu: 1, memoryGb: 1, environment: valuesOf(1) }
})

const properties = (router: Partial<GroupValues['router']> = {}) => propertiesOf(fillTemplate(template, values(router)))

describe('fillTemplate', () => {
  it('puts more variables behind those that the template names', () => {
    const { environmentVariables } = properties({ moreEnvironment: { B: '1', A: '[x]' } }).containers[0].properties
    expect(environmentVariables.slice(-3)).toEqual([
      { name: 'CONFROUTER_SECRETS', value: "[parameters('sealedSecrets')]" },
      { name: 'B', value: '1' },
      // A bracket at the beginning would make it an expression.
      { name: 'A', value: '[[x]' }
    ])
  })

  it('publishes the ports that it is told to', () => {
    const { ipAddress, containers: filled } = properties()
    expect(ipAddress.ports).toEqual([{ port: 8080, protocol: 'TCP' }])
    expect(filled[0].properties.ports.map(({ port }: { port: number }) => port)).toEqual([8080, 8443])
  })

  it('leaves the template as it was', () => {
    const before = JSON.stringify(template)
    properties({ moreEnvironment: { A: '1' } })
    expect(JSON.stringify(template)).toBe(before)
  })

  it.each([
    ['a variable that it does not name', { environment: { ...valuesOf(0), STRANGER: '1' } }, 'no variable STRANGER'],
    ['a variable without a value', { environment: {} }, 'has no value'],
    ['a further variable that it names', { moreEnvironment: { PORT: '1' } }, 'has the variable PORT already'],
    [
      'secrets as a literal',
      { moreEnvironment: { CONFROUTER_SECRETS: 'x' } },
      'the variable CONFROUTER_SECRETS already'
    ]
  ])('refuses %s as a bug', (_name, router, message) => {
    expect(() => properties(router)).toThrow(message)
  })
})
