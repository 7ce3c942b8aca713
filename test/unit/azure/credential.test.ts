import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import { createCredential } from '../../../src/azure/credential.js'
import { credentialProblem, type LoginContext } from '../../../src/azure/credential-problems.js'
import { type AuthMethod, azureEnvironment, type IdentitySource } from '../../../src/azure/environment.js'
import { federationOf } from '../../../src/azure/federation.js'
import type { EmulatorEnvironment, RunningEmulator } from '../../../src/emulator/index.js'
import { startTestEmulator, temporaryDirectory } from '../emulator/support/emulator.js'
import { rawRequest } from '../emulator/support/http.js'

let directory: string
let emulator: RunningEmulator
let environment: EmulatorEnvironment
let ca: string
/** Gives id tokens as a runner of GitHub Actions does, and managed identity tokens as an app service does. */
let runner: Server
let runnerUrl: string
const asked: { url: string; authorization: string | undefined }[] = []
let runnerAnswer: { status: number; body: string } | undefined

beforeAll(async () => {
  directory = await temporaryDirectory()
  emulator = await startTestEmulator(directory)
  environment = emulator.environment
  ca = await readFile(environment.caFile, 'utf8')
  runner = createServer((request, response) => {
    asked.push({ url: request.url ?? '', authorization: request.headers.authorization })
    void idToken().then((value) => {
      const { status, body } = runnerAnswer ?? { status: 200, body: JSON.stringify({ count: 1, value }) }
      response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    })
  })
  await new Promise<void>((resolve) => runner.listen(0, '127.0.0.1', resolve))
  runnerUrl = `http://127.0.0.1:${(runner.address() as AddressInfo).port}`
})
afterAll(async () => {
  runner.close()
  await emulator.close()
  await rm(directory, { recursive: true, force: true })
})

/** The one assertion that the emulated directory believes: a token of its own for federation. */
async function idToken(): Promise<string> {
  const { body } = await rawRequest(environment.authorityHost, ca, {
    method: 'POST',
    path: `/${environment.tenantId}/oauth2/v2.0/token`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: environment.clientId,
      client_secret: environment.clientSecret,
      scope: 'api://AzureADTokenExchange/.default'
    }).toString()
  })
  return (body as { access_token: string }).access_token
}

const scope = 'https://vault.azure.net/.default'

async function login(
  auth: AuthMethod,
  variables: Record<string, string>,
  change: Partial<IdentitySource> = {}
): Promise<Record<string, unknown>> {
  const credential = await createCredential({
    armEndpoint: environment.armEndpoint,
    armScope: `${environment.armEndpoint}/.default`,
    credential: {
      kind: 'identity',
      auth,
      authorityHost: environment.authorityHost,
      tenantId: environment.tenantId,
      variables,
      instanceDiscovery: false,
      ...change
    },
    ca,
    pollIntervalMs: 1,
    roleWaitSeconds: 0,
    directoryWaitSeconds: 1,
    nameWaitSeconds: 1
  })
  const token = await credential.getToken(scope)
  return decodeJwt(token?.token ?? '')
}

const problemOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: Error & { code?: string; problem?: string; why?: string; next?: readonly string[] }) => {
      const { name, code, problem, why, next } = error
      return { name, code, problem, why, next }
    }
  )

const sp = () => ({ AZURE_CLIENT_ID: environment.clientId, AZURE_CLIENT_SECRET: environment.clientSecret })
const gitHub = () => ({
  GITHUB_ACTIONS: 'true',
  AZURE_CLIENT_ID: environment.clientId,
  ACTIONS_ID_TOKEN_REQUEST_URL: `${runnerUrl}/token?api-version=2.0`,
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-token'
})

describe('the endpoints of a cloud', () => {
  it.each([
    ['azure', 'https://management.azure.com', 'https://login.microsoftonline.com'],
    ['azure-usgov', 'https://management.usgovcloudapi.net', 'https://login.microsoftonline.us'],
    ['azure-china', 'https://management.chinacloudapi.cn', 'https://login.chinacloudapi.cn']
  ] as const)('%s are those of az and @azure/identity', (cloud, arm, authority) => {
    const {
      armEndpoint,
      armScope,
      credential,
      ca: roots
    } = azureEnvironment(cloud, undefined, { auth: 'auto', variables: {} })
    expect({ armEndpoint, armScope, roots }).toEqual({
      armEndpoint: arm,
      armScope: `${arm}/.default`,
      roots: undefined
    })
    expect(credential).toMatchObject({ kind: 'identity', authorityHost: authority, instanceDiscovery: true })
  })
})

