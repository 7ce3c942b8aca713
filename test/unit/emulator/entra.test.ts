import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFile, rm } from 'node:fs/promises'
import { ClientAssertionCredential, ClientSecretCredential } from '@azure/identity'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { openTokenIssuer } from '../../../src/emulator/services/entra/token-issuer.js'
import { memoryStore } from './hardware/memory-store.js'
import type { EmulatorEnvironment, RunningEmulator } from '../../../src/emulator/index.js'
import { failureOf, startTestEmulator, temporaryDirectory } from './support/emulator.js'
import { rawRequest } from './support/http.js'

describe('Entra, driven by the real identity client', () => {
  let directory: string
  let emulator: RunningEmulator
  let environment: EmulatorEnvironment
  let ca: string
  let now = new Date()

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory, { clock: () => now })
    environment = emulator.environment
    ca = await readFile(environment.caFile, 'utf8')
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  const options = () => ({
    authorityHost: environment.authorityHost,
    disableInstanceDiscovery: true,
    retryOptions: { maxRetries: 0 },
    tlsOptions: { ca }
  })
  const login = (secret: string, clientId = environment.clientId) =>
    new ClientSecretCredential(environment.tenantId, clientId, secret, options())
  const tokenRequest = (fields: Record<string, string>, tenant = environment.tenantId) =>
    rawRequest(environment.authorityHost, ca, {
      method: 'POST',
      path: `/${tenant}/oauth2/v2.0/token`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(fields).toString()
    })
  const good = () => ({
    grant_type: 'client_credentials',
    client_id: environment.clientId,
    client_secret: environment.clientSecret,
    scope: 'https://vault.azure.net/.default'
  })

  it('issues a signed token of one hour for the resource that was asked for', async () => {
    const { token, expiresOnTimestamp } = await login(environment.clientSecret).getToken(
      'https://vault.azure.net/.default'
    )
    expect(Math.abs(expiresOnTimestamp - now.getTime() - 3600_000)).toBeLessThan(60_000)
    const keys = await rawRequest(environment.authorityHost, ca, {
      path: `/${environment.tenantId}/discovery/v2.0/keys`
    })
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(keys.body as never), {
      audience: 'https://vault.azure.net',
      issuer: `${environment.authorityHost}/${environment.tenantId}/v2.0`
    })
    expect(protectedHeader.alg).toBe('RS256')
    expect(payload).toMatchObject({
      oid: environment.operatorObjectId,
      tid: environment.tenantId,
      appid: environment.clientId,
      idtyp: 'app'
    })
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600)
  })

  it('refuses a wrong secret as AADSTS7000215, and never repeats it', async () => {
    const failure = await failureOf(login('not-the-secret').getToken('https://vault.azure.net/.default'))
    expect(failure.message).toContain('AADSTS7000215')
    const answer = await tokenRequest({ ...good(), client_secret: 'not-the-secret' })
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_client', error_codes: [7000215] } })
    expect(answer.text).not.toContain('not-the-secret')
  })

  it('takes an assertion of its own federation, and no other token', async () => {
    const assertionFor = async (scope: string) => (await login(environment.clientSecret).getToken(scope)).token
    const federated = (scope: string) =>
      new ClientAssertionCredential(environment.tenantId, environment.clientId, () => assertionFor(scope), options())
    const { token } = await federated('api://AzureADTokenExchange/.default').getToken(
      'https://vault.azure.net/.default'
    )
    expect(decodeJwt(token).aud).toBe('https://vault.azure.net')
    const wrong = await failureOf(
      federated('https://vault.azure.net/.default').getToken('https://vault.azure.net/.default')
    )
    expect(wrong.message).toContain('AADSTS700213')
    const forged = new ClientAssertionCredential(
      environment.tenantId,
      environment.clientId,
      async () => 'e30.e30.AAAA',
      options()
    )
    expect((await failureOf(forged.getToken('https://vault.azure.net/.default'))).message).toContain('AADSTS700027')
  })

  it.each([
    ['another grant', { grant_type: 'password' }, 400, 70003],
    ['another application', { client_id: '00000000-0000-0000-0000-000000000000' }, 400, 700016],
    ['no scope', { scope: '' }, 400, 90014],
    ['a scope that is no resource', { scope: 'user.read' }, 400, 1002012],
    ['two resources', { scope: 'https://a/.default https://b/.default' }, 400, 1002012]
  ])('refuses %s', async (_, change, status, code) => {
    const answer = await tokenRequest({ ...good(), ...change })
    expect(answer).toMatchObject({ status, body: { error_codes: [code] } })
  })

  it('refuses a client without any proof, and another tenant', async () => {
    const { client_secret: _, ...unproved } = good()
    expect(await tokenRequest(unproved)).toMatchObject({ status: 401, body: { error_codes: [7000218] } })
    expect(await tokenRequest(good(), 'other.example')).toMatchObject({ status: 400, body: { error_codes: [90002] } })
  })

  it('no longer accepts a token after its hour', async () => {
    const { token } = await login(environment.clientSecret).getToken(`${environment.armEndpoint}/.default`)
    const ask = () =>
      rawRequest(environment.armEndpoint, ca, {
        path: `/subscriptions/${environment.subscriptionId}?api-version=2022-12-01`,
        headers: { authorization: `Bearer ${token}` }
      })
    expect((await ask()).status).toBe(200)
    now = new Date(now.getTime() + 3601_000)
    expect((await ask()).status).toBe(401)
  })

  it('describes the cloud in one object, as az wants it, and the instance to MSAL', async () => {
    const cloud = await rawRequest(environment.armEndpoint, ca, { path: '/metadata/endpoints?api-version=2022-09-01' })
    expect(cloud.body).toMatchObject({
      resourceManager: environment.armEndpoint,
      authentication: { loginEndpoint: environment.authorityHost }
    })
    const instance = await rawRequest(environment.authorityHost, ca, {
      path: '/common/discovery/instance?api-version=1.1&authorization_endpoint=x'
    })
    expect(instance.body).toMatchObject({
      tenant_discovery_endpoint: `${environment.authorityHost}/${environment.tenantId}/v2.0/.well-known/openid-configuration`
    })
  })

  it('says so when it lacks an operation', async () => {
    const answer = await rawRequest(environment.authorityHost, ca, {
      path: `/${environment.tenantId}/oauth2/v2.0/authorize`
    })
    expect(answer).toMatchObject({ status: 501, body: { error: { code: 'NotImplemented' } } })
  })
})

describe('the token issuer', () => {
  it('takes no token of another issuer, though the same key signed it', async () => {
    const store = memoryStore()
    const open = (issuer: string) => openTokenIssuer({ store, tenantId: 'tenant', issuer, clock: () => new Date() })
    const own = await open('https://own.test/tenant/v2.0')
    const other = await open('https://other.test/tenant/v2.0')
    const subject = { objectId: 'o', clientId: 'c' }
    expect(await own.verify((await own.issue(subject, 'a')).token)).toMatchObject({ objectId: 'o', audience: 'a' })
    expect(await own.verify((await other.issue(subject, 'a')).token)).toBeUndefined()
  })
})
