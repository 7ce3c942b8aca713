import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import {
  buildScriptImage,
  groupTemplate,
  policyOf,
  sdkGroup,
  type TestGroup,
  withPolicy
} from './support/containers.js'
import {
  type Clients,
  clientsFor,
  eventually,
  failureOf,
  freePort,
  prepare,
  quickPoll,
  startTestEmulator,
  temporaryDirectory
} from './support/emulator.js'

/** Says on its port what it was given. */
const echoScript = `
const { createServer } = require('node:http')
console.log('started with', process.argv.slice(2).join(' '))
createServer((request, response) => {
  if (request.url === '/crash') process.exit(3)
  response.end(JSON.stringify({ env: process.env, cwd: process.cwd(), argv: process.argv, main: __filename, pid: process.pid }))
}).listen(Number(process.env.PORT), '127.0.0.1')
`

interface Echo {
  readonly env: Record<string, string>
  readonly cwd: string
  readonly argv: string[]
  readonly main: string
  readonly pid: number
}

async function ask(port: number, address = '127.0.0.1'): Promise<Echo | false> {
  try {
    return (await (await fetch(`http://${address}:${port}/`)).json()) as Echo
  } catch {
    return false
  }
}

describe('container groups, driven by the real SDK client', () => {
  let directory: string
  let emulator: RunningEmulator
  let clients: Clients
  let layout: string
  let image: string
  let identityId: string

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory)
    layout = emulator.environment.imageLayout
    clients = await clientsFor(emulator.environment)
    await prepare(clients)
    image = await buildScriptImage(layout, 'echo', echoScript)
    const identity = await clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id1', {
      location: 'westeurope'
    })
    identityId = identity.id ?? ''
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  const create = async (name: string, group: TestGroup, ccePolicy?: string) => {
    const policy = ccePolicy ?? (await policyOf(layout, group)).base64
    return clients.containers.containerGroups.beginCreateOrUpdateAndWait(
      'rg',
      name,
      sdkGroup(withPolicy(groupTemplate(group), policy)),
      quickPoll
    )
  }
  const remove = (name: string) => clients.containers.containerGroups.beginDeleteAndWait('rg', name, quickPoll)

  it('runs the files of the image with the environment that the policy allows and no other', async () => {
    const port = await freePort()
    process.env['HOST_ONLY'] = 'of the host'
    const group = await create('allowed', {
      containers: [{ name: 'app', image, environment: { PORT: String(port), OVERRIDDEN: 'template' }, port }],
      identityIds: [identityId],
      policy: { platformIdentityRules: true }
    })
    expect(group.provisioningState).toBe('Succeeded')
    expect(group.ipAddress?.ip).toBe('127.0.0.1')
    expect(group.ipAddress?.fqdn).toBe('localhost')
    expect(group.instanceView?.state).toBe('Running')
    expect(group.containers[0]?.instanceView?.currentState?.state).toBe('Running')
    expect(group.containers[0]?.instanceView?.events?.map(({ name }) => name)).toEqual([
      'Pulling',
      'Pulled',
      'NodeLent',
      'Started'
    ])
    const echo = await eventually(() => ask(port))
    expect(Object.keys(echo.env).sort()).toEqual([
      'APP_IDENTITY_ENDPOINT',
      'FROM_IMAGE',
      'FabricPackageFileName',
      'Fabric_ApplicationName',
      'Fabric_CodePackageName',
      'Fabric_NodeIPOrFQDN',
      'HOSTNAME',
      'HostedServiceName',
      'IDENTITY_API_VERSION',
      'IDENTITY_ENDPOINT',
      'IDENTITY_HEADER',
      'IDENTITY_SERVER_THUMBPRINT',
      'IMDS_ENDPOINT',
      'OVERRIDDEN',
      'PORT',
      'UVM_SECURITY_CONTEXT_DIR'
    ])
    expect(echo.env).toMatchObject({ FROM_IMAGE: 'image', OVERRIDDEN: 'template', PORT: String(port) })
    expect(echo.cwd.startsWith(directory)).toBe(true)
    expect(echo.main).toBe(`${echo.cwd}/main.cjs`)
    delete process.env['HOST_ONLY']
    await remove('allowed')
    expect(await ask(port)).toBe(false)
  })

  it('puts the digest of the policy into reports, and serves tokens of the identity', async () => {
    const port = await freePort()
    const definition: TestGroup = {
      containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }],
      identityIds: [identityId],
      policy: { platformIdentityRules: true }
    }
    await create('attested', definition)
    const { env } = await eventually(() => ask(port))
    const context = env['UVM_SECURITY_CONTEXT_DIR'] ?? ''
    const policy = await policyOf(layout, definition)
    expect(await readFile(`${context}/security-policy-base64`, 'utf8')).toBe(policy.base64)
    const device = JSON.parse(await readFile(`${context}/emulated-device.json`, 'utf8')) as { reportUrl: string }
    const answer = await fetch(device.reportUrl, {
      method: 'POST',
      body: JSON.stringify({ reportData: '00'.repeat(64) }),
      headers: { 'content-type': 'application/json' }
    })
    const { report } = (await answer.json()) as { report: string }
    expect(report.slice(2 * 192, 2 * 224)).toBe(policy.hostData)
    const token = await fetch(
      `${env['IMDS_ENDPOINT']}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net`,
      { headers: { metadata: 'true' } }
    )
    expect(token.status).toBe(200)
    await remove('attested')
    const later = await fetch(device.reportUrl, {
      method: 'POST',
      body: JSON.stringify({ reportData: '00'.repeat(64) })
    })
    expect(later.status).toBe(404)
  })

  it('asks for no infrastructure fragment where the group is tagged to run without the platform’s sidecars', async () => {
    const group: TestGroup = { containers: [{ name: 'app', image }], policy: { excludeDefaultFragments: true } }
    const body = sdkGroup(withPolicy(groupTemplate(group), (await policyOf(layout, group)).base64))
    const createTagged = (name: string, tags: Record<string, string>) =>
      clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', name, { ...body, tags }, quickPoll)
    const tagged = await createTagged('tagged', { 'Annotate-zero-sidecar': 'True' })
    expect(tagged.instanceView?.state).toBe('Running')
    await remove('tagged')
    await expect(createTagged('untagged', { other: 'True' })).rejects.toThrow(/state 'Failed'/)
    const events = JSON.stringify(await clients.containers.containerGroups.get('rg', 'untagged'))
    expect(events).toContain('infrastructure-container')
    await remove('untagged')
  })

  it('starts nothing when a layer is not in the policy, and says so in ACI’s words', async () => {
    const port = await freePort()
    const other = await buildScriptImage(layout, 'other', `${echoScript}\n// changed`)
    const container = { name: 'app', environment: { PORT: String(port) }, port }
    const policy = await policyOf(layout, { containers: [{ ...container, image }] })
    const failure = await failureOf(
      create('changed-layer', { containers: [{ ...container, image: other }] }, policy.base64)
    )
    expect(failure.message).toContain("terminal provisioning state 'Failed'")
    const group = await clients.containers.containerGroups.get('rg', 'changed-layer')
    expect(group.provisioningState).toBe('Failed')
    expect(group.instanceView?.state).toBe('Failed')
    expect(group.containers[0]?.instanceView?.currentState?.state).toBe('Waiting')
    const reason = group.instanceView?.events?.find(({ name }) => name === 'DeploymentFailedReason')?.message ?? ''
    expect(reason).toContain('onto /run/mounts/scsi/m0 denied by policy: {"decision":"deny","input":{"deviceHash":"')
    expect(reason).toContain('"reason":{"errors":["deviceHash not found"]}}')
    expect(reason).toMatch(
      /^pulling image "registry\.test\/other@sha256:.*;Successfully pulled image .*;The container group provisioning has failed\. Refer to 'DeploymentFailedReason' event for more details\.$/
    )
    expect(await ask(port)).toBe(false)
    await remove('changed-layer')
  })

  it('refuses a container whose environment the policy does not list, without showing values', async () => {
    const policy = (await policyOf(layout, { containers: [{ name: 'app', image }] })).rego
    const strict = policy.replace(
      'allow_environment_variable_dropping := true',
      'allow_environment_variable_dropping := false'
    )
    const secretGroup = { containers: [{ name: 'app', image, environment: { EXTRA: 'content-of-extra' } }] }
    await failureOf(create('extra-env', secretGroup, Buffer.from(strict).toString('base64')))
    const { instanceView } = await clients.containers.containerGroups.get('rg', 'extra-env')
    const reason = instanceView?.events?.at(-1)?.message ?? ''
    expect(reason).toContain('"errors":["invalid env list: EXTRA"]')
    expect(reason).not.toContain('content-of-extra')
    await remove('extra-env')
  })

  it('drops variables that the policy does not list when it allows that, and says which', async () => {
    const port = await freePort()
    const container = { name: 'app', image, environment: { PORT: String(port) }, port }
    const policy = await policyOf(layout, { containers: [container] })
    const widened = { containers: [{ ...container, environment: { PORT: String(port), EXTRA: 'x' } }] }
    const group = await create('dropping', widened, policy.base64)
    const { env } = await eventually(() => ask(port))
    expect(env['EXTRA']).toBeUndefined()
    const message = group.containers[0]?.instanceView?.events?.find(
      ({ name }) => name === 'EnvironmentVariablesDropped'
    )?.message
    expect(message).toContain('EXTRA')
    await remove('dropping')
  })

  it('refuses a command that is not the measured one', async () => {
    const policy = await policyOf(layout, { containers: [{ name: 'app', image }] })
    const group = { containers: [{ name: 'app', image, command: ['node', '-e', '0'] }] }
    await failureOf(create('other-command', group, policy.base64))
    const { instanceView } = await clients.containers.containerGroups.get('rg', 'other-command')
    expect(instanceView?.events?.at(-1)?.message).toContain('"errors":["invalid command"]')
    await remove('other-command')
  })

  it.each([
    ['an empty policy', '', 'The CCE Policy cannot be left empty for Confidential Container Groups.'],
    ['a policy that is not base64', '%%%', 'The CCE Policy is not a text in Base64.'],
    [
      'a policy that could permit anything',
      Buffer.from('package policy\nallow := true').toString('base64'),
      'The CCE Policy is not valid'
    ]
  ])('refuses %s with InvalidCcePolicy', async (_, policy, message) => {
    const failure = await failureOf(create('no-policy', { containers: [{ name: 'app', image }] }, policy))
    expect(failure).toMatchObject({ statusCode: 400, code: 'InvalidCcePolicy' })
    expect(failure.message).toContain(message)
    expect((await failureOf(clients.containers.containerGroups.get('rg', 'no-policy'))).statusCode).toBe(404)
  })

  it('refuses an image that the registry does not have', async () => {
    const missing = `registry.test/echo@sha256:${'0'.repeat(64)}`
    const policy = await policyOf(layout, { containers: [{ name: 'app', image }] })
    const failure = await failureOf(create('missing', { containers: [{ name: 'app', image: missing }] }, policy.base64))
    expect(failure).toMatchObject({ statusCode: 400, code: 'InaccessibleImage' })
  })

  it('refuses an identity that does not exist', async () => {
    const group = { containers: [{ name: 'app', image }], identityIds: [`${identityId}x`] }
    expect(await failureOf(create('no-identity', group))).toMatchObject({
      statusCode: 400,
      code: 'FailedIdentityOperation'
    })
  })

  it('fails a group whose port another program has, and starts none of its containers', async () => {
    const other = createServer((_, response) => response.end('other program'))
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port))
    })
    const first = await freePort()
    await failureOf(
      create('taken', {
        containers: [
          { name: 'first', image, environment: { PORT: String(first) }, port: first },
          { name: 'second', image, environment: { PORT: String(port) }, port }
        ]
      })
    )
    const group = await clients.containers.containerGroups.get('rg', 'taken')
    expect(group.containers[1]?.instanceView?.events?.at(-1)).toMatchObject({ name: 'ContainerPortInUse' })
    expect(group.instanceView?.events?.at(-1)?.message).toContain(`Port ${port} on 127.0.0.1 is in use`)
    expect(await ask(first)).toBe(false)
    await remove('taken')
    other.close()
  })

  it('gives a second group with the same port an address of its own, and keeps both through a stop', async () => {
    const port = await freePort()
    const groupOf = (label: string): TestGroup => ({
      containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }],
      label
    })
    const blue = await create('blue', groupOf('blue-router'))
    const green = await create('green', groupOf('green-router'))
    expect([blue.ipAddress?.ip, green.ipAddress?.ip, green.ipAddress?.fqdn]).toEqual([
      '127.0.0.1',
      '127.0.0.2',
      '127.0.0.2'
    ])
    const [first, second] = [await eventually(() => ask(port)), await eventually(() => ask(port, '127.0.0.2'))]
    expect(first.pid).not.toBe(second.pid)
    await clients.containers.containerGroups.stop('rg', 'blue')
    expect([await ask(port), ((await ask(port, '127.0.0.2')) as Echo).pid]).toEqual([false, second.pid])
    await remove('blue')
    await remove('green')
  })

  it('gives a DNS label to one group of a region, also while that one is stopped', async () => {
    const port = await freePort()
    const group: TestGroup = { containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }] }
    await create('holder', { ...group, label: 'one-label' })
    await clients.containers.containerGroups.stop('rg', 'holder')
    expect(await failureOf(create('other', { ...group, label: 'one-label' }))).toMatchObject({
      statusCode: 400,
      code: 'DnsNameLabelNotAvailable'
    })
    await remove('holder')
    expect((await create('other', { ...group, label: 'one-label' })).provisioningState).toBe('Succeeded')
    await remove('other')
  })

  it('restarts a container that ends, counts it, and keeps its log', async () => {
    const port = await freePort()
    await create('restarting', { containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }] })
    const first = await eventually(() => ask(port))
    await fetch(`http://127.0.0.1:${port}/crash`).catch(() => undefined)
    const second = await eventually(() => ask(port))
    expect(second.pid).not.toBe(first.pid)
    const { containers } = await clients.containers.containerGroups.get('rg', 'restarting')
    const view = containers[0]?.instanceView
    expect(view?.restartCount).toBe(1)
    expect(view?.previousState).toMatchObject({ state: 'Terminated', exitCode: 3 })
    const whole = await clients.containers.containers.listLogs('rg', 'restarting', 'app')
    expect(whole.content).toBe('started with \nstarted with \n')
    const tail = await clients.containers.containers.listLogs('rg', 'restarting', 'app', { tail: 1, timestamps: true })
    expect(tail.content).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z started with \n$/)
    expect(await failureOf(clients.containers.containers.listLogs('rg', 'restarting', 'nobody'))).toMatchObject({
      statusCode: 404
    })
    await remove('restarting')
  })

  it('stops, starts and restarts on request', async () => {
    const port = await freePort()
    await create('lifecycle', { containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }] })
    const first = await eventually(() => ask(port))
    await clients.containers.containerGroups.stop('rg', 'lifecycle')
    expect(await ask(port)).toBe(false)
    expect((await clients.containers.containerGroups.get('rg', 'lifecycle')).instanceView?.state).toBe('Stopped')
    await clients.containers.containerGroups.beginStartAndWait('rg', 'lifecycle', quickPoll)
    const second = await eventually(() => ask(port))
    await clients.containers.containerGroups.beginRestartAndWait('rg', 'lifecycle', quickPoll)
    const third = await eventually(() => ask(port))
    expect(new Set([first.pid, second.pid, third.pid]).size).toBe(3)
    await remove('lifecycle')
  })

  it('lets a container end for good when the restart policy says so', async () => {
    const quick = await buildScriptImage(layout, 'quick', 'process.exit(Number(process.env.CODE))')
    for (const [code, state] of [
      ['0', 'Succeeded'],
      ['7', 'Failed']
    ] as const) {
      await create(`once-${code}`, {
        containers: [{ name: 'app', image: quick, environment: { CODE: code } }],
        restartPolicy: 'Never'
      })
      const group = await eventually(async () => {
        const found = await clients.containers.containerGroups.get('rg', `once-${code}`)
        return found.containers[0]?.instanceView?.currentState?.state === 'Terminated' ? found : false
      })
      expect(group.containers[0]?.instanceView?.currentState?.exitCode).toBe(Number(code))
      expect(group.instanceView?.state).toBe(state)
      await remove(`once-${code}`)
    }
  })

  it('takes the same group again, and refuses to change what a group is made with', async () => {
    const port = await freePort()
    const container = { name: 'app', image, environment: { PORT: String(port) }, port }
    await create('updated', { containers: [container] })
    await eventually(() => ask(port))
    const policy = await policyOf(layout, { containers: [container] })
    const bigger = groupTemplate({ containers: [container] })
    bigger.resources[0]!.properties.containers[0]!.properties.resources.requests.cpu = 2
    const update = clients.containers.containerGroups.beginCreateOrUpdateAndWait(
      'rg',
      'updated',
      sdkGroup(withPolicy(bigger, policy.base64)),
      quickPoll
    )
    expect(await failureOf(update)).toMatchObject({ statusCode: 400, code: 'InvalidContainerGroupUpdate' })
    const same = await create('updated', { containers: [container] }, policy.base64)
    expect(same.provisioningState).toBe('Succeeded')
    const other = await failureOf(
      create('updated', { containers: [{ ...container, environment: { PORT: String(port), MORE: '1' } }] })
    )
    expect(other).toMatchObject({ code: 'InvalidContainerGroupUpdate' })
    await remove('updated')
  })

  it('does one thing at a time with a group, and lets a deletion cut it short', async () => {
    const port = await freePort()
    const definition = { containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }] }
    const body = sdkGroup(withPolicy(groupTemplate(definition), (await policyOf(layout, definition)).base64))
    const put = () => clients.containers.containerGroups.beginCreateOrUpdate('rg', 'busy', body, quickPoll)
    const outcomes = await Promise.allSettled([put(), put()])
    const refused = outcomes.find((outcome) => outcome.status === 'rejected')
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(refused?.reason).toMatchObject({ statusCode: 409, code: 'ContainerGroupTransitioning' })
    await remove('busy')
    expect(await failureOf(clients.containers.containerGroups.get('rg', 'busy'))).toMatchObject({ statusCode: 404 })
    expect(await ask(port)).toBe(false)
  })

  it('never shows a secure value, and hands it to the container', async () => {
    const port = await freePort()
    const definition = {
      containers: [{ name: 'app', image, environment: { PORT: String(port), KEY: 'secure content' }, port }]
    }
    const body = sdkGroup(withPolicy(groupTemplate(definition), (await policyOf(layout, definition)).base64))
    body.containers[0]!.environmentVariables = [
      { name: 'PORT', value: String(port) },
      { name: 'KEY', secureValue: 'secure content' }
    ]
    const group = await clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', 'secure', body, quickPoll)
    expect(group.containers[0]?.environmentVariables).toEqual([{ name: 'PORT', value: String(port) }, { name: 'KEY' }])
    expect((await eventually(() => ask(port))).env['KEY']).toBe('secure content')
    await remove('secure')
  })

  it('keeps no output of a container whose policy forbids access to it', async () => {
    const port = await freePort()
    await create('silent', {
      containers: [{ name: 'app', image, environment: { PORT: String(port) }, port }],
      policy: { disableStdio: true }
    })
    await eventually(() => ask(port))
    expect((await clients.containers.containers.listLogs('rg', 'silent', 'app')).content).toBe('')
    await remove('silent')
  })

  it('fails a group whose program the image does not have', async () => {
    await failureOf(create('no-program', { containers: [{ name: 'app', image, command: ['/bin/none'] }] }))
    const { provisioningState, instanceView } = await clients.containers.containerGroups.get('rg', 'no-program')
    expect(provisioningState).toBe('Failed')
    expect(instanceView?.events?.at(-1)?.message).toContain('exec: "/bin/none": no such file or directory')
    await remove('no-program')
  })

  it('deletes a group that is not there without complaint', async () => {
    await remove('never-made')
  })

  it('reports usage and capabilities of a location', async () => {
    const usage = []
    for await (const item of clients.containers.location.listUsage('westeurope')) usage.push(item)
    expect(usage.map(({ name }) => name?.value)).toEqual(['ContainerGroups', 'StandardCores'])
    const capabilities = []
    for await (const item of clients.containers.location.listCapabilities('westeurope')) capabilities.push(item)
    expect(capabilities[0]?.osType).toBe('Linux')
  })

  it('counts what the containers of a group ask for together', async () => {
    const definition = { containers: ['a', 'b'].map((name) => ({ name, image })) }
    const template = groupTemplate(definition)
    for (const { properties } of template.resources[0]!.properties.containers) properties.resources.requests.cpu = 16
    const body = sdkGroup(withPolicy(template, (await policyOf(layout, definition)).base64))
    const put = clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', 'too-big', body, quickPoll)
    expect(await failureOf(put)).toMatchObject({ statusCode: 400, code: 'InvalidResourceRequests' })
  })

  it.each([
    ['a group of another sku', { sku: 'Standard' }, 501],
    ['volumes', { volumes: [{ name: 'v', emptyDir: {} }] }, 501],
    ['an unknown restart policy', { restartPolicy: 'Sometimes' }, 400],
    ['a bad DNS label', { ipAddress: { type: 'Public', ports: [{ port: 80 }], dnsNameLabel: 'node' } }, 400],
    ['an address port that no container exposes', { ipAddress: { type: 'Public', ports: [{ port: 81 }] } }, 400],
    [
      'a registry server with a protocol',
      { imageRegistryCredentials: [{ server: 'https://ghcr.io', username: 'a', password: 'b' }] },
      400
    ]
  ])('refuses %s', async (_, change, statusCode) => {
    const definition = { containers: [{ name: 'app', image, port: 80 }] }
    const group = {
      ...sdkGroup(withPolicy(groupTemplate(definition), (await policyOf(layout, definition)).base64)),
      ...change
    }
    const put = clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', 'refused', group, quickPoll)
    expect((await failureOf(put)).statusCode).toBe(statusCode)
  })
})
