import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AttestationManagementClient } from '@azure/arm-attestation'
import { AuthorizationManagementClient } from '@azure/arm-authorization'
import { ContainerInstanceManagementClient } from '@azure/arm-containerinstance'
import { KeyVaultManagementClient } from '@azure/arm-keyvault'
import { ManagedServiceIdentityClient } from '@azure/arm-msi'
import { ResourceManagementClient } from '@azure/arm-resources'
import { ClientSecretCredential } from '@azure/identity'
import { KeyClient } from '@azure/keyvault-keys'
import {
  type EmulatorEnvironment,
  type EmulatorOptions,
  type RunningEmulator,
  startEmulator
} from '../../../../src/emulator/index.js'

/** Short pauses, so that restarts and stops can be waited for. */
export const quickTiming = { firstBackoffMs: 20, maxBackoffMs: 200, graceMs: 2000 }

/** A sidecar that answers nothing: these tests are about the platform around it. */
const idleProgram = 'setInterval(() => {}, 1000)\n'

export async function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'emulator-test-'))
}

export async function startTestEmulator(
  directory: string,
  options: Partial<EmulatorOptions> = {}
): Promise<RunningEmulator> {
  const sidecarBundle = join(directory, 'sidecar.cjs')
  await writeFile(sidecarBundle, idleProgram)
  return startEmulator({ directory, port: 0, sidecarBundle, timing: quickTiming, ...options })
}

export type Clients = Awaited<ReturnType<typeof clientsFor>>

/** The real, unmodified clients, told of the endpoint and the root and of nothing else. */
export async function clientsFor(
  environment: EmulatorEnvironment,
  login: { readonly clientId: string; readonly clientSecret: string } = environment
) {
  const ca = await readFile(environment.caFile, 'utf8')
  const tls = { tlsOptions: { ca } }
  const { armEndpoint: endpoint, subscriptionId } = environment
  const credential = new ClientSecretCredential(environment.tenantId, login.clientId, login.clientSecret, {
    authorityHost: environment.authorityHost,
    disableInstanceDiscovery: true,
    retryOptions: { maxRetries: 0 },
    ...tls
  })
  const scope = `${endpoint}/.default`
  const retryOptions = { maxRetries: 0 }
  const arm = { endpoint, credentialScopes: [scope], retryOptions, ...tls }
  return {
    ca,
    credential,
    token: async () => (await credential.getToken(scope)).token,
    resources: new ResourceManagementClient(credential, subscriptionId, arm),
    attestation: new AttestationManagementClient(credential, subscriptionId, arm),
    authorization: new AuthorizationManagementClient(credential, subscriptionId, arm),
    identities: new ManagedServiceIdentityClient(credential, subscriptionId, arm),
    containers: new ContainerInstanceManagementClient(credential, subscriptionId, arm),
    vaults: new KeyVaultManagementClient(credential, subscriptionId, {
      endpoint,
      credentials: { scopes: [scope] },
      retryOptions,
      ...tls
    }),
    keys: (vaultUri: string) =>
      new KeyClient(vaultUri, credential, { disableChallengeResourceVerification: true, retryOptions, ...tls })
  }
}

export const quickPoll = { updateIntervalInMs: 1 }

/** Registers the namespaces and makes the resource group `rg`. */
export async function prepare({ resources }: Clients): Promise<void> {
  for (const namespace of [
    'Microsoft.Attestation',
    'Microsoft.ContainerInstance',
    'Microsoft.KeyVault',
    'Microsoft.ManagedIdentity'
  ]) {
    await resources.providers.register(namespace)
  }
  await resources.resourceGroups.createOrUpdate('rg', { location: 'westeurope' })
}

/** What a client that fails throws, in the parts that the tests compare. */
export async function failureOf(
  call: Promise<unknown>
): Promise<{ statusCode: unknown; code: unknown; message: string }> {
  try {
    await call
  } catch (error) {
    const { statusCode, code, message } = error as { statusCode?: number; code?: string; message: string }
    return { statusCode, code, message }
  }
  throw new Error('the call succeeded')
}

export async function listAll<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

/** A port that nobody has at the moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Waits until `condition` gives a value that is not false. */
export async function eventually<T>(condition: () => Promise<T | false>, timeoutMs = 10_000): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const value = await condition()
    if (value !== false) return value
    if (Date.now() > deadline) throw new Error('what was waited for did not happen')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
