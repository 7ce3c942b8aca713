import { execFile } from 'node:child_process'
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { certificatePem, issueCertificate } from '../../../src/emulator/hardware/certificate.js'
import type { EmulatorEnvironment, RunningEmulator } from '../../../src/emulator/index.js'
import { startTestEmulator, temporaryDirectory } from '../emulator/support/emulator.js'
import { rawRequest } from '../emulator/support/http.js'

// Ways to log in that read the environment of their process: each runs in one of its own, through @azure/identity,
// to what it would meet on the agent. What Entra believes of them is decided by the emulated directory, but for
// certificates, which stand here: signed by the key whose certificate was registered, or refused as Entra does.

const scope = 'https://vault.azure.net/.default'
const registered = clientCertificate()
const foreign = clientCertificate()
let directory: string
let emulator: RunningEmulator
let environment: EmulatorEnvironment
let ca: string
let agent: Server
let agentUrl: string
let appService: Server
let appServiceUrl: string
const asked: { method: string; url: string; headers: IncomingMessage['headers'] }[] = []
let agentStatus = 200

beforeAll(async () => {
  directory = await temporaryDirectory()
  emulator = await startTestEmulator(directory)
  environment = emulator.environment
  ca = await readFile(environment.caFile, 'utf8')
  const tls = join(environment.caFile, '..')
  const [key, cert] = await Promise.all(['server.key', 'server.pem'].map((file) => readFile(join(tls, file), 'utf8')))
  agent = createHttpsServer({ key, cert }, (request, response) => {
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    void answerOfAgent(request).then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  appService = createHttpServer((request, response) => {
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    const resource = new URL(request.url ?? '', appServiceUrl).searchParams.get('resource')
    void tokenOf(`${resource}/.default`).then((access_token) => {
      const expires_on = String(Math.floor(Date.now() / 1000) + 3600)
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ access_token, expires_on, resource, token_type: 'Bearer' }))
    })
  })
  agentUrl = await listen(agent, 'https')
  appServiceUrl = await listen(appService, 'http')
})
beforeEach(() => {
  asked.length = 0
  agentStatus = 200
})
afterAll(async () => {
  agent.close()
  appService.close()
  await emulator.close()
  await rm(directory, { recursive: true, force: true })
})

async function listen(server: Server, scheme: string): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function clientCertificate() {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const subject = [['CN', 'pipeline']] as const
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) }
  const content = { subject, issuer: subject, publicKey, extensions: [], ...validity }
  const certificate = certificatePem(issueCertificate(content, privateKey, 'rsa-sha256'))
  return { certificate, privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

/** Azure DevOps under /oidc, a directory that knows one certificate under the path of the tenant. */
async function answerOfAgent(request: IncomingMessage): Promise<[status: number, body: unknown]> {
  const body = await text(request)
  if (request.url?.startsWith('/oidc')) {
    if (agentStatus !== 200) return [agentStatus, { message: 'no' }]
    return [200, { oidcToken: await tokenOf('api://AzureADTokenExchange/.default') }]
  }
  const tenant = `${agentUrl}/${environment.tenantId}`
  if (request.method === 'GET') {
    const endpoints = { token_endpoint: `${tenant}/oauth2/v2.0/token`, issuer: `${tenant}/v2.0` }
    return [200, { ...endpoints, authorization_endpoint: `${tenant}/authorize`, jwks_uri: `${tenant}/keys` }]
  }
  const assertion = new URLSearchParams(body).get('client_assertion') ?? ''
  const { publicKey, raw } = new X509Certificate(registered.certificate)
  // The SDK rounds `nbf` up.
  const expected = { audience: `${tenant}/oauth2/v2.0/token`, issuer: environment.clientId, clockTolerance: 5 }
  try {
    await jwtVerify(assertion, publicKey, {
      ...expected,
      subject: environment.clientId,
      algorithms: ['PS256', 'RS256']
    })
    const header = decodeProtectedHeader(assertion)
    const thumbprint = (algorithm: string) => createHash(algorithm).update(raw).digest('base64url')
    expect(header['x5t#S256'] ?? header.x5t).toBe(thumbprint(header['x5t#S256'] ? 'sha256' : 'sha1'))
  } catch {
    const error_description = 'AADSTS700027: The certificate that signed the client assertion is not registered.'
    return [401, { error: 'invalid_client', error_description, error_codes: [700027] }]
  }
  return [200, { token_type: 'Bearer', expires_in: 3600, access_token: await tokenOf(scope) }]
}

async function tokenOf(wanted: string): Promise<string> {
  const { body } = await rawRequest(environment.authorityHost, ca, {
    method: 'POST',
    path: `/${environment.tenantId}/oauth2/v2.0/token`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: environment.clientId,
      client_secret: environment.clientSecret,
      scope: wanted
    }).toString()
  })
  return (body as { access_token: string }).access_token
}

