import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { isJsonObject } from '../base/json.js'
import { writeTextAtomically } from '../image/index.js'

/** All that a client needs to use a running emulator; holds the operator's secret. */
export interface EmulatorEnvironment {
  readonly version: 1
  readonly pid: number
  /** `https://127.0.0.1:PORT`, Azure Resource Manager. */
  readonly armEndpoint: string
  /** Origin of Entra. */
  readonly authorityHost: string
  readonly tenantId: string
  readonly subscriptionId: string
  /** The operator: an application that owns the subscription. */
  readonly clientId: string
  readonly clientSecret: string
  readonly operatorObjectId: string
  /** PEM file of the throw-away root that every TLS listener ends in. */
  readonly caFile: string
  /** OCI layout directory that stands for every registry. */
  readonly imageLayout: string
  /** Reference, by tag, of the SKR sidecar in that layout. */
  readonly sidecarImage: string
  /** `http://127.0.0.1:PORT/v1`, an OpenAI-compatible provider that echoes. */
  readonly loopbackProvider: string
  /** SHA-256 of the simulated hardware's root certificate, in the place of AMD's. */
  readonly amdRootSha256: string
  /** did:x509 of who endorses the simulated utility VM. */
  readonly uvmIssuer: string
  /** How long new role assignments count for nothing. */
  readonly rbacDelaySeconds: number
  /** SHA-256 of the fault plan; empty if nothing goes wrong on purpose. */
  readonly faults: string
  /** UTC, ISO 8601. */
  readonly startedAt: string
}

const texts = [
  'armEndpoint',
  'authorityHost',
  'tenantId',
  'subscriptionId',
  'clientId',
  'clientSecret',
  'operatorObjectId',
  'caFile',
  'imageLayout',
  'sidecarImage',
  'loopbackProvider',
  'amdRootSha256',
  'uvmIssuer',
  'faults',
  'startedAt'
] as const satisfies readonly (keyof EmulatorEnvironment)[]

export function environmentFile(directory: string): string {
  return join(directory, 'emulator.json')
}

export async function writeEnvironment(directory: string, environment: EmulatorEnvironment): Promise<void> {
  const text = `${JSON.stringify(environment, null, 2)}\n`
  await writeTextAtomically(environmentFile(directory), text, { mode: 0o600, sync: false })
}

/** What the last emulator of this directory wrote; undefined if there was none. It need not run any more. */
export async function readEnvironment(directory: string): Promise<EmulatorEnvironment | undefined> {
  let value: unknown
  try {
    value = JSON.parse(await readFile(environmentFile(directory), 'utf8'))
  } catch {
    // Missing, or of another program: either way no emulator of ours can be found by it.
    return undefined
  }
  return isEnvironment(value) ? value : undefined
}

/** Whether this very emulator answers: another one on the same port, or another program, is not it. */
export async function isAlive(environment: EmulatorEnvironment, timeoutMs = 2000): Promise<boolean> {
  try {
    const ca = await readFile(environment.caFile, 'utf8')
    const health = await getJson(`${environment.armEndpoint}/emulator/health`, ca, timeoutMs)
    return isJsonObject(health) && health['pid'] === environment.pid && health['startedAt'] === environment.startedAt
  } catch {
    // No file, no connection, no JSON: nobody is there.
    return false
  }
}

/** GETs a JSON document of an emulated service. Rejects unless it is a 200 with JSON of at most 1 MiB. */
export function getJson(url: string, ca: string, timeoutMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { ca, timeout: timeoutMs, agent: false }, (response) => {
      readLimited(response)
        .then((body) => {
          if (response.statusCode !== 200) throw new Error(`the answer has status ${response.statusCode}`)
          resolve(JSON.parse(body) as unknown)
        })
        .catch(reject)
    })
    outgoing.once('timeout', () => outgoing.destroy(new Error('no answer in time')))
    outgoing.once('error', reject)
    outgoing.end()
  })
}

const maxAnswerBytes = 1024 * 1024

async function readLimited(response: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response) {
    length += chunk.length
    if (length > maxAnswerBytes) throw new Error('the answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function isEnvironment(value: unknown): value is EmulatorEnvironment {
  return (
    isJsonObject(value) &&
    value['version'] === 1 &&
    Number.isInteger(value['pid']) &&
    typeof value['rbacDelaySeconds'] === 'number' &&
    texts.every((name) => typeof value[name] === 'string')
  )
}