describe('a service principal', () => {
  it('logs in with its secret, by name and by itself', async () => {
    for (const auth of ['sp', 'auto'] as const) {
      expect(await login(auth, sp())).toMatchObject({ appid: environment.clientId, aud: 'https://vault.azure.net' })
    }
  })

  it('takes the tenant of the environment where none is configured', async () => {
    const variables = { ...sp(), AZURE_TENANT_ID: environment.tenantId }
    expect(await login('sp', variables, { tenantId: undefined })).toMatchObject({ tid: environment.tenantId })
  })

  it('is told which variables are missing', async () => {
    expect(await problemOf(login('sp', {}, { tenantId: undefined }))).toMatchObject({
      name: 'UserError',
      code: 'auth.variables-missing',
      problem: '--auth sp needs AZURE_CLIENT_ID and AZURE_TENANT_ID'
    })
    expect(await problemOf(login('sp', { AZURE_CLIENT_ID: environment.clientId }))).toMatchObject({
      problem: '--auth sp needs AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH'
    })
  })

  it('with a wrong secret is told so, and the secret is not shown', async () => {
    const problem = await problemOf(login('sp', { ...sp(), AZURE_CLIENT_SECRET: 'wrong-secret' }))
    expect(problem).toMatchObject({ code: 'auth.secret-refused', problem: expect.stringContaining('AADSTS7000215') })
    expect(problem?.next?.[0]).toContain(`az ad app credential reset --id ${environment.clientId}`)
    expect(JSON.stringify(problem)).not.toContain('wrong-secret')
  })

  it('that the tenant does not have is told so, and so is a tenant that is none', async () => {
    const other = { ...sp(), AZURE_CLIENT_ID: '99999999-9999-9999-9999-999999999999' }
    expect(await problemOf(login('sp', other))).toMatchObject({
      code: 'auth.unknown-application',
      problem: expect.stringContaining('99999999-9999-9999-9999-999999999999')
    })
    const tenantId = '88888888-8888-8888-8888-888888888888'
    expect(await problemOf(login('sp', sp(), { tenantId }))).toMatchObject({ code: 'auth.unknown-tenant' })
  })
})

describe('federation', () => {
  it('with GitHub Actions asks for a token for Entra, and shows it as an assertion', async () => {
    for (const auth of ['oidc', 'auto'] as const) {
      asked.length = 0
      expect(await login(auth, gitHub())).toMatchObject({ appid: environment.clientId })
      expect(new Set(asked.map((one) => JSON.stringify(one)))).toEqual(
        new Set([
          JSON.stringify({
            url: '/token?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange',
            authorization: 'Bearer request-token'
          })
        ])
      )
    }
  })

  it('with a file reads the token from it', async () => {
    const file = join(directory, 'token')
    await writeFile(file, await idToken())
    const variables = { AZURE_CLIENT_ID: environment.clientId, AZURE_FEDERATED_TOKEN_FILE: file }
    expect(await login('oidc', variables)).toMatchObject({ appid: environment.clientId })
  })

  it('that Entra does not believe names the subject, and the command that makes it believed', async () => {
    const claims = Buffer.from('{"sub":"repo:example/app:ref:refs/heads/main"}').toString('base64url')
    runnerAnswer = { status: 200, body: JSON.stringify({ value: `e30.${claims}.AA` }) }
    const problem = await problemOf(login('oidc', gitHub()))
    runnerAnswer = undefined
    expect(problem).toMatchObject({
      code: 'auth.federation-refused',
      why: expect.stringContaining('repo:example/app:ref:refs/heads/main')
    })
    expect(problem?.next?.[0]).toContain('"subject":"repo:example/app:ref:refs/heads/main"')
  })

  it.each([
    ['a job without the permission', { GITHUB_ACTIONS: 'true' }, 'id-token: write'],
    ['a step without the job’s token', { TF_BUILD: 'True' }, 'SYSTEM_ACCESSTOKEN: $(System.AccessToken)'],
    ['a machine that is no pipeline', {}, 'az login']
  ])('is refused to %s, with what to do', async (_, variables, next) => {
    const problem = await problemOf(login('oidc', { AZURE_CLIENT_ID: environment.clientId, ...variables }))
    expect(problem).toMatchObject({ name: 'UserError', code: 'auth.no-id-token' })
    expect(problem?.next?.join()).toContain(next)
  })

  it('is refused when the runner gives no token', async () => {
    runnerAnswer = { status: 403, body: '{"message":"no"}' }
    const problem = await problemOf(login('oidc', gitHub()))
    runnerAnswer = undefined
    expect(problem).toMatchObject({ code: 'auth.no-id-token', problem: 'GitHub Actions gave no id token (HTTP 403)' })
    expect(JSON.stringify(problem)).not.toContain('request-token')
  })

  it('is known by what each of them sets, and not by half of it', () => {
    const pipelines = {
      SYSTEM_OIDCREQUESTURI: 'https://dev.azure.com/x',
      SYSTEM_ACCESSTOKEN: 'token',
      AZURESUBSCRIPTION_SERVICE_CONNECTION_ID: 'connection'
    }
    expect(federationOf(pipelines)).toEqual({
      kind: 'azure-pipelines',
      serviceConnectionId: 'connection',
      accessToken: 'token'
    })
    for (const name of Object.keys(pipelines)) expect(federationOf({ ...pipelines, [name]: '' })).toBeUndefined()
    expect(federationOf({ ACTIONS_ID_TOKEN_REQUEST_URL: 'https://x' })).toBeUndefined()
  })
})