/** The token that the built credential gives in a process with these variables, or code and cause of its error. */
async function login(
  auth: string,
  variables: Record<string, string>,
  authorityHost = environment.authorityHost
): Promise<{ token?: string; code?: string; problem?: string; next?: readonly string[] }> {
  const module = pathToFileURL(join(import.meta.dirname, '../../../dist/azure/credential.js')).href
  const { tenantId } = environment
  const source = { kind: 'identity', auth, authorityHost, tenantId, instanceDiscovery: false, variables }
  const program = `import { createCredential } from ${JSON.stringify(module)}
    const credential = await createCredential(${JSON.stringify({ credential: source, ca })})
    console.log(JSON.stringify(await credential.getToken(${JSON.stringify(scope)}).catch(
      ({ code, problem, next, message }) => ({ code, problem: problem ?? message, next }))))`
  const env = { PATH: '/usr/bin:/bin', HOME: directory, ...variables }
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { env })
  return JSON.parse(stdout) as Awaited<ReturnType<typeof login>>
}

describe('a step of Azure Pipelines', () => {
  const pipelines = () => ({
    TF_BUILD: 'True',
    SYSTEM_OIDCREQUESTURI: `${agentUrl}/oidc`,
    SYSTEM_ACCESSTOKEN: 'access-token-of-the-job',
    AZURESUBSCRIPTION_SERVICE_CONNECTION_ID: '5ca1ab1e-0000-0000-0000-000000000001',
    AZURESUBSCRIPTION_CLIENT_ID: environment.clientId,
    AZURESUBSCRIPTION_TENANT_ID: environment.tenantId
  })

  it('has the token of its service connection believed by Entra', async () => {
    const { token = '' } = await login('oidc', pipelines())
    expect(decodeJwt(token)).toMatchObject({ appid: environment.clientId, aud: 'https://vault.azure.net' })
    expect(new Set(asked.map(({ method, url }) => `${method} ${url}`))).toEqual(
      new Set(['POST /oidc?api-version=7.1&serviceConnectionId=5ca1ab1e-0000-0000-0000-000000000001'])
    )
    expect(asked[0]?.headers.authorization).toBe('Bearer access-token-of-the-job')
  }, 30_000)

  it('whose service connection gives none is told so, without its access token', async () => {
    agentStatus = 401
    const failure = await login('oidc', pipelines())
    expect(failure.code).toBe('auth.refused')
    expect(JSON.stringify(failure)).not.toContain('access-token-of-the-job')
  }, 30_000)
})

describe('a certificate of a service principal', () => {
  async function withCertificate({ certificate, privateKey }: typeof registered) {
    const file = join(directory, 'pipeline.pem')
    await writeFile(file, certificate + privateKey, { mode: 0o600 })
    return login('sp', { AZURE_CLIENT_ID: environment.clientId, AZURE_CLIENT_CERTIFICATE_PATH: file }, agentUrl)
  }

  it('signs what Entra verifies by it', async () => {
    const { token = '' } = await withCertificate(registered)
    expect(decodeJwt(token)).toMatchObject({ appid: environment.clientId })
  }, 30_000)

  it('that is not registered is refused by number', async () => {
    expect(await withCertificate(foreign)).toMatchObject({
      code: 'auth.certificate-refused',
      problem: expect.stringContaining('AADSTS700027'),
      next: expect.arrayContaining([expect.stringContaining('az ad app credential reset')])
    })
  }, 30_000)
})

describe('a managed identity', () => {
  it('of an app service is asked by its endpoint and header, by name and by itself', async () => {
    for (const auth of ['msi', 'auto']) {
      asked.length = 0
      const variables = { IDENTITY_ENDPOINT: `${appServiceUrl}/msi/token`, IDENTITY_HEADER: 'header-of-the-app' }
      const { token = '' } = await login(auth, variables)
      expect(decodeJwt(token)).toMatchObject({ aud: 'https://vault.azure.net' })
      expect(asked.map(({ headers }) => headers['x-identity-header'])).toEqual(['header-of-the-app'])
    }
  }, 30_000)

  it('that is chosen by AZURE_CLIENT_ID is asked for by it', async () => {
    await login('msi', {
      IDENTITY_ENDPOINT: `${appServiceUrl}/msi/token`,
      IDENTITY_HEADER: 'header-of-the-app',
      AZURE_CLIENT_ID: environment.clientId
    })
    expect(asked[0]?.url).toContain(`client_id=${environment.clientId}`)
  }, 30_000)
})
