import { parseSha256Hex, type Sha256Hex } from '../base/digest.js'
import { isThumbprint } from '../seal/ec-key.js'
import { type ExpectedBundle, isDeploymentName } from '../seal/signed-secrets.js'
import { parseFallbacks } from './fallbacks.js'
import { parseProviders, type Providers } from './providers.js'

/** Everything that the environment decides, checked (docs/wire-format.md, environment of the router). */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly sidecarUrl: string
  /** Host names with an optional port, which is what the sidecar wants. */
  readonly maaHost: string
  readonly vaultHost: string
  /** `name` or `name/version` of the key in the vault. */
  readonly keyName: string
  readonly keyRefreshMs: number
  /** Port of the listener with a TLS key made in here, beside the plain one. */
  readonly tlsPort: number | undefined
  /** Processes that serve; 1 is this one. */
  readonly workers: number
  readonly encryption: 'optional' | 'required'
  readonly access: Access
  readonly providers: Providers
  /** `provider:model` to the names of models that are tried when it fails. */
  readonly fallbacks: ReadonlyMap<string, readonly string[]>
  /** How often a call that failed for the moment is sent to its last destination again. */
  readonly retries: number
  readonly metrics: 'open' | 'token' | 'off'
  readonly sealedSecrets: string | undefined
  /** A file with the sealed secrets, which is read again when it changes. */
  readonly secretsFile: string | undefined
  /** Who has to have signed the sealed secrets, and for which deployment; both are measured. */
  readonly expectedSecrets: ExpectedBundle | undefined
  /** Provider name to key, for keys that stand in the environment in clear. */
  readonly clearKeys: ReadonlyMap<string, string>
  readonly simulated: boolean
  readonly securityContextDirectory: string | undefined
  readonly limits: Limits
}

export type Access =
  { readonly mode: 'open' } | { readonly mode: 'token'; readonly tokenHashes: readonly [Sha256Hex, ...Sha256Hex[]] }

export interface Limits {
  /** Of a body that is read whole, and of one frame of it where it is sealed. */
  readonly bodyBytes: number
  /** Of a body that is passed on as it comes. */
  readonly uploadBytes: number
  readonly concurrentCalls: number
  /** At the same time, of one caller. */
  readonly callsPerCaller: number
  /** Bodies and sealed answers held in memory, of all calls together. */
  readonly bufferedBytes: number
  /** Between two pieces of a request's body. */
  readonly requestIdleMs: number
  /** From the request's last byte to the upstream's status line. */
  readonly firstByteMs: number
  /** Between two chunks, and for a caller that does not read. */
  readonly idleMs: number
  /** Calls that use the router's provider keys, for each caller. */
  readonly callsPerMinute: number
  /** All calls of the provider API, for each address, whoever's key they use. */
  readonly allCallsPerMinute: number
  readonly evidencePerMinute: number
  /** Longest time that a provider may ask to be left alone before a call is sent again. */
  readonly retryMs: number
  /** How far the time stamp of a sealed request may be from this clock. */
  readonly replayMs: number
  readonly shutdownMs: number
}

export type Environment = Readonly<Record<string, string | undefined>>

/** All problems at once; each names its variable and none quotes a secret. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'

  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'))
  }
}

/**
 * What decides who may call and where prompts go. The policies of container groups allow every variable to be left
 * out, and whoever starts the group may do so: then an absent one must not mean its default, which is the open one.
 */
const decisions = ['ACCESS_MODE', 'ACCESS_TOKENS', 'RATE_LIMIT_PER_MINUTE', 'ENCRYPTION', 'CONFROUTER_PROVIDERS']

/**
 * Reads the environment. Variables that are empty count as unset, because templates set variables
 * that they have no value for. Throws a `SettingsError`.
 */
