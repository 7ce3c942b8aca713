import { parseOciDigest, parseSha256Hex } from '../base/digest.js'
import { checkFallbacks, checkLimits, checkMetrics, checkTls } from './check-router.js'
import type { ApiKeySource, Config, ProviderConfig } from './config.js'
import type { ConfigProblem, Origin } from './config-error.js'
import type { Merged } from './merge.js'
import { deriveNames } from './names.js'
import { isConfigPath, variableOf } from './paths.js'
import { isPrivateHost } from './private-host.js'
import { fillRouter } from './resolve-router.js'
import { builtInDefaults, builtInProviders, type RawConfig } from './schema.js'

/** Reports a problem of one path, unless a problem of that path is already known. */
export type Report = (path: string, message: string, expected?: string) => void

export interface Resolved {
  /** Meaningless when there are problems. */
  readonly config: Config
  readonly problems: readonly ConfigProblem[]
}

/**
 * Fills in what is absent and checks what single values cannot show: required values, and values
 * that do not go together.
 *
 * @param known problems of single values: nothing is reported twice, and no value that was given
 *   but wrong is called missing.
 * @param placeFor where something absent would be written
 */
export function resolveConfig(
  merged: Merged,
  known: readonly ConfigProblem[],
  placeFor: (path: readonly string[]) => Origin
): Resolved {
  const problems: ConfigProblem[] = []
  const report: Report = (path, message, expected) => {
    if ([...known, ...problems].some((problem) => concerns(problem, path))) return
    problems.push({ ...(merged.origins[path] ?? placeFor(path.split('.'))), path, message, expected })
  }
  // What a cloud needs, for example, cannot be said of a cloud that is misspelt.
  const reportIfRight = (path: string): Report =>
    known.some((problem) => concerns(problem, path)) ? () => undefined : report
  const reportForCloud = reportIfRight('cloud')
  const config = fill(merged.raw, reportForCloud)
  checkImage(merged.raw, config, report)
  checkAlternatives(merged.raw, report)
  checkGroup(config, report)
  checkRegions(config, report)
  checkAccess(config, report)
  checkProviders(config.providers, report)
  checkTls(merged.raw, report)
  checkMetrics(config, reportIfRight('access'))
  checkLimits(config, report)
  checkFallbacks(config, reportIfRight('providers'))
  return { config, problems }
}

function fill(raw: RawConfig, report: Report): Config {
  const cloud = raw.cloud ?? builtInDefaults.cloud
  const name = raw.name ?? builtInDefaults.name
  const required = (path: string, value: string | undefined, expected: string): string => {
    if (value === undefined)
      report(path, `${path} is missing, which cloud ${cloud} needs: expected ${expected}`, expected)
    return value ?? ''
  }
  const subscription = required('subscription', raw.subscription, 'the id of an Azure subscription')
  const names = deriveNames(name, subscription, raw.resourceGroup)
  const sovereign = cloud === 'azure-usgov' || cloud === 'azure-china'
  const providers = Object.entries(raw.providers ?? {}).map(([id, provider]) => [id, fillProvider(provider)] as const)
  const ownsKey = providers.some(([, provider]) => provider.apiKey !== undefined)
  const mode = raw.access?.mode ?? builtInDefaults.accessMode
  const defaultLimit = mode === 'open' && ownsKey ? builtInDefaults.openRateLimitPerMinute : undefined
  const digest = raw.image?.digest
  const endpoint = raw.attestation?.endpoint

  const location =
    raw.location ?? (sovereign ? required('location', undefined, 'a region of this cloud') : builtInDefaults.location)

  return {
    name,
    cloud,
    subscription,
    ...present({ tenant: raw.tenant }),
    location,
    resourceGroup: names.resourceGroup,
    image: {
      repository: required('image.repository', raw.image?.repository, 'an image repository with its registry'),
      builder: raw.image?.builder ?? builtInDefaults.builder,
      ...baseOf(raw, cloud),
      ...present({ digest: digest === undefined ? undefined : parseOciDigest(digest, 'image.digest') }),
      ...present({ tag: raw.image?.tag })
    },
    attestation:
      endpoint === undefined
        ? { name: raw.attestation?.name ?? names.attestation }
        : { endpoint: withoutTrailingSlash(endpoint) },
    keyVault: {
      name: raw.keyVault?.name ?? names.keyVault,
      retentionDays: raw.keyVault?.retentionDays ?? builtInDefaults.retentionDays,
      purgeProtection: raw.keyVault?.purgeProtection ?? builtInDefaults.purgeProtection
    },
    identity: { name: raw.identity?.name ?? names.identity },
    key: { name: raw.key?.name ?? builtInDefaults.keyName, size: raw.key?.size ?? builtInDefaults.keySize },
    containerGroup: {
      name: raw.containerGroup?.name ?? names.containerGroup,
      cpu: raw.containerGroup?.cpu ?? builtInDefaults.groupCpu,
      memoryGb: raw.containerGroup?.memoryGb ?? builtInDefaults.groupMemoryGb,
      port: raw.containerGroup?.port ?? builtInDefaults.groupPort,
      replicas: raw.containerGroup?.replicas ?? builtInDefaults.replicas,
      regions: raw.containerGroup?.regions ?? [location],
      ...present({ dnsLabel: raw.containerGroup?.dnsLabel })
    },
    sidecar: {
      image: raw.sidecar?.image ?? builtInDefaults.sidecarImage,
      port: raw.sidecar?.port ?? builtInDefaults.sidecarPort,
      cpu: raw.sidecar?.cpu ?? builtInDefaults.sidecarCpu,
      memoryGb: raw.sidecar?.memoryGb ?? builtInDefaults.sidecarMemoryGb
    },
    policy: { engine: raw.policy?.engine ?? builtInDefaults.policyEngine },
    access: {
      mode,
      tokensSha256: (raw.access?.tokensSha256 ?? []).map((token) => parseSha256Hex(token, 'access.tokensSha256')),
      ...present({ rateLimitPerMinute: raw.access?.rateLimitPerMinute ?? defaultLimit })
    },
    providers: Object.fromEntries(providers),
    router: fillRouter(raw.router, mode),
    upgrade: {
      strategy: raw.upgrade?.strategy ?? builtInDefaults.upgradeStrategy,
      drainSeconds: raw.upgrade?.drainSeconds ?? builtInDefaults.upgradeDrainSeconds
    },
    smoke: present({ model: raw.smoke?.model }),
    encryption: raw.encryption ?? builtInDefaults.encryption,
    operator: { role: raw.operator?.role ?? builtInDefaults.operatorRole },
    emulator: present({ port: raw.emulator?.port })
  }
}

