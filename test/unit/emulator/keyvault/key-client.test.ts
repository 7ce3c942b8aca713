import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { KeyClient } from '@azure/keyvault-keys'
import { decodeJwt } from 'jose'
import { type RunningServer, serve } from '../../../../src/emulator/server.js'
import { openTlsIdentity } from '../../../../src/emulator/tls.js'
import type { Loose } from '../hardware/requests.js'
import { encodePolicy, type Environment, policyFor, startEnvironment, tokenFor } from './vault-harness.js'

let directory: string
let environment: Environment
let server: RunningServer
let ca: string
const scopes: (string | string[])[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'key-client-'))
  const tls = await openTlsIdentity(directory)
  ca = tls.ca
  environment = await startEnvironment()
  server = await serve({ handler: environment.keyVault, port: 0, tls })
})

afterAll(async () => {
  await server.close()
  await rm(directory, { recursive: true, force: true })
})

function client(bearer: string): KeyClient {
  const credential = {
    getToken: async (scope: string | string[]) => {
      scopes.push(scope)
      return { token: bearer, expiresOnTimestamp: Date.now() + 3600_000 }
    }
  }
  return new KeyClient(server.origin, credential, {
    disableChallengeResourceVerification: true,
    tlsOptions: { ca },
    retryOptions: { maxRetries: 0 }
  })
}

function releasePolicy(policy: object): { encodedPolicy: Uint8Array } {
  return { encodedPolicy: new Uint8Array(Buffer.from(JSON.stringify(policy))) }
}

describe('the real KeyClient', () => {
  it('follows the challenge and makes, reads, changes, releases, deletes and recovers a key', async () => {
    const officer = client('officer')
    await expect(officer.getKey('k1')).rejects.toMatchObject({ statusCode: 404, code: 'KeyNotFound' })
    expect(scopes).toContainEqual(['https://vault.azure.net/.default'])

    const made = await officer.createKey('k1', 'RSA-HSM', {
      keySize: 2048,
      exportable: true,
      keyOps: ['wrapKey', 'unwrapKey'],
      releasePolicy: releasePolicy(policyFor({ 'x-ms-sevsnpvm-hostdata': '00'.repeat(32) }))
    })
    expect(made.properties).toMatchObject({ name: 'k1', exportable: true, recoveryLevel: 'Recoverable+Purgeable' })
    expect(Buffer.from(made.key!.e!).toString('hex')).toBe('00010001')
    expect((await officer.getKey('k1')).properties.version).toBe(made.properties.version)

    const updated = await officer.updateKeyProperties('k1', { releasePolicy: releasePolicy(policyFor()) })
    const text = Buffer.from(updated.properties.releasePolicy!.encodedPolicy!).toString()
    expect(JSON.parse(text)).toEqual(policyFor())

    const released = await client('releaser').releaseKey('k1', await tokenFor(environment))
    expect(decodeJwt<Loose>(released.value).response.key.key.n).toBe(Buffer.from(made.key!.n!).toString('base64url'))

    const deletion = await officer.beginDeleteKey('k1', { intervalInMs: 1 })
    expect((await deletion.pollUntilDone()).properties.recoveryId).toContain('/deletedkeys/k1')
    await expect(officer.createKey('k1', 'EC-HSM')).rejects.toMatchObject({
      statusCode: 409,
      details: { error: { innerError: { code: 'ObjectIsDeletedButRecoverable' } } }
    })
    const recovery = await officer.beginRecoverDeletedKey('k1', { intervalInMs: 1 })
    expect((await recovery.pollUntilDone()).properties.version).toBe(made.properties.version)

    const names: string[] = []
    for await (const { name } of officer.listPropertiesOfKeys()) names.push(name)
    expect(names).toEqual(['k1'])
    const versions: (string | undefined)[] = []
    for await (const { version } of officer.listPropertiesOfKeyVersions('k1')) versions.push(version)
    expect(versions).toEqual([made.properties.version])
  })

  it('sees ForbiddenByRbac where it looks for it', async () => {
    await expect(client('releaser').createKey('k2', 'EC-HSM')).rejects.toMatchObject({
      statusCode: 403,
      code: 'Forbidden',
      details: { error: { innerError: { code: 'ForbiddenByRbac' } } }
    })
  })

  it('is told that a policy goes to the key and not to a version', async () => {
    const officer = client('officer')
    const made = await officer.createKey('k3', 'RSA-HSM', {
      exportable: true,
      releasePolicy: releasePolicy(policyFor())
    })
    const change = { releasePolicy: { encodedPolicy: Buffer.from(encodePolicy(policyFor()), 'base64url') } }
    await expect(officer.updateKeyProperties('k3', made.properties.version!, change)).rejects.toThrow(/AKV\.SKR\.1016/)
  })
})