export function parseSettings(environment: Environment): Settings {
  const env = new Reader(environment)
  for (const name of decisions) env.requirePresence(name)
  const access = readAccess(env)
  const providers = env.read('CONFROUTER_PROVIDERS', parseProviders, undefined) ?? parseProviders(undefined)
  const settings: Settings = {
    host: env.read('HOST', parseHost, '0.0.0.0'),
    port: env.read('PORT', number(0, 65535), 8080),
    sidecarUrl: env.read('SKR_URL', parseLoopbackUrl, 'http://127.0.0.1:8081'),
    maaHost: env.read('MAA_ENDPOINT', parseEndpoint),
    vaultHost: env.read('AKV_ENDPOINT', parseEndpoint),
    keyName: env.read('KID', parseKeyName),
    keyRefreshMs: env.read('KEY_REFRESH_SECONDS', number(1, 86_400), 600) * 1000,
    tlsPort: env.read('CONFROUTER_TLS_PORT', number(0, 65535), undefined),
    workers: env.read('CONFROUTER_WORKERS', number(1, 64), 1),
    encryption: env.read('ENCRYPTION', oneOf('optional', 'required'), 'optional'),
    access,
    providers,
    fallbacks: env.read('CONFROUTER_FALLBACKS', (text) => parseFallbacks(text, providers), new Map()),
    retries: env.read('CONFROUTER_RETRIES', number(0, 5), 1),
    metrics: env.read('CONFROUTER_METRICS', oneOf('open', 'token', 'off'), access.mode),
    sealedSecrets: env.read('CONFROUTER_SECRETS', parseBundle, undefined),
    secretsFile: env.read('CONFROUTER_SECRETS_FILE', parseAbsolutePath, undefined),
    expectedSecrets: readExpectedSecrets(env),
    clearKeys: readClearKeys(env),
    simulated: env.read('CONFROUTER_SIMULATED', oneOf('true', 'false'), 'false') === 'true',
    securityContextDirectory: env.read('UVM_SECURITY_CONTEXT_DIR', parseAbsolutePath, undefined),
    limits: readLimits(env)
  }
  if (settings.tlsPort !== undefined && settings.tlsPort !== 0 && settings.tlsPort === settings.port) {
    env.problem('CONFROUTER_TLS_PORT must not be PORT')
  }
  if (settings.sealedSecrets !== undefined && settings.secretsFile !== undefined) {
    env.problem('CONFROUTER_SECRETS and CONFROUTER_SECRETS_FILE must not both be set')
  }
  if ((settings.sealedSecrets ?? settings.secretsFile) !== undefined && settings.expectedSecrets === undefined) {
    const variable = settings.sealedSecrets === undefined ? 'CONFROUTER_SECRETS_FILE' : 'CONFROUTER_SECRETS'
    // A policy allows a variable to be left out, so a missing signer must not mean that anybody may sign.
    env.problem(`${variable} needs CONFROUTER_SECRETS_SIGNER and CONFROUTER_DEPLOYMENT, which say whose it has to be`)
  }
  if (settings.metrics === 'token' && access.mode === 'open') {
    env.problem('CONFROUTER_METRICS is "token", so there must be ACCESS_TOKENS')
  }
  env.finish()
  return settings
}

/** Reads variables one by one and remembers what was wrong, so that one start shows every problem. */
class Reader {
  readonly #environment: Environment
  readonly #problems: string[] = []
  readonly #known = new Set<string>()

  constructor(environment: Environment) {
    this.#environment = environment
  }

  /** `parse` throws an error whose message goes after the variable's name. */
  read<Value>(name: string, parse: (text: string) => Value): Value
  read<Value, Default>(name: string, parse: (text: string) => Value, unset: Default): Value | Default
  read<Value>(name: string, parse: (text: string) => Value, ...unset: [] | [Value]): Value {
    this.#known.add(name)
    const text = this.#environment[name]
    if (text !== undefined && text !== '') {
      try {
        return parse(text)
      } catch (error) {
        this.problem(`${name} ${error instanceof Error ? error.message : 'is malformed'}`)
      }
    } else if (unset.length === 1) {
      return unset[0]
    } else {
      this.problem(`${name} must be set`)
    }
    // Never used: `finish` throws when there is a problem.
    return unset[0] as Value
  }