function fillProvider(raw: NonNullable<RawConfig['providers']>[string]): ProviderConfig {
  return present({
    baseUrl: raw.baseUrl === undefined ? undefined : withoutTrailingSlash(raw.baseUrl),
    syncUrl: raw.syncUrl === undefined ? undefined : withoutTrailingSlash(raw.syncUrl),
    auth: raw.auth,
    apiKey: apiKeySource(raw.apiKey),
    accountAccess: raw.accountAccess,
    allowPrivate: raw.allowPrivate,
    default: raw.default
  })
}

function apiKeySource(
  raw: { env?: string | undefined; file?: string | undefined } | undefined
): ApiKeySource | undefined {
  if (raw?.env !== undefined) return { env: raw.env }
  return raw?.file === undefined ? undefined : { file: raw.file }
}

/** On loopback an image has no base: the emulator lends its own Node, and nothing is fetched. */
function baseOf({ image }: RawConfig, cloud: Config['cloud']): Pick<Config['image'], 'base' | 'baseFrom'> {
  if (cloud === 'local' || image?.builder !== 'native' || image.digest !== undefined) return {}
  return { base: image.base ?? builtInDefaults.imageBase, ...present({ baseFrom: image.baseFrom }) }
}

function checkImage({ image: raw }: RawConfig, { cloud, image }: Config, report: Report): void {
  if (cloud === 'local' || image.builder === 'native' || image.digest !== undefined) return
  for (const member of ['base', 'baseFrom'] as const) {
    if (raw?.[member] === undefined) continue
    const expected = 'image.builder: native'
    report(
      `image.${member}`,
      `image.${member} is set, and ${image.builder} takes the base that the Dockerfile names, expected ${expected}`,
      expected
    )
  }
}

/** Two alternatives in one layer; between layers the stronger one has already won. */
function checkAlternatives(raw: RawConfig, report: Report): void {
  const { attestation } = raw
  if (attestation?.name !== undefined && attestation.endpoint !== undefined) {
    const expected = 'name (to create one) or endpoint (to use one)'
    report('attestation.endpoint', `attestation has a name and an endpoint, expected one: ${expected}`, expected)
  }
  for (const [id, { apiKey }] of Object.entries(raw.providers ?? {})) {
    if (apiKey === undefined || (apiKey.env === undefined) !== (apiKey.file === undefined)) continue
    const path = `providers.${id}.apiKey`
    const both = apiKey.env !== undefined
    const expected = 'either { env: NAME } or { file: path }'
    report(
      both ? `${path}.file` : path,
      `${path} has ${both ? 'two sources' : 'no source'}, expected ${expected}`,
      expected
    )
  }
}

