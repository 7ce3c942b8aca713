import { isIP } from 'node:net'
import { isJsonObject } from '../base/json.js'
import { isPrivateAddress } from './private-address.js'

const authSchemes = ['Bearer', 'Key', 'x-api-key', 'api-key', 'none'] as const
export type AuthScheme = (typeof authSchemes)[number]

export interface BaseUrl {
  readonly origin: string
  readonly basePath: string
}

/** One place to which prompts may go. The set of them is part of the measured environment. */
export interface Provider extends BaseUrl {
  readonly name: string
  /** Path of the base URL without a slash at its end; empty for the root. */
  readonly basePath: string
  /** Where synchronous calls go, if that is another place: fal has a host for them and one for its queue. */
  readonly sync: BaseUrl | undefined
  readonly auth: AuthScheme
  /** Whether the host may resolve to a loopback, private or link-local address. */
  readonly allowPrivate: boolean
  /**
   * Whether callers without a key of their own may use every path there with the router's key. What
   * an account holds (files, batches, stored answers) is then open to all of them.
   */
  readonly accountAccess: boolean
  /** Whether `/v1/…` means the same thing there; if not, it is reached by `/providers/{name}/` alone. */
  readonly openaiCompatible: boolean
  /**
   * Whether models there are named `organisation/model`. As the default provider it then gets names
   * whose first part is no provider of this router; elsewhere such a name is taken for a mistake.
   */
  readonly slashNames: boolean
}

export interface Providers {
  readonly enabled: ReadonlyMap<string, Provider>
  /** Where a model without a prefix goes. */
  readonly default: Provider
}

interface BuiltIn {
  readonly baseUrl: string
  readonly syncUrl?: string
  readonly auth: AuthScheme
  readonly openaiCompatible: boolean
  readonly accountAccess?: true
  readonly slashNames: boolean
}

const openaiLike = (baseUrl: string): BuiltIn => ({
  baseUrl,
  auth: 'Bearer',
  openaiCompatible: true,
  slashNames: false
})

/** Hosts of other people's models, which they name with the makers'. */
const reseller = (baseUrl: string): BuiltIn => ({ ...openaiLike(baseUrl), slashNames: true })

const builtIn: Readonly<Record<string, BuiltIn>> = {
  openai: openaiLike('https://api.openai.com/v1'),
  openrouter: reseller('https://openrouter.ai/api/v1'),
  fal: {
    baseUrl: 'https://queue.fal.run',
    syncUrl: 'https://fal.run',
    auth: 'Key',
    openaiCompatible: false,
    slashNames: true,
    // Its queue lists nothing: whoever does not know the id of a request cannot see it.
    accountAccess: true
  },
  anthropic: { ...openaiLike('https://api.anthropic.com/v1'), auth: 'x-api-key' },
  gemini: openaiLike('https://generativelanguage.googleapis.com/v1beta/openai'),
  groq: reseller('https://api.groq.com/openai/v1'),
  mistral: openaiLike('https://api.mistral.ai/v1'),
  deepseek: openaiLike('https://api.deepseek.com/v1'),
  together: reseller('https://api.together.xyz/v1'),
  qwen: openaiLike('https://dashscope-intl.aliyuncs.com/compatible-mode/v1')
}

/** What the manual procedure knows, for whoever sets no CONFROUTER_PROVIDERS. */
const withoutConfiguration = '{"openai":{"default":true},"openrouter":{},"fal":{}}'

/**
 * Reads CONFROUTER_PROVIDERS: name to `{"baseUrl","syncUrl","auth","accountAccess","allowPrivate","default"}`.
 * It decides which providers are enabled; a built-in one needs no member. The default is the one that says so,
 * else the first. Throws a `TypeError` with all that is wrong in it.
 */
