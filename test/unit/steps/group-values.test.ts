import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import type { Json, JsonObject } from '../../../src/base/json.js'
import { parseConfig, routerLimits, type RouterNumber, routerNumbers } from '../../../src/config/index.js'
import { fillTemplate } from '../../../src/plan/template.js'
import { generatePolicies } from '../../../src/policy/index.js'
import { parseSettings, type Settings, SettingsError } from '../../../src/router/settings.js'
import { groupValues } from '../../../src/steps/group-values.js'
import type { Run } from '../../../src/steps/run.js'

const template = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../templates/container-group.json'), 'utf8')
) as JsonObject
const minimal = `subscription: 11111111-2222-3333-4444-555555555555
image: { repository: ghcr.io/example/confrouter }
`

function filled(yaml: string): JsonObject {
  const { config } = parseConfig({ text: minimal + yaml, fileName: 'c', flags: {}, environment: {}, defaults: {} })
  const run = { config, listenAddress: '0.0.0.0', simulated: false } as unknown as Run
  const from = {
    identityId: '/identity',
    routerImage: 'router@sha256:1',
    sidecarImage: 'skr@sha256:2',
    attestUri: 'https://maa.example',
    vaultUri: 'https://vault.example/',
    secretsSigner: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs'
  }
  return fillTemplate(template, groupValues(run, from))
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the assertions check the shape
const group = (yaml: string): any => (filled(yaml)['resources'] as readonly Json[])[0]

interface Variable {
  readonly name: string
  readonly value: string
}

const variables = (yaml: string): readonly Variable[] =>
  group(yaml).properties.containers[0].properties.environmentVariables

/** What the router in the container reads, without its secrets. */
function settings(yaml: string): Settings {
  const environment = variables(yaml).map(({ name, value }) => [name, value] as const)
  return parseSettings(Object.fromEntries(environment.filter(([name]) => name !== 'CONFROUTER_SECRETS')))
}

/** YAML that sets one number of the router. */
const setting = (path: string, value: number): string =>
  path.startsWith('limits.') ? `router: { limits: { ${path.slice(7)}: ${value} } }` : `router: { ${path}: ${value} }`

const numbers: readonly (readonly [string, RouterNumber])[] = [
  ...Object.entries(routerNumbers),
  ...Object.entries(routerLimits).map(([key, number]) => [`limits.${key}`, number] as const)
]

/** Where the router's settings hold them, in which unit of theirs. */
const read: Readonly<Record<string, (settings: Settings) => number>> = {
  workers: (all) => all.workers,
  retries: (all) => all.retries,
  retrySeconds: ({ limits }) => limits.retryMs / 1000,
  replaySeconds: ({ limits }) => limits.replayMs / 1000,
  keyRefreshSeconds: (all) => all.keyRefreshMs / 1000,
  'limits.bodyBytes': ({ limits }) => limits.bodyBytes,
  'limits.uploadBytes': ({ limits }) => limits.uploadBytes,
  'limits.bufferedBytes': ({ limits }) => limits.bufferedBytes,
  'limits.concurrentCalls': ({ limits }) => limits.concurrentCalls,
  'limits.callsPerCaller': ({ limits }) => limits.callsPerCaller,
  'limits.callsPerMinute': ({ limits }) => limits.allCallsPerMinute,
  'limits.evidencePerMinute': ({ limits }) => limits.evidencePerMinute,
  'limits.firstByteSeconds': ({ limits }) => limits.firstByteMs / 1000,
  'limits.idleSeconds': ({ limits }) => limits.idleMs / 1000,
  'limits.requestIdleSeconds': ({ limits }) => limits.requestIdleMs / 1000,
  'limits.shutdownSeconds': ({ limits }) => limits.shutdownMs / 1000
}

describe('a configuration that says nothing about the router', () => {
  it('adds no variable and no port to the template', () => {
    const names = (template['resources'] as unknown as ReturnType<typeof group>[])[0].properties.containers[0]
      .properties.environmentVariables as readonly Variable[]
    expect(variables('').map(({ name }) => name)).toEqual(names.map(({ name }) => name))
    expect(group('').properties.ipAddress.ports).toEqual([{ port: 8080, protocol: 'TCP' }])
    expect(group('').properties.containers[0].properties.ports).toEqual([{ port: 8080, protocol: 'TCP' }])
  })

  it('is the same as one that says the defaults', () => {
    const defaults = numbers.flatMap(([path, { unset }]) => (unset === undefined ? [] : [[path, unset] as const]))
    for (const [path, value] of defaults) expect([path, filled(setting(path, value))]).toEqual([path, filled('')])
    expect(filled('router: { metrics: open, fallbacks: {}, limits: { callsPerCaller: 200 } }')).toEqual(filled(''))
  })

  it('gives the router the defaults that it has by itself', () => {
    const own = settings('')
    const wanted = numbers.map(([path, { unset }]) => [path, unset ?? own.limits.callsPerCaller])
    expect(numbers.map(([path]) => [path, read[path]?.(own)])).toEqual(wanted)
    expect([own.metrics, own.tlsPort, own.fallbacks.size]).toEqual(['open', undefined, 0])
  })
})

describe('every variable that the router reads', () => {
  /** Not for confrouter.yaml, and why. */
  const others = [
    // Set by the platform.
    'UVM_SECURITY_CONTEXT_DIR',
    // The deployment seals them; a group of ours has no volume with files.
    'OPENAI_API_KEY',
    'OPENROUTER_API_KEY',
    'FAL_KEY',
    'CONFROUTER_SECRETS_FILE'
  ]

  it('is in the template, can be configured, or has a reason', () => {
    const asked = new Set<string>()
    const environment = new Proxy(
      {},
      {
        get(_target, name) {
          asked.add(String(name))
          return undefined
        }
      }
    )
    expect(() => parseSettings(environment)).toThrow(SettingsError)
    const placed = new Set([
      ...variables('').map(({ name }) => name),
      ...numbers.map(([, { variable }]) => variable),
      ...['CONFROUTER_TLS_PORT', 'CONFROUTER_FALLBACKS', 'CONFROUTER_METRICS'],
      ...others
    ])
    expect([...asked].filter((name) => !placed.has(name))).toEqual([])
    expect([...placed].filter((name) => !asked.has(name))).toEqual([])
  })
})

describe('a number of the router', () => {
  const others = { 'limits.bufferedBytes': 'bodyBytes: 1024', 'limits.bodyBytes': 'bufferedBytes: 9999999999' }

  it.each(numbers)('%s reaches it within the range that it accepts, and not beyond', (path, { variable, min, max }) => {
    const other = path in others ? `, ${others[path as keyof typeof others]} ` : ''
    for (const value of [min, max]) {
      const yaml = setting(path, value).replace(/ \} \}$/, `${other} } }`)
      expect([value, read[path]?.(settings(yaml))]).toEqual([value, value])
    }
    for (const value of [min - 1, max + 1]) {
      const environment = Object.fromEntries(variables('').map((each) => [each.name, each.value]))
      const { CONFROUTER_SECRETS: _sealed, ...rest } = environment
      expect(() => parseSettings({ ...rest, [variable]: String(value) })).toThrow(SettingsError)
      expect(() => filled(setting(path, value))).toThrow(/the configuration in c has a problem/)
    }
  })
})

