import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { rm } from 'node:fs/promises'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import { buildScriptImage, groupTemplate, policyOf, withPolicy } from './support/containers.js'
import {
  type Clients,
  clientsFor,
  failureOf,
  listAll,
  prepare,
  quickPoll,
  startTestEmulator,
  temporaryDirectory
} from './support/emulator.js'
import { rawRequest } from './support/http.js'

const schema = 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'

/** An identity, and a role for it on the resource group: the second needs the first. */
const twoResources = {
  $schema: schema,
  contentVersion: '1.0.0.0',
  parameters: { name: { type: 'string' }, secret: { type: 'secureString', defaultValue: '' } },
  resources: [
    {
      type: 'Microsoft.Attestation/attestationProviders',
      apiVersion: '2020-10-01',
      name: "[concat(parameters('name'), 'maa')]",
      location: 'westeurope',
      dependsOn: ["[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', parameters('name'))]"],
      properties: {}
    },
    {
      type: 'Microsoft.ManagedIdentity/userAssignedIdentities',
      apiVersion: '2024-11-30',
      name: "[parameters('name')]",
      location: '[resourceGroup().location]'
    }
  ],
  outputs: { made: { type: 'string', value: "[parameters('name')]" } }
}

describe('deployments, driven by the real SDK client', () => {
  let directory: string
  let emulator: RunningEmulator
  let clients: Clients

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory)
    clients = await clientsFor(emulator.environment)
    await prepare(clients)
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  const deploy = (name: string, template: object, parameters: object = {}) =>
    clients.resources.deployments.beginCreateOrUpdateAndWait(
      'rg',
      name,
      {
        properties: {
          mode: 'Incremental',
          template: template as Record<string, unknown>,
          parameters: parameters as never
        }
      },
      quickPoll
    )
  const validate = (template: object, parameters: object = {}) =>
    clients.resources.deployments.beginValidateAndWait(
      'rg',
      'validated',
      {
        properties: {
          mode: 'Incremental',
          template: template as Record<string, unknown>,
          parameters: parameters as never
        }
      },
      quickPoll
    )

  it('writes resources in the order of their dependencies and returns outputs', async () => {
    const deployment = await deploy('two', twoResources, {
      name: { value: 'idtwo' },
      secret: { value: 'secure content' }
    })
    expect(deployment.properties?.provisioningState).toBe('Succeeded')
    expect(deployment.properties?.outputs).toEqual({ made: { type: 'string', value: 'idtwo' } })
    const operations = await listAll(clients.resources.deploymentOperations.list('rg', 'two'))
    expect(operations.map(({ properties }) => properties?.targetResource?.resourceType)).toEqual([
      'Microsoft.ManagedIdentity/userAssignedIdentities',
      'Microsoft.Attestation/attestationProviders'
    ])
    const shown = await clients.resources.deployments.get('rg', 'two')
    expect(shown.properties?.parameters).toEqual({
      name: { type: 'String', value: 'idtwo' },
      secret: { type: 'SecureString' }
    })
    expect((await clients.identities.userAssignedIdentities.get('rg', 'idtwo')).location).toBe('westeurope')
  })

  it('validates without writing', async () => {
    const result = await validate(twoResources, { name: { value: 'idonly' } })
    expect(result.properties?.provisioningState).toBe('Succeeded')
    expect(result.properties?.validatedResources).toHaveLength(2)
    expect(await failureOf(clients.identities.userAssignedIdentities.get('rg', 'idonly'))).toMatchObject({
      statusCode: 404
    })
  })

  it.each([
    ['a parameter without a value', {}, 400, 'InvalidTemplate'],
    ['an unknown parameter', { name: { value: 'x' }, other: { value: 1 } }, 400, 'InvalidTemplate']
  ])('refuses %s', async (_, parameters, statusCode, code) => {
    expect(await failureOf(validate(twoResources, parameters))).toMatchObject({ statusCode, code })
  })

  it('refuses a dependency that is not in the template, a circle, and what it cannot evaluate', async () => {
    const resource = (name: string, dependsOn: string[]) => ({
      type: 'Microsoft.ManagedIdentity/userAssignedIdentities',
      apiVersion: '2024-11-30',
      name,
      location: 'westeurope',
      dependsOn
    })
    const template = (...resources: object[]) => ({ $schema: schema, contentVersion: '1.0.0.0', resources })
    expect((await failureOf(validate(template(resource('a', ['none']))))).message).toContain(
      'is not defined in the template'
    )
    expect((await failureOf(validate(template(resource('a', ['b']), resource('b', ['a']))))).message).toContain(
      'Circular dependency'
    )
    expect(await failureOf(validate(template({ ...resource('a', []), copy: { name: 'c', count: 2 } })))).toMatchObject({
      statusCode: 501
    })
    expect((await failureOf(validate(template({ ...resource('a/b', []) })))).message).toContain(
      'incorrect segment lengths'
    )
  })

  it.each([
    ['no schema', { $schema: undefined }],
    ['a schema of another scope', { $schema: schema.replace('deploymentTemplate', 'tenantDeploymentTemplate') }],
    ['no content version', { contentVersion: undefined }],
    ['a content version that is no version', { contentVersion: 'one' }]
  ])('refuses a template with %s', async (_, change) => {
    const failure = validate({ ...twoResources, ...change }, { name: { value: 'x' } })
    expect(await failureOf(failure)).toMatchObject({ statusCode: 400, code: 'InvalidTemplate' })
  })

  it('accepts one of two deployments of a name that come at the same time', async () => {
    const both = await Promise.allSettled(
      ['idracea', 'idraceb'].map((name) => deploy('race', twoResources, { name: { value: name } }))
    )
    const refused = both.filter((outcome) => outcome.status === 'rejected')
    expect(refused).toHaveLength(1)
    expect(refused[0]?.reason).toMatchObject({ statusCode: 409, code: 'DeploymentActive' })
  })

  it('reads the unquoted template key that az sends, and no other damage', async () => {
    const { armEndpoint, subscriptionId } = emulator.environment
    const send = async (body: string) =>
      rawRequest(armEndpoint, clients.ca, {
        method: 'POST',
        path: `/subscriptions/${subscriptionId}/resourcegroups/rg/providers/Microsoft.Resources/deployments/d/validate?api-version=2024-11-01`,
        headers: { authorization: `Bearer ${await clients.token()}` },
        body
      })
    const template =
      '{"$schema":"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#","contentVersion":"1.0.0.0","parameters":{"t":{"type":"string","defaultValue":", template:{"}},"resources":[]}'
    expect((await send(`{"properties": {"parameters": {}, "mode": "Incremental", template:${template}}}`)).status).toBe(
      200
    )
    expect((await send(`{"properties": {"parameters": {}, mode: "Incremental", "template":${template}}}`)).status).toBe(
      400
    )
  })

  it('says what it lacks: complete mode', async () => {
    const complete = clients.resources.deployments.beginCreateOrUpdateAndWait(
      'rg',
      'c',
      { properties: { mode: 'Complete', template: {} } },
      quickPoll
    )
    expect(await failureOf(complete)).toMatchObject({ statusCode: 501 })
    expect(await failureOf(clients.resources.deployments.get('rg', 'never'))).toMatchObject({
      statusCode: 404,
      code: 'DeploymentNotFound'
    })
  })

  it('runs a container group, and refuses a second deployment of the name meanwhile', async () => {
    const image = await buildScriptImage(emulator.environment.imageLayout, 'idle', 'setInterval(() => {}, 1000)')
    const definition = { containers: [{ name: 'app', image }] }
    const template = withPolicy(
      groupTemplate(definition),
      (await policyOf(emulator.environment.imageLayout, definition)).base64
    )
    const properties = { mode: 'Incremental' as const, template: template as never }
    const poller = await clients.resources.deployments.beginCreateOrUpdate('rg', 'group', { properties }, quickPoll)
    const second = await failureOf(
      clients.resources.deployments.beginCreateOrUpdate('rg', 'group', { properties }, quickPoll)
    )
    expect(second).toMatchObject({ statusCode: 409, code: 'DeploymentActive' })
    expect((await poller.pollUntilDone()).properties?.provisioningState).toBe('Succeeded')
    expect((await clients.containers.containerGroups.get('rg', 'group')).instanceView?.state).toBe('Running')
    await clients.containers.containerGroups.beginDeleteAndWait('rg', 'group', quickPoll)
  })

  it('fails with the nested details that Azure gives for a policy denial', async () => {
    const layout = emulator.environment.imageLayout
    const measured = await buildScriptImage(layout, 'measured', 'process.exit(0)')
    const other = await buildScriptImage(layout, 'unmeasured', 'process.exit(1)')
    const policy = await policyOf(layout, { containers: [{ name: 'app', image: measured }] })
    const template = withPolicy(groupTemplate({ containers: [{ name: 'app', image: other }] }), policy.base64)
    const failure = await failureOf(deploy('denied', template))
    expect(failure.message).toContain('DeploymentFailed')
    const { properties } = await clients.resources.deployments.get('rg', 'denied')
    expect(properties?.provisioningState).toBe('Failed')
    expect(properties?.error).toMatchObject({
      code: 'DeploymentFailed',
      details: [
        {
          code: 'ResourceDeploymentFailure',
          message:
            "The resource write operation failed to complete successfully, because it reached terminal provisioning state 'Failed'.",
          details: [{ message: expect.stringContaining('denied by policy: {"decision":"deny"') }]
        }
      ]
    })
  })

  it('wraps what a resource provider refuses at once as JSON in a message', async () => {
    const layout = emulator.environment.imageLayout
    const image = await buildScriptImage(layout, 'nopolicy', 'process.exit(0)')
    await failureOf(deploy('empty', groupTemplate({ containers: [{ name: 'app', image }] })))
    const { properties } = await clients.resources.deployments.get('rg', 'empty')
    const [detail] = properties?.error?.details ?? []
    expect(detail?.code).toBe('BadRequest')
    expect(detail?.message).toBe(
      '{\r\n  "error": {\r\n    "code": "InvalidCcePolicy",\r\n    "message": "The CCE Policy cannot be left empty for Confidential Container Groups."\r\n  }\r\n}'
    )
  })
})