describe('the Azure CLI', () => {
  /** As a process of its own, because the CLI is looked for in the PATH of the process. */
  const withAz = async (script: string): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), 'az-'))
    await writeFile(join(folder, 'az'), `#!/bin/sh\n${script}\n`)
    await chmod(join(folder, 'az'), 0o755)
    const source = { kind: 'identity', auth: 'azcli', authorityHost: environment.authorityHost, variables: {} }
    const module = pathToFileURL(join(import.meta.dirname, '../../../dist/azure/credential.js')).href
    const program = `import { createCredential } from ${JSON.stringify(module)}
      const credential = await createCredential({ credential: ${JSON.stringify(source)} })
      const token = await credential.getToken(${JSON.stringify(scope)}).catch((error) => ({ token: error.code }))
      console.log(token.token)`
    const env = { PATH: `${folder}:/usr/bin:/bin`, HOME: folder }
    try {
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { env })
      return stdout.trim()
    } finally {
      await rm(folder, { recursive: true })
    }
  }

  it('is asked for its token', async () => {
    const expires = Math.floor(Date.now() / 1000) + 3600
    const answer = JSON.stringify({ accessToken: 'token-of-az', expires_on: expires, tokenType: 'Bearer' })
    expect(await withAz(`echo '${answer}'`)).toBe('token-of-az')
  }, 20_000)

  it('that is not logged in says so', async () => {
    expect(await withAz('echo "Please run az login" >&2; exit 1')).toBe('auth.not-logged-in')
  }, 20_000)
})

describe('a failed login', () => {
  const context = (method: LoginContext['method']): LoginContext => ({
    method,
    assertionSubject: undefined,
    variables: {}
  })
  const failed = (name: string, message = '') => Object.assign(new Error(message), { name })

  it.each([
    ['azcli', 'auth.not-logged-in'],
    ['msi', 'auth.no-managed-identity'],
    ['sp', 'auth.refused'],
    ['oidc', 'auth.refused'],
    ['machine', 'auth.not-logged-in']
  ] as const)('by %s is %s where Entra gave no number that is known', (method, code) => {
    for (const message of ['', 'AADSTS50059: No tenant']) {
      const problem = credentialProblem(failed('CredentialUnavailableError', message), context(method)) as Error & {
        next: string[]
      }
      expect([Reflect.get(problem, 'code'), problem.next.length > 0]).toEqual([code, true])
    }
  })

  it('of another kind is passed on as it is', () => {
    const error = failed('TypeError', 'AADSTS700016')
    expect(credentialProblem(error, context('sp'))).toBe(error)
  })

  it('of an expired secret is told apart from a wrong one', () => {
    const problem = credentialProblem(failed('AuthenticationRequiredError', 'AADSTS7000222: expired'), context('sp'))
    expect(problem).toMatchObject({ code: 'auth.secret-refused', why: 'it has expired' })
  })
})
