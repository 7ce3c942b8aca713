import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { ConfigError } from '../../../src/config/config-error.js'
import { draftConfig, parseConfig, type ConfigSources } from '../../../src/config/parse-config.js'

const subscription = '11111111-2222-3333-4444-555555555555'
const minimal = `subscription: ${subscription}\nimage: { repository: ghcr.io/example/confrouter }\n`

function parse(text: string | undefined, sources: Partial<ConfigSources> = {}) {
  return parseConfig({ text, fileName: 'confrouter.yaml', flags: {}, environment: {}, defaults: {}, ...sources })
}

function problemsOf(text: string | undefined, sources: Partial<ConfigSources> = {}) {
  try {
    parse(text, sources)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  throw new Error('expected a ConfigError')
}

function messagesOf(text: string | undefined, sources: Partial<ConfigSources> = {}) {
  return problemsOf(text, sources).map(({ place, message }) => `${place}: ${message}`)
}

/** A router of which nothing is configured. */
const usualRouter = {
  workers: 1,
  retries: 1,
  retrySeconds: 2,
  replaySeconds: 60,
  keyRefreshSeconds: 600,
  fallbacks: {},
  metrics: 'open',
  limits: {
    bodyBytes: 20_971_520,
    uploadBytes: 536_870_912,
    bufferedBytes: 536_870_912,
    concurrentCalls: 2000,
    callsPerCaller: 200,
    callsPerMinute: 600,
    evidencePerMinute: 60,
    firstByteSeconds: 300,
    idleSeconds: 120,
    requestIdleSeconds: 30,
    shutdownSeconds: 30
  }
}

describe('a resolved configuration', () => {
  it('fills in every name and every default', () => {
    const { config } = parse(minimal)
    expect(config).toEqual({
      name: 'confrouter',
      cloud: 'azure',
      subscription,
      location: 'eastus',
      resourceGroup: 'confrouter',
      image: { repository: 'ghcr.io/example/confrouter', builder: 'docker' },
      attestation: { name: expect.stringMatching(/^confrouter[0-9a-f]{6}$/) },
      keyVault: {
        name: expect.stringMatching(/^confrouter-[0-9a-f]{6}$/),
        retentionDays: 90,
        purgeProtection: true
      },
      identity: { name: 'confrouter-identity' },
      key: { name: 'default', size: 2048 },
      containerGroup: { name: 'confrouter', cpu: 2, memoryGb: 4, port: 8080, replicas: 1, regions: ['eastus'] },
      sidecar: { image: 'mcr.microsoft.com/aci/skr:2.12', port: 8081, cpu: 1, memoryGb: 1 },
      policy: { engine: 'auto' },
      access: { mode: 'open', tokensSha256: [] },
      providers: {},
      router: usualRouter,
      smoke: {},
      upgrade: { strategy: 'blue-green', drainSeconds: 90 },
      encryption: 'optional',
      operator: { role: 'administrator' },
      emulator: {}
    })
  })

  it('keeps what the file says', () => {
    const digest = `sha256:${'ab'.repeat(32)}`
    const token = 'cd'.repeat(32)
    const { config } = parse(`
name: my-router
cloud: azure-usgov
subscription: ${subscription}
tenant: example.onmicrosoft.com
location: usgovvirginia
resourceGroup: confidential-router
image: { repository: ghcr.io/example/router, builder: native, digest: "${digest}", tag: v1 }
attestation: { endpoint: "https://sharedeus.eus.attest.azure.net/" }
keyVault: { name: my-vault, retentionDays: 7, purgeProtection: false }
identity: { name: cr-uami }
key: { name: release, size: 4096 }
containerGroup: { name: group-1, cpu: 1.5, memoryGb: 3, port: 80, dnsLabel: my-router }
sidecar: { image: "registry.example:5000/skr:1", port: 9000, cpu: 0.5, memoryGb: 0.5 }
policy: { engine: native }
access: { mode: token, tokensSha256: [${token}], rateLimitPerMinute: 5 }
providers:
  openai: { apiKey: { env: OPENAI_API_KEY }, default: true }
  fal: { apiKey: { file: keys/fal } }
  own: { baseUrl: "http://10.0.0.4/v1/", syncUrl: "http://10.0.0.5/", auth: none, allowPrivate: true, accountAccess: true }
router:
  workers: 4
  tls: { port: 8443, only: true }
  fallbacks: { "openai:gpt-4.1": ["own:a/b:c", "fal:d"], "own:x": ["openai:y"] }
  retries: 0
  metrics: off
  limits: { bodyBytes: 1024, concurrentCalls: 31 }
smoke: { model: "openai:gpt-4o-mini" }
upgrade: { strategy: replace, drainSeconds: 0 }
encryption: required
operator: { role: crypto-officer }
emulator: { port: 8443 }
`)
    expect(config).toEqual({
      name: 'my-router',
      cloud: 'azure-usgov',
      subscription,
      tenant: 'example.onmicrosoft.com',
      location: 'usgovvirginia',
      resourceGroup: 'confidential-router',
      image: { repository: 'ghcr.io/example/router', builder: 'native', digest, tag: 'v1' },
      attestation: { endpoint: 'https://sharedeus.eus.attest.azure.net' },
      keyVault: { name: 'my-vault', retentionDays: 7, purgeProtection: false },
      identity: { name: 'cr-uami' },
      key: { name: 'release', size: 4096 },
      containerGroup: {
        name: 'group-1',
        cpu: 1.5,
        memoryGb: 3,
        port: 80,
        dnsLabel: 'my-router',
        replicas: 1,
        regions: ['usgovvirginia']
      },
      sidecar: { image: 'registry.example:5000/skr:1', port: 9000, cpu: 0.5, memoryGb: 0.5 },
      policy: { engine: 'native' },
      access: { mode: 'token', tokensSha256: [token], rateLimitPerMinute: 5 },
      providers: {
        openai: { apiKey: { env: 'OPENAI_API_KEY' }, default: true },
        fal: { apiKey: { file: 'keys/fal' } },
        own: {
          baseUrl: 'http://10.0.0.4/v1',
          syncUrl: 'http://10.0.0.5',
          auth: 'none',
          allowPrivate: true,
          accountAccess: true
        }
      },
      router: {
        ...usualRouter,
        workers: 4,
        tls: { port: 8443, only: true },
        fallbacks: { 'openai:gpt-4.1': ['own:a/b:c', 'fal:d'], 'own:x': ['openai:y'] },
        retries: 0,
        metrics: 'off',
        limits: { ...usualRouter.limits, bodyBytes: 1024, concurrentCalls: 31, callsPerCaller: 4 }
      },
      smoke: { model: 'openai:gpt-4o-mini' },
      upgrade: { strategy: 'replace', drainSeconds: 0 },
      encryption: 'required',
      operator: { role: 'crypto-officer' },
      emulator: { port: 8443 }
    })
  })

  it('limits callers when anybody may spend a router-owned key', () => {
    const withKey = `${minimal}providers: { openai: { apiKey: { env: OPENAI_API_KEY } } }\n`
    expect(parse(withKey).config.access.rateLimitPerMinute).toBe(60)
    expect(parse(`${withKey}access: { rateLimitPerMinute: 5 }\n`).config.access.rateLimitPerMinute).toBe(5)
    expect(parse(`${minimal}providers: { openai: {} }\n`).config.access.rateLimitPerMinute).toBeUndefined()
  })

  it('lets those read /metrics who may use the router, unless it says who', () => {
    const token = `${minimal}access: { mode: token, tokensSha256: [${'ab'.repeat(32)}] }\n`
    expect(parse(token).config.router.metrics).toBe('token')
    expect(parse(`${token}router: { metrics: open }\n`).config.router.metrics).toBe('open')
  })

  it('has TLS where a port for it is given, beside the plain port unless it says otherwise', () => {
    expect(parse(`${minimal}router: { tls: { port: 8443 } }\n`).config.router.tls).toEqual({ port: 8443, only: false })
    expect(parse(`${minimal}router: { tls: }\n`).config.router.tls).toBeUndefined()
    const environment = { CONFROUTER_ROUTER_TLS_PORT: '9443', CONFROUTER_ROUTER_TLS_ONLY: 'true' }
    expect(parse(minimal, { environment }).config.router.tls).toEqual({ port: 9443, only: true })
  })

  it('keeps a provider that says nothing but its name', () => {
    expect(parse(`${minimal}providers: { openai: {}, fal: }\n`).config.providers).toEqual({ openai: {}, fal: {} })
  })

  it('takes a section whose lines are all commented out for absent', () => {
    expect(parse(`${minimal}providers:\n  # openai: {}\nkeyVault:\n`).config.providers).toEqual({})
  })

  it('needs no file when the other sources say enough', () => {
    const { config } = parse(undefined, {
      flags: { subscription },
      environment: { CONFROUTER_IMAGE_REPOSITORY: 'ghcr.io/example/confrouter' }
    })
    expect(config.subscription).toBe(subscription)
  })
})

describe('defaults of a cloud', () => {
  const local: ConfigSources['defaults'] = {
    local: {
      subscription,
      image: { builder: 'native', repository: 'confrouter.local/router' },
      containerGroup: { port: 18_080 },
      sidecar: { port: 18_081, image: 'confrouter.local/skr:1' },
      providers: { loopback: { baseUrl: 'http://127.0.0.1:9/v1', auth: 'none', allowPrivate: true, default: true } }
    }
  }

  it('make the local cloud complete without a file', () => {
    const { config } = parse(undefined, { flags: { cloud: 'local' }, defaults: local })
    expect(config.image).toEqual({ repository: 'confrouter.local/router', builder: 'native' })
    expect(config.containerGroup.port).toBe(18_080)
    expect(config.sidecar.port).toBe(18_081)
    expect(config.providers['loopback']?.default).toBe(true)
  })

  it('says first that there is no file, and names the way that needs none', () => {
    const failure = (sources: Partial<ConfigSources>) => {
      try {
        parse(undefined, sources)
      } catch (error) {
        return error as ConfigError
      }
      throw new Error('it should have thrown')
    }
    const missing = failure({})
    expect(missing.problem).toBe('there is no confrouter.yaml, and the configuration without it has 2 problems')
    expect(missing.next.join()).toMatch(/confrouter init .*confrouter up --local/)
    // A variable that is wrong is wrong with or without a file.
    const variable = failure({ flags: { cloud: 'local' }, environment: { CONFROUTER_KEY_SIZE: '1' }, defaults: local })
    expect([variable.problem, variable.next]).toEqual(['the configuration has a problem', []])
  })

  it('do not reach another cloud', () => {
    expect(parse(minimal, { defaults: local }).config.containerGroup.port).toBe(8080)
  })

  it('are weaker than the file, value by value', () => {
    const { config, origins } = parse('cloud: local\ncontainerGroup: { cpu: 1 }\nsidecar: { port: 7000 }\n', {
      defaults: local
    })
    expect(config.containerGroup).toMatchObject({ cpu: 1, port: 18_080 })
    expect(config.sidecar.port).toBe(7000)
    expect(origins['containerGroup.port']).toEqual({ source: 'default', place: 'default' })
  })

  it('give up the default provider when the file has one', () => {
    const { config } = parse('cloud: local\nproviders: { openai: { default: true } }\n', { defaults: local })
    expect(config.providers['openai']?.default).toBe(true)
    expect(config.providers['loopback']).toEqual({
      baseUrl: 'http://127.0.0.1:9/v1',
      auth: 'none',
      allowPrivate: true
    })
  })

  it('are refused as a bug when they are wrong themselves', () => {
    expect(() => parse(minimal, { defaults: { azure: { containerGroup: { port: 0 } } } })).toThrow(/a port from 1/)
  })
})

describe('a draft', () => {
  const draft = (text: string | undefined, flags: ConfigSources['flags'] = {}) =>
    draftConfig({ text, fileName: 'confrouter.yaml', flags, environment: {} })

  it('knows the cloud and the port of the emulator before there are defaults', () => {
    expect(draft(undefined, { cloud: 'local' })).toEqual({ cloud: 'local', emulator: {} })
    expect(draft('cloud: local\nemulator: { port: 8443 }\n')).toEqual({ cloud: 'local', emulator: { port: 8443 } })
    expect(draft(minimal)).toMatchObject({ cloud: 'azure' })
  })

  it('is refused when a value is wrong, or when something is missing on Azure', () => {
    expect(() => draft('cloud: local\nkey: { size: 1 }\n')).toThrow(ConfigError)
    expect(() => draft('cloud: local\nkey: [\n')).toThrow(ConfigError)
    expect(() => draft('cloud: azure\n')).toThrow(ConfigError)
  })
})

describe('precedence', () => {
  const text = `${minimal}location: westeurope\ncontainerGroup: { port: 1000 }\n`

  it('is flag, environment, file, default', () => {
    const environment = { CONFROUTER_LOCATION: 'northeurope', CONFROUTER_CONTAINER_GROUP_PORT: '2000' }
    const { config, origins } = parse(text, { environment, flags: { location: 'japaneast', 'key.size': '3072' } })
    expect(config.location).toBe('japaneast')
    expect(config.containerGroup.port).toBe(2000)
    expect(config.key.size).toBe(3072)
    expect(origins['location']).toEqual({ source: 'flag', place: '--location' })
    expect(origins['key.size']).toEqual({ source: 'flag', place: '--key-size' })
    expect(origins['containerGroup.port']).toEqual({ source: 'environment', place: 'CONFROUTER_CONTAINER_GROUP_PORT' })
    expect(origins['subscription']).toEqual({ source: 'file', place: 'confrouter.yaml:1:15', line: 1, column: 15 })
    expect(origins['cloud']).toEqual({ source: 'default', place: 'default' })
  })

  it('lets one alternative replace the other', () => {
    const { config, origins } = parse(`${minimal}attestation: { name: crmaa }\n`, {
      environment: { CONFROUTER_ATTESTATION_ENDPOINT: 'https://sharedeus.eus.attest.azure.net' }
    })
    expect(config.attestation).toEqual({ endpoint: 'https://sharedeus.eus.attest.azure.net' })
    expect(origins).not.toHaveProperty('attestation.name')
  })

  it('still reports a wrong value of the file that a flag overrides', () => {
    expect(messagesOf(`${minimal}location: West Europe\n`, { flags: { location: 'westeurope' } })).toEqual([
      expect.stringMatching(/^confrouter\.yaml:3:11: location is "West Europe", expected an Azure region/)
    ])
  })

  it('ignores flags that were not given and variables that are empty', () => {
    const { config } = parse(text, { flags: { location: undefined }, environment: { CONFROUTER_LOCATION: '' } })
    expect(config.location).toBe('westeurope')
  })
})

describe('variables', () => {
  it('are read as the kind of value that their path has', () => {
    const tokens = ['aa'.repeat(32), 'bb'.repeat(32)]
    const { config } = parse(minimal, {
      environment: {
        CONFROUTER_KEY_VAULT_PURGE_PROTECTION: 'false',
        CONFROUTER_CONTAINER_GROUP_MEMORY_GB: '3.5',
        CONFROUTER_ACCESS_MODE: 'token',
        CONFROUTER_ACCESS_TOKENS_SHA256: tokens.join(', ')
      }
    })
    expect(config.keyVault.purgeProtection).toBe(false)
    expect(config.containerGroup.memoryGb).toBe(3.5)
    expect(config.access.tokensSha256).toEqual(tokens)
  })

  it.each([
    ['CONFROUTER_CONTAINER_GROUP_PORT', '80a', 'containerGroup.port is "80a", expected a port from 1 to 65535'],
    ['CONFROUTER_CONTAINER_GROUP_PORT', '0x50', 'containerGroup.port is "0x50", expected a port from 1 to 65535'],
    ['CONFROUTER_KEY_VAULT_PURGE_PROTECTION', 'yes', 'keyVault.purgeProtection is "yes", expected true or false'],
    ['CONFROUTER_KEY_SIZE', '1024', 'key.size is 1024, expected one of 2048, 3072, 4096']
  ])('%s=%s is a problem that names the variable', (name, value, message) => {
    expect(messagesOf(minimal, { environment: { [name]: value } })).toEqual([`${name}: ${message}`])
  })

  it('of our prefix that nobody knows are problems with a suggestion', () => {
    const environment = { CONFROUTER_LOCATON: 'x', CONFROUTER_STAT_DIR: 'x', CONFROUTER_QQQQQQ: 'x', OTHER: 'x' }
    const problems = problemsOf(minimal, { environment, otherVariables: ['CONFROUTER_STATE_DIR'] })
    expect(problems.map(({ message, suggestion }) => [message, suggestion])).toEqual([
      ['unknown variable CONFROUTER_LOCATON, did you mean CONFROUTER_LOCATION?', 'CONFROUTER_LOCATION'],
      ['unknown variable CONFROUTER_QQQQQQ', undefined],
      ['unknown variable CONFROUTER_STAT_DIR, did you mean CONFROUTER_STATE_DIR?', 'CONFROUTER_STATE_DIR']
    ])
  })

  it.each([
    ['CONFROUTER_WORKERS', 'CONFROUTER_ROUTER_WORKERS'],
    ['CONFROUTER_TLS_PORT', 'CONFROUTER_ROUTER_TLS_PORT'],
    ['CONFROUTER_METRICS', 'CONFROUTER_ROUTER_METRICS'],
    ['CONFROUTER_MAX_BODY_BYTES', 'CONFROUTER_ROUTER_LIMITS_BODY_BYTES'],
    ['CONFROUTER_CALLS_PER_MINUTE', 'CONFROUTER_ROUTER_LIMITS_CALLS_PER_MINUTE']
  ])('of the router itself, such as %s, have another name here', (name, meant) => {
    expect(messagesOf(minimal, { environment: { [name]: '1' } })).toEqual([
      `${name}: unknown variable ${name}, did you mean ${meant}?`
    ])
  })

  it('that other parts of the program read are left alone', () => {
    const environment = { CONFROUTER_STATE_DIR: '/var/lib/confrouter' }
    expect(() => parse(minimal, { environment, otherVariables: ['CONFROUTER_STATE_DIR'] })).not.toThrow()
  })
})

describe('what the native builder starts from', () => {
  const image = (more: string) =>
    parse(`subscription: ${subscription}\nimage: { repository: ghcr.io/example/x, builder: native${more} }\n`).config
      .image

  it('is the base of the Dockerfile, or the one that is named', () => {
    const dockerfile = readFileSync(join(import.meta.dirname, '../../../Dockerfile'), 'utf8')
    expect(dockerfile.split('\n')).toContain(`FROM ${image('').base}`)
    const base = `docker.io/library/node@sha256:${'0'.repeat(64)}`
    expect(image(`, base: "${base}", baseFrom: ./node.tar`)).toMatchObject({ base, baseFrom: './node.tar' })
  })

  it('is nothing where nothing is built, or on loopback', () => {
    expect(image(`, digest: "sha256:${'0'.repeat(64)}"`)).not.toHaveProperty('base')
    const local = parse(`cloud: local\nsubscription: ${subscription}\nimage: { repository: a.b/x, builder: native }\n`)
    expect(local.config.image).not.toHaveProperty('base')
  })
})

describe('problems', () => {
  it('are all reported at once, in the order of the file, with place, path, value and expectation', () => {
    const problems = problemsOf(`name: My_Router
image:
  repository: ghcr.io/example/confrouter:latest
  bulder: docker
containerGroup: { port: 99999 }
keyVault: { retentionDays: 3 }
`)
    expect(problems).toEqual([
      expect.objectContaining({ place: 'confrouter.yaml:1:7', line: 1, column: 7, path: 'name', value: '"My_Router"' }),
      expect.objectContaining({ line: 3, column: 15, path: 'image.repository' }),
      expect.objectContaining({ line: 4, column: 3, path: 'image.bulder', suggestion: 'builder' }),
      expect.objectContaining({
        line: 5,
        column: 25,
        path: 'containerGroup.port',
        value: '99999',
        expected: 'a port from 1 to 65535',
        message: 'containerGroup.port is 99999, expected a port from 1 to 65535'
      }),
      expect.objectContaining({ line: 6, column: 28, path: 'keyVault.retentionDays' }),
      expect.objectContaining({ place: 'confrouter.yaml', path: 'subscription' })
    ])
  })

  it('are one error of the configuration with the code config.invalid', () => {
    const error = (() => {
      try {
        return parse('cloud: nowhere\nlocation: 5\n')
      } catch (caught) {
        return caught
      }
    })()
    expect(error).toBeInstanceOf(UserError)
    expect(error).toMatchObject({
      fault: 'config',
      code: 'config.invalid',
      exitCode: 3,
      problem: 'the configuration in confrouter.yaml has 2 problems',
      why: expect.stringContaining('confrouter.yaml:2:11: location is 5')
    })
  })

  it('tell whoever has no file how to begin', () => {
    const error = (() => {
      try {
        return parse(undefined)
      } catch (caught) {
        return caught as ConfigError
      }
    })()
    expect(error).toMatchObject({ next: [expect.stringMatching(/^confrouter init /), expect.anything()] })
  })

  it('of a required value are reported for Azure clouds only when the value was not given', () => {
    expect(messagesOf('cloud: azure-china\n')).toEqual([
      expect.stringMatching(/: subscription is missing/),
      expect.stringMatching(/: location is missing/),
      expect.stringMatching(/: image\.repository is missing/)
    ])
    expect(messagesOf('subscription: 5\nimage: 7\n')).toHaveLength(2)
    expect(messagesOf('subscripton: x\nimage: { repostory: x }\n')).toHaveLength(2)
    expect(messagesOf('cloud: locl\n')).toEqual([expect.stringMatching(/did you mean local\?$/)])
    expect(messagesOf('clod: local\n')).toEqual([expect.stringMatching(/did you mean cloud\?$/)])
  })

  it.each([
    ['an unknown key', 'conatinerGroup: {}', '3:1: unknown key "conatinerGroup", did you mean containerGroup?'],
    [
      'an unknown key below',
      'containerGroup: { memory-gb: 4 }',
      '3:19: unknown key "memory-gb" in containerGroup, did you mean memoryGb?'
    ],
    [
      'an unknown key of a provider',
      'providers: { openai: { base_url: x } }',
      '3:24: unknown key "base_url" in providers.openai, did you mean baseUrl?'
    ],
    ['a key like a method', 'toString: 1', '3:1: unknown key "toString", expected one of name'],
    ['a dangerous key', '__proto__: { name: x }', '3:1: the key __proto__ is not allowed'],
    ['a dangerous name', 'providers: { __proto__: {} }', '3:14: the key __proto__ is not allowed'],
    ['a key given twice', 'name: ab\nname: cd', '4:1: name is given twice, first in line 3'],
    [
      'a key given twice below',
      'key:\n  name: a\n  size: 2048\n  name: b',
      '6:3: key.name is given twice, first in line 4'
    ],
    ['a number in quotes', 'containerGroup: { port: "8080" }', 'port from 1 to 65535 (without quotes)'],
    ['text without quotes', 'name: 2024', 'beginning with a letter (put it in quotes)'],
    ['an empty value', 'location:', '3:1: location is empty, expected an Azure region'],
    ['a scalar for a section', 'sidecar: 5', '3:10: sidecar is 5, expected a map of keys and values'],
    ['a list for a section', 'sidecar: [5]', '3:10: sidecar is a list, expected a map of keys and values'],
    ['a map for a value', 'name: { a: 1 }', '3:7: name is a map, expected 2 to 40'],
    ['not a number', 'containerGroup: { cpu: .nan }', '3:24: containerGroup.cpu is'],
    ['a number without end', 'containerGroup: { cpu: .inf }', '3:24: containerGroup.cpu is'],
    [
      'no region',
      'containerGroup: { regions: [] }',
      'containerGroup.regions is a list, expected a list of 1 to 20 Azure'
    ],
    [
      'a region as the portal spells it',
      'containerGroup: { regions: [eastus, West Europe] }',
      'containerGroup.regions[1] is "West Europe", expected an Azure region in its short form'
    ],
    ['a fraction of a port', 'containerGroup: { port: 80.5 }', 'containerGroup.port is 80.5, expected a port'],
    [
      'a number out of range',
      'sidecar: { memoryGb: 181 }',
      'sidecar.memoryGb is 181, expected a number from 0.1 to 180'
    ],
    [
      'a word that is near another',
      'policy: { engine: nativ }',
      'expected one of auto, az, native, both, did you mean native?'
    ],
    ['a name of a provider', 'providers: { Open_AI: {} }', '3:14: the name "Open_AI" in providers is not allowed'],
    ['a provider without URL', 'providers: { mine: {} }', '3:20: providers.mine.baseUrl is missing'],
    ['plain http', 'providers: { mine: { baseUrl: "http://a.example" } }', 'expected https, or allowPrivate: true'],
    ['no URL', 'providers: { mine: { baseUrl: "a.example" } }', 'expected the base URL of an API'],
    ['another scheme', 'providers: { mine: { baseUrl: "file:///etc" } }', 'expected the base URL of an API'],
    ['an endpoint with a path', 'attestation: { endpoint: "https://a.example/x" }', 'without a path'],
    ['an endpoint without TLS', 'attestation: { endpoint: "http://a.example" }', 'the https URL of an attestation'],
    [
      'both alternatives',
      'attestation: { name: abc, endpoint: "https://a.example" }',
      'attestation has a name and an endpoint'
    ],
    [
      'two sources of a key',
      'providers: { fal: { apiKey: { env: A, file: b } } }',
      '3:45: providers.fal.apiKey has two sources, expected either'
    ],
    ['no source of a key', 'providers: { fal: { apiKey: {} } }', 'providers.fal.apiKey has no source, expected either'],
    [
      'a key that is never sent',
      'providers: { fal: { auth: none, apiKey: { env: A } } }',
      'has no effect while auth is none'
    ],
    [
      'two default providers',
      'providers: { fal: { default: true }, groq: { default: true } }',
      '3:55: providers.groq.default is true, and so is that of fal'
    ],
    [
      'one region twice',
      'containerGroup: { regions: [eastus, westus, eastus] }',
      '3:28: containerGroup.regions has eastus twice, expected each region once'
    ],
    [
      'a name that leaves no room for the regions',
      `containerGroup: { name: ${'a'.repeat(42)}, regions: [eastus, westeurope], replicas: 10 }`,
      '42 characters, expected at most 40, so that NAME-12345678-westeurope-10 has no more than 63'
    ],
    ['two equal ports', 'sidecar: { port: 8080 }', '3:18: sidecar.port and containerGroup.port are both 8080'],
    ['too much CPU together', 'containerGroup: { cpu: 31 }', 'containerGroup.cpu and sidecar.cpu are 32 together'],
    ['too much memory together', 'containerGroup: { memoryGb: 180 }', 'sidecar.memoryGb are 181 together'],
    ['tokens without effect', `access: { tokensSha256: [${'ab'.repeat(32)}] }`, 'no effect while access.mode is open'],
    [
      'a TLS port that is the plain one',
      'router: { tls: { port: 8080 } }',
      '3:24: router.tls.port and containerGroup.port'
    ],
    [
      'a TLS port that is the sidecar’s',
      'router: { tls: { port: 8081 } }',
      'router.tls.port and sidecar.port are both 8081'
    ],
    [
      'TLS alone without a port',
      'router: { tls: { only: true } }',
      'router.tls.port is missing, which router.tls.only needs'
    ],
    [
      'too many processes',
      'router: { workers: 65 }',
      '3:20: router.workers is 65, expected a whole number of processes from 1 to 64'
    ],
    ['half a try', 'router: { retries: 0.5 }', 'router.retries is 0.5, expected a whole number of tries from 0 to 5'],
    [
      'a limit',
      'router: { limits: { bodyBytes: 1 } }',
      '3:32: router.limits.bodyBytes is 1, expected a whole number of bytes'
    ],
    [
      'an unknown limit',
      'router: { limits: { bodyByte: 1 } }',
      'unknown key "bodyByte" in router.limits, did you mean bodyBytes?'
    ],
    ['metrics for nobody', 'router: { metrics: token }', '3:20: router.metrics is "token" while access.mode is open'],
    ['metrics for somebody else', 'router: { metrics: opn }', 'expected one of open, token, off, did you mean open?'],
    [
      'no room for a body',
      'router: { limits: { bufferedBytes: 1024 } }',
      '3:36: router.limits.bufferedBytes is 1024, and router.limits.bodyBytes is 20971520'
    ],
    [
      'a fallback to nobody',
      'router: { fallbacks: { "openai:a": ["openai:b", "groq:c"] } }',
      '3:36: router.fallbacks.openai:a has "groq:c", expected models of the providers here, as openai:…, openrouter:…, fal:…'
    ],
    [
      'a fallback for nobody',
      'router: { fallbacks: { "a.b": ["openai:b"] } }',
      '3:31: router.fallbacks.a.b has "a.b", expected'
    ],
    [
      'a fallback without a model',
      'router: { fallbacks: { "openai:a": ["openai:"] } }',
      'has "openai:", expected models'
    ],
    ['a fallback to itself', 'router: { fallbacks: { "openai:a": ["openai:a"] } }', 'names a model twice'],
    [
      'a fallback that is no list',
      'router: { fallbacks: { "openai:a": "openai:b" } }',
      'expected a list of 1 to 8 models'
    ],
    [
      'an empty list',
      'router: { fallbacks: { "openai:a": [] } }',
      'router.fallbacks.openai:a is a list, expected a list of 1 to 8'
    ],
    [
      'a fallback that is no text',
      'router: { fallbacks: { "openai:a": ["openai:b", 7] } }',
      '3:49: router.fallbacks.openai:a[1] is 7, expected a model name'
    ],
    [
      'a model with a space',
      'router: { fallbacks: { "a b": ["openai:b"] } }',
      'the name "a b" in router.fallbacks is not allowed'
    ],
    [
      'a fallback to a queue',
      'providers: { openai: {}, fal: { baseUrl: "https://fal.example" } }\nrouter: { fallbacks: { "openai:a": ["fal:b"] } }',
      '4:36: router.fallbacks.openai:a has "fal:b", expected models of the providers here, as openai:…'
    ],
    [
      'an address that is not public',
      'providers: { mine: { baseUrl: "https://10.0.0.4/v1" } }',
      'expected a public address, or allowPrivate: true'
    ],
    [
      'plain http for synchronous calls',
      'providers: { fal: { syncUrl: "http://fal.example" } }',
      'providers.fal.syncUrl is "http://fal.example", expected https, or allowPrivate: true'
    ],
    [
      'a mode without tokens',
      'access: { mode: token }',
      'access.tokensSha256 is missing, which access.mode token needs'
    ]
  ])('name %s', (_, line, expected) => {
    const messages = messagesOf(`${minimal}${line}\n`)
    expect(messages).toHaveLength(1)
    expect(messages[0]).toContain(expected)
  })

  it('do not blame a value for another one that is wrong', () => {
    const access = 'access: { mode: tokn, tokensSha256: [] }\nrouter: { metrics: token }\n'
    expect(messagesOf(minimal + access)).toEqual([expect.stringContaining('access.mode is "tokn"')])
    const providers = 'providers: { Mine: {} }\nrouter: { fallbacks: { "mine:a": ["mine:b"] } }\n'
    expect(messagesOf(minimal + providers)).toEqual([expect.stringContaining('the name "Mine" in providers')])
  })

  it('refuse a base that nothing is put on, and one that is not pinned', () => {
    const image = (more: string) => `subscription: ${subscription}\nimage: { repository: ghcr.io/example/x, ${more} }\n`
    const base = `docker.io/library/node:24-slim@sha256:${'0'.repeat(64)}`
    expect(messagesOf(image(`base: "${base}", baseFrom: ./node`))).toEqual([
      expect.stringMatching(/2:\d+: image\.base is set, and docker takes the base .* expected image\.builder: native$/),
      expect.stringContaining('image.baseFrom is set, and docker takes the base')
    ])
    for (const unpinned of ['docker.io/library/node:24-slim', 'node:24', './node']) {
      expect(messagesOf(image(`builder: native, base: "${unpinned}"`))).toEqual([expect.stringContaining('image.base')])
    }
    expect(() => parse(image(`builder: native, base: "${base}", baseFrom: ./node`))).not.toThrow()
    expect(() => parse(`cloud: local\n${image(`base: "${base}"`)}`)).not.toThrow()
  })

  it('never contain what may be a secret', () => {
    const secret = 'sk-live-0123456789'
    const text = `${minimal}
providers:
  openai: { apiKey: ${secret} }
  fal: { apiKey: { env: ${secret} } }
  groq: { apiKey: { ${secret} } }
  mistral: { apiKey: { value: ${secret} } }
  mine: { baseUrl: "https://user:${secret}@api.example" }
  qwen: { api_key: ${secret} }
access: { tokensSha256: [${secret}] }
`
    const problems = problemsOf(text, { environment: { CONFROUTER_TOKEN: secret } })
    expect(problems).toHaveLength(8)
    expect(JSON.stringify(problems)).not.toContain(secret)
    for (const broken of [`a: ${secret}]\nb`, `a: "${secret}`, `a: !${secret} 1`, `a: *${secret}`, `a: @${secret}`]) {
      expect(JSON.stringify(problemsOf(broken))).not.toContain(secret)
    }
  })

  it('are a bug of the program when a flag has no path', () => {
    expect(() => parse(minimal, { flags: { 'no.such': 1 } as never })).toThrow(TypeError)
  })
})