describe('the environment of the router', () => {
  const all = `access: { mode: token, tokensSha256: [${'ab'.repeat(32)}] }
providers:
  openai: { apiKey: { env: OPENAI_API_KEY } }
  mine: { baseUrl: "https://mine.example/v1", syncUrl: "https://sync.example", accountAccess: true, default: true }
  near: { baseUrl: "http://10.0.0.4/v1", allowPrivate: true, auth: api-key }
router:
  workers: 3
  tls: { port: 8443 }
  fallbacks: { "openai:gpt-4.1": ["mine:a", "near:b/c"], "mine:[a]": ["openai:gpt-4.1"] }
  retries: 2
  retrySeconds: 5
  metrics: off
  limits: { bodyBytes: 2048, concurrentCalls: 10 }
`

  it('has what is configured, after what the template names, in one order', () => {
    const names = variables(all).map(({ name }) => name)
    expect(names.slice(names.indexOf('CONFROUTER_SECRETS') + 1)).toEqual([
      'CONFROUTER_WORKERS',
      'CONFROUTER_RETRIES',
      'CONFROUTER_RETRY_SECONDS',
      'CONFROUTER_TLS_PORT',
      'CONFROUTER_FALLBACKS',
      'CONFROUTER_METRICS',
      'CONFROUTER_MAX_BODY_BYTES',
      'CONFROUTER_MAX_CONCURRENT_CALLS'
    ])
    expect(variables(all).every(({ value }) => typeof value === 'string')).toBe(true)
  })

  it('is understood by the router as it was meant', () => {
    const { providers, fallbacks, limits, ...others } = settings(all)
    expect(others).toMatchObject({ workers: 3, tlsPort: 8443, retries: 2, metrics: 'off', port: 8080 })
    expect([...fallbacks]).toEqual([
      ['mine:[a]', ['openai:gpt-4.1']],
      ['openai:gpt-4.1', ['mine:a', 'near:b/c']]
    ])
    expect(limits).toMatchObject({ bodyBytes: 2048, concurrentCalls: 10, callsPerCaller: 1, retryMs: 5000 })
    expect(providers.default.name).toBe('mine')
    expect(providers.enabled.get('mine')).toMatchObject({
      origin: 'https://mine.example',
      sync: { origin: 'https://sync.example', basePath: '' },
      accountAccess: true
    })
    expect(providers.enabled.get('near')).toMatchObject({ origin: 'http://10.0.0.4', allowPrivate: true })
  })

  it('is in the policy, each variable as the text that it is', () => {
    const facts = { config: { Cmd: ['/x'] }, layers: [sha256Hex('a layer')] }
    const images = new Map([
      ['router@sha256:1', facts],
      ['skr@sha256:2', facts]
    ])
    const [policy] = generatePolicies({
      template: filled(all),
      images: images,
      options: { platformIdentityRules: true, wildcardParameters: ['sealedSecrets'] }
    })
    for (const { name, value } of variables(all)) {
      if (name === 'CONFROUTER_SECRETS') continue
      const rule = { pattern: `${name}=${value}`, required: false, strategy: 'string' }
      expect(policy?.rego).toContain(JSON.stringify(rule))
    }
  })
})

describe('the ports of the group', () => {
  const ports = (yaml: string) => {
    const { containers, ipAddress } = group(yaml).properties
    const numbersOf = (list: readonly { port: number }[]) => list.map(({ port }) => port)
    return { container: numbersOf(containers[0].properties.ports), address: numbersOf(ipAddress.ports) }
  }

  it('are both of the router where it has TLS', () => {
    expect(ports('router: { tls: { port: 8443 } }')).toEqual({ container: [8080, 8443], address: [8080, 8443] })
  })

  it('leave the plain one out of the address where TLS is all that is wanted', () => {
    expect(ports('router: { tls: { port: 8443, only: true } }')).toEqual({ container: [8080, 8443], address: [8443] })
  })
})