export function parseProviders(text: string | undefined): Providers {
  let value: unknown
  try {
    value = JSON.parse(text ?? withoutConfiguration)
  } catch {
    throw new TypeError('is not JSON')
  }
  if (!isJsonObject(value)) throw new TypeError('must be a JSON object: provider name to its settings')
  const entries = Object.entries(value)
  const wrong: string[] = []
  const enabled = new Map<string, Provider>()
  const defaults: Provider[] = []
  for (const [name, settings] of entries) {
    try {
      const provider = parseProvider(name, settings)
      enabled.set(name, provider)
      if (isJsonObject(settings) && settings.default === true) defaults.push(provider)
    } catch (error) {
      wrong.push(`${JSON.stringify(name.slice(0, 40))} ${error instanceof Error ? error.message : 'is wrong'}`)
    }
  }
  if (entries.length === 0) wrong.push('must name at least one provider')
  if (defaults.length > 1) wrong.push('has more than one provider with "default": true')
  const [first] = enabled.values()
  const chosen = defaults[0] ?? first
  if (wrong.length > 0 || chosen === undefined) throw new TypeError(wrong.join('; '))
  return { enabled, default: chosen }
}

const members = ['baseUrl', 'syncUrl', 'auth', 'accountAccess', 'allowPrivate', 'default']

function parseProvider(name: string, settings: unknown): Provider {
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(name)) {
    throw new TypeError('is not a provider name (lower-case letters, digits and "-", at most 32)')
  }
  if (!isJsonObject(settings)) throw new TypeError('must have an object as its settings')
  const unknown = Object.keys(settings).filter((member) => !members.includes(member))
  if (unknown.length > 0) {
    throw new TypeError(`has the unknown member "${unknown.join('", "')}" (known: ${members.join(', ')})`)
  }
  const known = Object.hasOwn(builtIn, name) ? builtIn[name] : undefined
  // Another base URL has another host for synchronous calls, or none.
  const usualSyncUrl = settings.baseUrl === undefined ? known?.syncUrl : undefined
  const { syncUrl = usualSyncUrl } = settings
  const { baseUrl = known?.baseUrl, auth = known?.auth ?? 'Bearer', allowPrivate = false } = settings
  const { accountAccess = known?.accountAccess ?? false } = settings
  const scheme = authSchemes.find((candidate) => candidate === auth)
  if (scheme === undefined) throw new TypeError(`must have "auth" as one of ${authSchemes.join(', ')}`)
  if (typeof allowPrivate !== 'boolean' || typeof accountAccess !== 'boolean') {
    throw new TypeError('must have true or false as "accountAccess" and "allowPrivate"')
  }
  if (typeof (settings.default ?? false) !== 'boolean') throw new TypeError('must have true or false as "default"')
  if (typeof baseUrl !== 'string') throw new TypeError('is not built in, so it needs "baseUrl"')
  if (syncUrl !== undefined && typeof syncUrl !== 'string') throw new TypeError('must have a text as "syncUrl"')
  return {
    name,
    ...parseBaseUrl(baseUrl, allowPrivate, 'baseUrl'),
    sync: syncUrl === undefined ? undefined : parseBaseUrl(syncUrl, allowPrivate, 'syncUrl'),
    auth: scheme,
    allowPrivate,
    accountAccess,
    openaiCompatible: known?.openaiCompatible ?? true,
    slashNames: known?.slashNames ?? true
  }
}

function parseBaseUrl(text: string, allowPrivate: boolean, member: string): BaseUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['https:', 'http:'].includes(url.protocol)) throw new TypeError(`has no usable "${member}"`)
  if (url.username || url.password || url.search || url.hash) {
    throw new TypeError(`must have a "${member}" without user, query and fragment`)
  }
  if (url.protocol === 'http:' && !allowPrivate) {
    throw new TypeError(`must have an https "${member}", unless "allowPrivate" is true`)
  }
  // An address in the URL is never looked up, so the check at connection time would not see it.
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && isPrivateAddress(host) && !allowPrivate) {
    throw new TypeError('has a private address as its host, which needs "allowPrivate": true')
  }
  return { origin: url.origin, basePath: url.pathname.replace(/\/+$/, '') }
}