  /** Empty is a value here: it is the default, and somebody wrote it down. */
  requirePresence(name: string): void {
    if (this.#environment[name] === undefined) this.problem(`${name} is left out: set it, empty for its default`)
  }

  problem(text: string): void {
    this.#problems.push(text)
  }

  finish(): void {
    for (const name of Object.keys(this.#environment)) {
      if (name.startsWith('CONFROUTER_') && !this.#known.has(name)) this.problem(`${name} is not a known variable`)
    }
    if (this.#problems.length > 0) throw new SettingsError(this.#problems)
  }
}

function readAccess(env: Reader): Access {
  const [first, ...others] = env.read('ACCESS_TOKENS', parseTokenHashes, []) ?? []
  const mode = env.read('ACCESS_MODE', oneOf('open', 'token'), first === undefined ? 'open' : 'token')
  if (mode === 'open') {
    // Tokens that nobody checks are a mistake in one of the two places, and the open one is worse.
    if (first !== undefined) env.problem('ACCESS_MODE is "open", so ACCESS_TOKENS must not be set')
    return { mode: 'open' }
  }
  if (first === undefined) {
    env.problem('ACCESS_TOKENS must be set when ACCESS_MODE is "token"')
    return { mode: 'open' }
  }
  return { mode: 'token', tokenHashes: [first, ...others] }
}

function readExpectedSecrets(env: Reader): ExpectedBundle | undefined {
  const signer = env.read('CONFROUTER_SECRETS_SIGNER', parseThumbprint, undefined)
  const deployment = env.read('CONFROUTER_DEPLOYMENT', parseDeploymentName, undefined)
  return signer === undefined || deployment === undefined ? undefined : { signer, deployment }
}

function readLimits(env: Reader): Limits {
  const bodyBytes = env.read('CONFROUTER_MAX_BODY_BYTES', number(1024, 1024 ** 3), 20 * 1024 ** 2)
  const bufferedBytes = env.read('CONFROUTER_MAX_BUFFERED_BYTES', number(1024, 9_999_999_999), 512 * 1024 ** 2)
  if (bufferedBytes < bodyBytes) {
    env.problem('CONFROUTER_MAX_BUFFERED_BYTES must not be less than CONFROUTER_MAX_BODY_BYTES')
  }
  const concurrentCalls = env.read('CONFROUTER_MAX_CONCURRENT_CALLS', number(1, 100_000), 2000)
  const tenth = Math.ceil(concurrentCalls / 10)
  return {
    bodyBytes,
    uploadBytes: env.read('CONFROUTER_MAX_UPLOAD_BYTES', number(1024, 9_999_999_999), 512 * 1024 ** 2),
    bufferedBytes,
    concurrentCalls,
    callsPerCaller: env.read('CONFROUTER_MAX_CALLS_PER_CALLER', number(1, 100_000), tenth),
    firstByteMs: env.read('CONFROUTER_FIRST_BYTE_SECONDS', number(1, 3600), 300) * 1000,
    idleMs: env.read('CONFROUTER_IDLE_SECONDS', number(1, 3600), 120) * 1000,
    requestIdleMs: env.read('CONFROUTER_REQUEST_IDLE_SECONDS', number(1, 3600), 30) * 1000,
    callsPerMinute: env.read('RATE_LIMIT_PER_MINUTE', number(1, 1_000_000), 60),
    allCallsPerMinute: env.read('CONFROUTER_CALLS_PER_MINUTE', number(1, 1_000_000), 600),
    evidencePerMinute: env.read('CONFROUTER_EVIDENCE_PER_MINUTE', number(1, 100_000), 60),
    retryMs: env.read('CONFROUTER_RETRY_SECONDS', number(0, 60), 2) * 1000,
    replayMs: env.read('CONFROUTER_REPLAY_SECONDS', number(1, 3600), 60) * 1000,
    shutdownMs: env.read('CONFROUTER_SHUTDOWN_SECONDS', number(0, 3600), 30) * 1000
  }
}

function readClearKeys(env: Reader): ReadonlyMap<string, string> {
  const keys = new Map<string, string>()
  for (const [variable, provider] of [
    ['OPENAI_API_KEY', 'openai'],
    ['OPENROUTER_API_KEY', 'openrouter'],
    ['FAL_KEY', 'fal']
  ] as const) {
    const key = env.read(variable, parseProviderKey, undefined)
    if (key !== undefined) keys.set(provider, key)
  }
  return keys
}

const number =
  (minimum: number, maximum: number) =>
  (text: string): number => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
    if (value >= minimum && value <= maximum) return value
    throw new TypeError(`must be a whole number from ${minimum} to ${maximum}, got ${quote(text)}`)
  }

const oneOf =
  <Choice extends string>(...choices: readonly Choice[]) =>
  (text: string): Choice => {
    const choice = choices.find((candidate) => candidate === text)
    if (choice !== undefined) return choice
    throw new TypeError(`must be one of ${choices.join(', ')}, got ${quote(text)}`)
  }

function parseHost(text: string): string {
  if (!/^[0-9A-Za-z.:-]{1,253}$/.test(text)) throw new TypeError(`must be an address to listen on, got ${quote(text)}`)
  return text
}

/** The released key comes over this connection in clear, so it must not leave the container group. */
function parseLoopbackUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const loopback = /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/
  if (url?.protocol !== 'http:' || !loopback.test(url.hostname) || url.pathname !== '/' || url.search || url.hash) {
    throw new TypeError(`must be an http URL of this host, as http://127.0.0.1:8081, got ${quote(text)}`)
  }
  return url.origin
}

/** Host, with or without `https://`; the sidecar puts `https://` before whatever it gets. */
function parseEndpoint(text: string): string {
  const host = text.replace(/^https:\/\//, '').replace(/\/$/, '')
  if (!/^[0-9A-Za-z](?:[0-9A-Za-z.-]{0,251}[0-9A-Za-z])?(:\d{1,5})?$/.test(host)) {
    throw new TypeError(`must be a host name, with or without https://, got ${quote(text)}`)
  }
  return host.toLowerCase()
}

function parseKeyName(text: string): string {
  if (!/^[0-9A-Za-z-]{1,127}(\/[0-9a-fA-F]{32})?$/.test(text)) {
    throw new TypeError(`must be the name of a key, or name/version, got ${quote(text)}`)
  }
  return text
}

function parseTokenHashes(text: string): readonly Sha256Hex[] {
  return text.split(',').map((item) => {
    try {
      return parseSha256Hex(item.trim(), 'entry')
    } catch {
      // Not quoted: whoever gets this wrong may well have put the token itself here.
      throw new TypeError('must be SHA-256 hashes of tokens, 64 lower-case hex characters each, between commas')
    }
  })
}

/** A JWE that nobody signed is told apart later, where /readyz can say so. */
function parseBundle(text: string): string {
  if (text.length > 128 * 1024 || !/^[\w-]+(?:\.[\w-]+){2}(?:\.[\w-]+\.[\w-]+)?$/.test(text)) {
    throw new TypeError('must be a signed bundle (a compact JWS), as `confrouter secrets` makes it')
  }
  return text
}

function parseThumbprint(text: string): string {
  if (!isThumbprint(text)) throw new TypeError(`must be an RFC 7638 SHA-256 thumbprint, got ${quote(text)}`)
  return text
}

function parseDeploymentName(text: string): string {
  if (!isDeploymentName(text)) throw new TypeError(`must be the name of a container group, got ${quote(text)}`)
  return text
}

function parseProviderKey(text: string): string {
  if (!/^[\x21-\x7e]{1,4096}$/.test(text)) throw new TypeError('must be visible ASCII characters only')
  return text
}

function parseAbsolutePath(text: string): string {
  if (!text.startsWith('/')) throw new TypeError(`must be an absolute path, got ${quote(text)}`)
  return text
}

const quote = (text: string): string => JSON.stringify(text.slice(0, 80))
