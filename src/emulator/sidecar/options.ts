import { utf8 } from '../../base/encoding.js'
import { isJsonObject, type JsonObject } from '../../base/json.js'

export type LogLevel = 'error' | 'warning' | 'info'

/** What the sidecar is told by its environment, under the names that the real one uses. */
export interface SidecarOptions {
  readonly port: number
  readonly logLevel: LogLevel
  /** Which identity of the group to use, when it has several. */
  readonly identityClientId: string | undefined
  /** Where to look for certificates when the TCB has changed; undefined means nowhere. */
  readonly certificateCache: { readonly type: string; readonly endpoint: string } | undefined
}

/**
 * Reads `Port`, `LogLevel` and `SkrSideCarArgs` (standard base64 of JSON; empty is fine). Throws a
 * `TypeError` that names the variable.
 */
export function parseSidecarOptions(environment: Readonly<Record<string, string | undefined>>): SidecarOptions {
  const args = parseArguments(environment['SkrSideCarArgs'] ?? '')
  const cache = member(args, 'certcache')
  const type = text(cache, 'endpoint_type')
  return {
    port: parsePort(environment['Port'] ?? ''),
    logLevel: parseLogLevel(environment['LogLevel'] ?? ''),
    identityClientId: text(member(args, 'identity'), 'client_id') || undefined,
    certificateCache: type === '' ? undefined : { type, endpoint: text(cache, 'endpoint') }
  }
}

function parsePort(value: string): number {
  if (value === '') return 8080
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN
  if (!(port <= 65_535)) throw new TypeError('Port must be a port number')
  return port
}

/** Other names are levels of the real sidecar below or above these three. */
function parseLogLevel(value: string): LogLevel {
  if (value === '' || value === 'warning' || value === 'warn') return 'warning'
  if (['info', 'debug', 'trace'].includes(value)) return 'info'
  if (['error', 'fatal', 'panic'].includes(value)) return 'error'
  throw new TypeError('LogLevel is not a log level')
}

function parseArguments(value: string): JsonObject {
  if (value === '') return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(utf8.decode(Buffer.from(value, 'base64')))
  } catch {
    throw new TypeError('SkrSideCarArgs is not base64 of JSON')
  }
  if (!isJsonObject(parsed)) throw new TypeError('SkrSideCarArgs is not a JSON object')
  return parsed
}

function member(object: JsonObject, name: string): JsonObject {
  const value = object[name] ?? {}
  if (!isJsonObject(value)) throw new TypeError(`SkrSideCarArgs.${name} is not an object`)
  return value
}

function text(object: JsonObject, name: string): string {
  const value = object[name] ?? ''
  if (typeof value !== 'string') throw new TypeError(`SkrSideCarArgs.${name} is not a text`)
  return value
}
