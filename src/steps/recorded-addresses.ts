import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject, type Json } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import type { Origin } from '../plan/balancer.js'
import { stateOwner } from './state.js'

/** A deployment as its state directory has it: what it is called, and where callers are told to go. */
export interface RecordedAddresses {
  readonly name: string
  /** The plain one of each router, or the one with TLS if it has no other; the best first. */
  readonly origins: readonly Origin[]
}

/**
 * Reads what the last deployment published. No cloud is asked. Throws `balancer.no-addresses` where nothing was deployed
 * and `balancer.damaged` for a file that is not one of these.
 */
export async function recordedAddresses(directory: string): Promise<RecordedAddresses> {
  const owner = await stateOwner(directory)
  const file = join(directory, 'policy', 'addresses.json')
  const text = await readFile(file, 'utf8').catch(() => undefined)
  const origins = text === undefined ? [] : readOrigins(text, file)
  if (owner === undefined || origins.length === 0) {
    throw new UserError('config', 'balancer.no-addresses', `${directory} has no addresses of routers`, {
      why: 'a balancer stands in front of groups that serve, and none was deployed from here',
      next: ['confrouter up', 'use --state-dir of the deployment']
    })
  }
  return { name: owner.name, origins }
}

function readOrigins(text: string, file: string): readonly Origin[] {
  try {
    const document = JSON.parse(text) as Json
    const list = isJsonObject(document) ? document['addresses'] : undefined
    if (!Array.isArray(list)) throw new TypeError('it has no list of addresses')
    return (list as readonly Json[]).map(readOrigin)
  } catch (error) {
    throw new UserError('machine', 'balancer.damaged', `${file} is not a list of addresses`, {
      why: error instanceof Error ? error.message : undefined,
      next: ['confrouter up'],
      cause: error
    })
  }
}

function readOrigin(value: Json): Origin {
  const { endpoint, region } = isJsonObject(value) ? value : {}
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) throw new TypeError('an entry has no endpoint')
  const { protocol, hostname, port } = new URL(endpoint)
  const scheme = protocol === 'https:' ? 'https' : protocol === 'http:' ? 'http' : undefined
  if (scheme === undefined) throw new TypeError(`${endpoint} is no address of a router`)
  return {
    host: hostname,
    port: port === '' ? (scheme === 'https' ? 443 : 80) : Number(port),
    scheme,
    region: typeof region === 'string' ? region : undefined
  }
}
