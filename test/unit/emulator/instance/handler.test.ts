import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../../src/base/digest.js'
import { createHardware, type SimulatedHardware } from '../../../../src/emulator/hardware/simulated-hardware.js'
import type { Handler } from '../../../../src/emulator/http.js'
import { type Instance, instanceHandler } from '../../../../src/emulator/services/instance/handler.js'
import { memoryStore } from '../hardware/memory-store.js'
import { call, type Loose, refusal } from '../hardware/requests.js'

const hostData = sha256Hex('policy')
const identity = (name: string): Instance['identities'][number] => ({
  clientId: `client-${name}`,
  principalId: `principal-${name}`,
  resourceId: `/subscriptions/s/${name}`
})
const groups: Record<string, Instance> = {
  one: { hostData, identities: [identity('a')] },
  two: { hostData: sha256Hex('other'), identities: [identity('a'), identity('b')] },
  none: { hostData, identities: [] }
}
const now = new Date('2026-11-22T10:00:00Z')
const metadata = { headers: { metadata: 'true' } }
const tokenPath = '/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net'
let hardware: SimulatedHardware
let handler: Handler

beforeAll(async () => {
  hardware = await createHardware({ store: memoryStore() })
  handler = instanceHandler({
    hardware,
    instances: (secret) => groups[secret],
    issueToken: async ({ principal, audience }) => ({
      token: JSON.stringify([principal, audience]),
      expiresOn: new Date(now.getTime() + 3600_000)
    }),
    clock: () => now
  })
})

describe('the metadata service of a container group', () => {
  it('gives a token of the only identity, all members strings', async () => {
    const { status, body } = await call(handler, `/instances/one${tokenPath}`, metadata)
    expect(status).toBe(200)
    expect(body).toEqual({
      access_token: JSON.stringify([
        { objectId: 'principal-a', clientId: 'client-a', resourceId: '/subscriptions/s/a' },
        'https://vault.azure.net'
      ]),
      client_id: 'client-a',
      expires_in: '3600',
      expires_on: '1795345200',
      ext_expires_in: '3600',
      not_before: '1795341600',
      resource: 'https://vault.azure.net',
      token_type: 'Bearer'
    })
  })

  it.each(['client_id=CLIENT-B', 'object_id=principal-b', 'msi_res_id=/subscriptions/s/b'])(
    'finds an identity by %s among several',
    async (query) => {
      const { body } = await call(handler, `/instances/two${tokenPath}&${query}`, metadata)
      expect(body.client_id).toBe('client-b')
    }
  )

  it.each([
    ['several identities and none named', 'two', ''],
    ['an identity that the group lacks', 'two', '&client_id=client-x'],
    ['an identity of somebody else', 'one', '&client_id=client-b'],
    ['no identity', 'none', '']
  ])('answers Identity not found to %s', async (_case, secret, query) => {
    const { status, body } = await call(handler, `/instances/${secret}${tokenPath}${query}`, metadata)
    expect([status, body]).toEqual([400, { error: 'invalid_request', error_description: 'Identity not found' }])
  })

  it.each([tokenPath, '/metadata/THIM/amd/certification'])('wants the Metadata header: %s', async (path) => {
    for (const headers of [{}, { metadata: 'false' }]) {
      const { status, body } = await call(handler, `/instances/one${path}`, { headers })
      expect([status, body.error]).toEqual([400, 'invalid_request'])
    }
  })

  it.each(['resource=x', 'api-version=2018-02-01'])('wants api-version and resource, not only %s', async (query) => {
    const { status } = await call(handler, `/instances/one/metadata/identity/oauth2/token?${query}`, metadata)
    expect(status).toBe(400)
  })

  it('gives the certificates of the processor, byte for byte', async () => {
    const { body } = await call(handler, '/instances/one/metadata/THIM/amd/certification', metadata)
    expect(new TextDecoder().decode(body)).toBe(hardware.thimJson)
  })
})

describe('the SNP device of a container group', () => {
  const reportData = createHash('sha512').update('x').digest('hex')
  const report = async (secret: string, body: object): Promise<Loose> =>
    (await call(handler, `/instances/${secret}/snp-report`, { body })).body

  it('reports the data of the caller and the host data of the group', async () => {
    const bytes = Buffer.from((await report('one', { reportData })).report, 'hex')
    expect(bytes).toHaveLength(1184)
    expect(bytes.subarray(80, 144).toString('hex')).toBe(reportData)
    expect(bytes.subarray(192, 224).toString('hex')).toBe(hostData)
  })

  it('lets nobody choose host data, VMPL or debug', async () => {
    const wishes = { reportData, hostData: '00'.repeat(32), vmpl: 3, debug: true }
    const bytes = Buffer.from((await report('one', wishes)).report, 'hex')
    expect(bytes.subarray(192, 224).toString('hex')).toBe(hostData)
    expect([bytes.readUInt32LE(48), bytes.readBigUInt64LE(8)]).toEqual([0, 0x3001fn])
  })

  it('has one report id for a group, and another for another', async () => {
    const id = async (secret: string): Promise<string> => (await report(secret, { reportData })).report.slice(640, 704)
    expect(await id('one')).toBe(await id('one'))
    expect(await id('two')).not.toBe(await id('one'))
  })

  it.each([{}, { reportData: 'ab' }, { reportData: 'Z'.repeat(128) }, { reportData: 5 }, 'xx'])(
    'refuses %j',
    async (body) => {
      expect((await call(handler, '/instances/one/snp-report', { body })).status).toBe(400)
    }
  )
})

describe('the instance endpoints', () => {
  it.each(['/instances/unknown/metadata/THIM/amd/certification', '/instances/one', '/other'])(
    'are not there for who is in no group: %s',
    async (path) => {
      expect((await call(handler, path, metadata)).status).toBe(404)
    }
  )

  it('name what they lack without the secret', async () => {
    const error = await refusal(handler, '/instances/one/metadata/instance', metadata)
    expect([error.status, error.message]).toEqual([501, 'not implemented: GET /metadata/instance'])
  })
})
