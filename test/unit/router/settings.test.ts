import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { parseSettings, SettingsError } from '../../../src/router/settings.js'
import { requiredEnvironment } from './harness.js'

const parse = (environment: Record<string, string>) => parseSettings({ ...requiredEnvironment, ...environment })

function problems(environment: Record<string, string | undefined>): readonly string[] {
  try {
    parseSettings({ ...requiredEnvironment, ...environment })
  } catch (error) {
    if (error instanceof SettingsError) return error.problems
    throw error
  }
  return []
}

describe('parseSettings', () => {
  it.each(['ACCESS_MODE', 'ACCESS_TOKENS', 'RATE_LIMIT_PER_MINUTE', 'ENCRYPTION', 'CONFROUTER_PROVIDERS'])(
    'refuses to start when %s is left out, which a policy cannot forbid',
    (name) => {
      expect(problems({ ACCESS_TOKENS: sha256Hex('t'), ACCESS_MODE: 'token', [name]: undefined })).toContain(
        `${name} is left out: set it, empty for its default`
      )
    }
  )

  it('needs three variables and has defaults for the rest', () => {
    expect(parse({})).toMatchObject({
      host: '0.0.0.0',
      port: 8080,
      sidecarUrl: 'http://127.0.0.1:8081',
      maaHost: 'sharedweu.weu.attest.azure.net',
      vaultHost: 'conftest.vault.azure.net',
      keyName: 'default',
      keyRefreshMs: 600_000,
      encryption: 'optional',
      access: { mode: 'open' },
      sealedSecrets: undefined,
      simulated: false,
      limits: {
        bodyBytes: 20_971_520,
        bufferedBytes: 536_870_912,
        concurrentCalls: 2000,
        callsPerCaller: 200,
        requestIdleMs: 30_000,
        callsPerMinute: 60,
        allCallsPerMinute: 600,
        shutdownMs: 30_000
      }
    })
    expect([...parse({}).providers.enabled.keys()]).toEqual(['openai', 'openrouter', 'fal'])
  })

  it('takes endpoints with and without https:// and a slash at the end', () => {
    for (const endpoint of ['v.vault.azure.net', 'https://v.vault.azure.net', 'https://V.vault.azure.net/']) {
      expect(parse({ AKV_ENDPOINT: endpoint }).vaultHost).toBe('v.vault.azure.net')
    }
    expect(parse({ MAA_ENDPOINT: 'https://127.0.0.1:9443' }).maaHost).toBe('127.0.0.1:9443')
  })

  it('takes an empty variable as unset, as templates make them', () => {
    expect(parse({ PORT: '', OPENAI_API_KEY: '', CONFROUTER_SECRETS: '' })).toMatchObject({ port: 8080 })
    expect(parse({ OPENAI_API_KEY: '' }).clearKeys.size).toBe(0)
  })

  it('knows the provider keys of the manual procedure', () => {
    const { clearKeys } = parse({ OPENAI_API_KEY: 'a', OPENROUTER_API_KEY: 'b', FAL_KEY: 'c:d' })
    expect([...clearKeys]).toEqual([
      ['openai', 'a'],
      ['openrouter', 'b'],
      ['fal', 'c:d']
    ])
  })

  it('turns access tokens on when there are hashes', () => {
    const hash = sha256Hex('t')
    expect(parse({ ACCESS_TOKENS: `${hash}, ${hash}` }).access).toEqual({ mode: 'token', tokenHashes: [hash, hash] })
    expect(parse({ ACCESS_TOKENS: hash, ACCESS_MODE: 'token' }).access).toMatchObject({ mode: 'token' })
  })

  it.each([
    ['MAA_ENDPOINT', undefined, 'must be set'],
    ['AKV_ENDPOINT', '', 'must be set'],
    ['KID', undefined, 'must be set'],
    ['KID', '../x', 'must be the name of a key'],
    ['KID', 'default/1', 'must be the name of a key'],
    ['MAA_ENDPOINT', 'http://x', 'must be a host name'],
    ['AKV_ENDPOINT', 'https://x/keys/default', 'must be a host name'],
    ['PORT', '65536', 'must be a whole number from 0 to 65535, got "65536"'],
    ['PORT', '80a', 'got "80a"'],
    ['PORT', '-1', 'got "-1"'],
    ['HOST', 'a b', 'must be an address'],
    ['SKR_URL', 'http://10.0.0.4:8081', 'must be an http URL of this host'],
    ['SKR_URL', 'https://127.0.0.1:8081', 'must be an http URL of this host'],
    ['SKR_URL', 'http://127.0.0.1:8081/x', 'must be an http URL of this host'],
    ['KEY_REFRESH_SECONDS', '0', 'from 1 to 86400'],
    ['ENCRYPTION', 'yes', 'must be one of optional, required, got "yes"'],
    ['ACCESS_MODE', 'closed', 'must be one of open, token'],
    ['CONFROUTER_SIMULATED', '1', 'must be one of true, false'],
    ['CONFROUTER_PROVIDERS', '{', 'is not JSON'],
    ['CONFROUTER_SECRETS', 'a.b', 'must be a signed bundle'],
    ['CONFROUTER_SECRETS_SIGNER', 'a', 'must be an RFC 7638 SHA-256 thumbprint, got "a"'],
    ['CONFROUTER_DEPLOYMENT', 'A', 'must be the name of a container group, got "A"'],
    ['UVM_SECURITY_CONTEXT_DIR', 'x', 'must be an absolute path'],
    ['CONFROUTER_MAX_BODY_BYTES', '1', 'from 1024'],
    ['CONFROUTER_MAX_BUFFERED_BYTES', '2048', 'not be less than CONFROUTER_MAX_BODY_BYTES'],
    ['CONFROUTER_CALLS_PER_MINUTE', '0', 'from 1 to 1000000'],
    ['CONFROUTER_MAX_CALLS_PER_CALLER', '0', 'from 1 to 100000'],
    ['CONFROUTER_REQUEST_IDLE_SECONDS', '0', 'from 1 to 3600'],
    ['CONFROUTER_MAXBODY', '1', 'is not a known variable']
  ])('names %s = %s and says what is wrong', (name, value, message) => {
    expect(problems({ [name]: value })).toEqual([expect.stringMatching(new RegExp(`^${name} .*`))])
    expect(problems({ [name]: value })[0]).toContain(message)
  })

  it('shows every problem in one start', () => {
    expect(problems({ PORT: 'x', KID: '', ENCRYPTION: 'x', CONFROUTER_X: 'x' })).toHaveLength(4)
  })

  it('refuses tokens that nobody would check, and a mode without tokens', () => {
    expect(problems({ ACCESS_MODE: 'open', ACCESS_TOKENS: sha256Hex('t') })).toEqual([
      'ACCESS_MODE is "open", so ACCESS_TOKENS must not be set'
    ])
    expect(problems({ ACCESS_MODE: 'token' })).toEqual(['ACCESS_TOKENS must be set when ACCESS_MODE is "token"'])
  })

  it('takes the sealed secrets from one place', () => {
    const bundle = 'a.b.c'
    expect(parse({ CONFROUTER_SECRETS_FILE: '/run/secrets/bundle' }).secretsFile).toBe('/run/secrets/bundle')
    expect(problems({ CONFROUTER_SECRETS: bundle, CONFROUTER_SECRETS_FILE: '/run/secrets/bundle' })).toEqual([
      'CONFROUTER_SECRETS and CONFROUTER_SECRETS_FILE must not both be set'
    ])
  })

  it.each(['CONFROUTER_SECRETS_SIGNER', 'CONFROUTER_DEPLOYMENT'])('takes no sealed secrets without %s', (name) => {
    // A policy lets the host leave a variable out.
    expect(problems({ CONFROUTER_SECRETS: 'a.b.c', [name]: '' })).toEqual([
      'CONFROUTER_SECRETS needs CONFROUTER_SECRETS_SIGNER and CONFROUTER_DEPLOYMENT, which say whose it has to be'
    ])
    expect(problems({ CONFROUTER_SECRETS_FILE: '/s', [name]: undefined })[0]).toMatch(/^CONFROUTER_SECRETS_FILE needs/)
    expect(parse({ [name]: '' }).expectedSecrets).toBeUndefined()
  })

  it('quotes no secret', () => {
    const marker = 'SECRET MARKER'
    const found = problems({
      OPENAI_API_KEY: marker,
      FAL_KEY: marker,
      ACCESS_TOKENS: marker,
      CONFROUTER_SECRETS: marker
    })
    expect(found).toHaveLength(4)
    expect(found.join()).not.toContain('MARKER')
  })
})