/** Limits of one confidential container group. */
function checkGroup({ containerGroup, sidecar, router }: Config, report: Report): void {
  const ports = [
    ['containerGroup.port', containerGroup.port],
    ['sidecar.port', sidecar.port],
    ['router.tls.port', router.tls?.port]
  ] as const
  for (const [index, [path, port]] of ports.entries()) {
    const other = ports.slice(0, index).find(([, earlier]) => earlier === port)
    if (other === undefined) continue
    report(
      path,
      `${path} and ${other[0]} are both ${port}, expected two ports, since containers of a group share one address`
    )
  }
  const cpu = containerGroup.cpu + sidecar.cpu
  if (cpu > 31)
    report('containerGroup.cpu', `containerGroup.cpu and sidecar.cpu are ${cpu} together, expected at most 31`)
  const memoryGb = containerGroup.memoryGb + sidecar.memoryGb
  if (memoryGb > 180) {
    report(
      'containerGroup.memoryGb',
      `containerGroup.memoryGb and sidecar.memoryGb are ${memoryGb} together, expected at most 180`
    )
  }
}

/** `-` and the first 8 characters of the host data, which the groups of an upgrade have at the end of their names. */
const generationEnd = 9
const longestGroupName = 63

/**
 * Groups outside of the first region have its name in theirs. A name that had to be cut for it could be that of another
 * group, so there has to be room for all of it.
 */
function checkRegions({ containerGroup }: Config, report: Report): void {
  const { name, regions, replicas } = containerGroup
  const path = 'containerGroup.regions'
  const twice = regions.find((region, index) => regions.indexOf(region) !== index)
  if (twice !== undefined) {
    report(path, `${path} has ${twice} twice, expected each region once; for more groups in each, set replicas`)
  }
  if (regions.length < 2) return
  const longest = regions.toSorted((a, b) => b.length - a.length)[0] ?? ''
  const end = `-${longest}${replicas > 1 ? `-${replicas}` : ''}`
  const room = longestGroupName - generationEnd - end.length
  if (name.length <= room) return
  report(
    'containerGroup.name',
    `containerGroup.name is ${JSON.stringify(name)}, ${name.length} characters, expected at most ${room}, so that NAME-12345678${end} has no more than ${longestGroupName}`
  )
}

/** A token list that nothing reads would look like protection. */
function checkAccess({ access }: Config, report: Report): void {
  const count = access.tokensSha256.length
  if (access.mode === 'open' && count > 0) {
    const expected = 'mode token, or no tokens'
    report(
      'access.tokensSha256',
      `access.tokensSha256 has no effect while access.mode is open, expected ${expected}`,
      expected
    )
  }
  if (access.mode === 'token' && count === 0) {
    const expected = 'the SHA-256 of at least one token'
    report(
      'access.tokensSha256',
      `access.tokensSha256 is missing, which access.mode token needs: expected ${expected}`,
      expected
    )
  }
}

function checkProviders(providers: Config['providers'], report: Report): void {
  const builtIn: readonly string[] = builtInProviders
  let defaultProvider: string | undefined
  for (const [id, provider] of Object.entries(providers)) {
    const path = `providers.${id}`
    if (provider.baseUrl === undefined && !builtIn.includes(id)) {
      report(
        `${path}.baseUrl`,
        `${path}.baseUrl is missing: expected the URL of the API, or a built-in provider: ${builtIn.join(', ')}`,
        'the URL of the API'
      )
    }
    for (const member of ['baseUrl', 'syncUrl'] as const) checkPublicUrl(`${path}.${member}`, provider, member, report)
    if (provider.auth === 'none' && provider.apiKey !== undefined) {
      report(`${path}.apiKey`, `${path}.apiKey has no effect while auth is none, expected one of the two`)
    }
    if (provider.default !== true) continue
    if (defaultProvider !== undefined) {
      report(
        `${path}.default`,
        `${path}.default is true, and so is that of ${defaultProvider}, expected one default provider`
      )
    }
    defaultProvider ??= id
  }
}

function checkPublicUrl(path: string, provider: ProviderConfig, member: 'baseUrl' | 'syncUrl', report: Report): void {
  const text = provider[member]
  if (text === undefined || provider.allowPrivate === true) return
  const url = new URL(text)
  const expected = url.protocol === 'http:' ? 'https' : isPrivateHost(url) ? 'a public address' : undefined
  if (expected === undefined) return
  report(
    path,
    `${path} is ${JSON.stringify(text)}, expected ${expected}, or allowPrivate: true for an API that is not public`,
    expected === 'https' ? 'an https URL' : expected
  )
}

/** True when the problem is one of this path, of what contains it or is in it, or of a misspelling of it. */
function concerns({ path: known, suggestion }: ConfigProblem, path: string): boolean {
  if (known === path || known.startsWith(`${path}.`) || path.startsWith(`${known}.`) || known.startsWith(`${path}[`)) {
    return true
  }
  if (suggestion === undefined) return false
  const meant = known.slice(0, known.lastIndexOf('.') + 1) + suggestion
  return meant === path || path.startsWith(`${meant}.`) || (isConfigPath(path) && suggestion === variableOf(path))
}

function withoutTrailingSlash(url: string): string {
  return url.replace(/\/+$/, '')
}

/** Without the members that are undefined, so that a resolved value has no empty keys. */
function present<T extends object>(members: T): T {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as T
}
