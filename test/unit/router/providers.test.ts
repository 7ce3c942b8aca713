import { describe, expect, it } from '@jest/globals'
import { parseProviders } from '../../../src/router/providers.js'

const parse = (value: unknown) => parseProviders(JSON.stringify(value))

describe('parseProviders', () => {
  it('enables what is named and nothing else', () => {
    const { enabled } = parse({ openai: {}, mine: { baseUrl: 'https://llm.example/v2/', auth: 'api-key' } })
    expect([...enabled.values()]).toEqual([
      {
        name: 'openai',
        origin: 'https://api.openai.com',
        basePath: '/v1',
        auth: 'Bearer',
        allowPrivate: false,
        accountAccess: false,
        openaiCompatible: true,
        slashNames: false,
        sync: undefined
      },
      {
        name: 'mine',
        origin: 'https://llm.example',
        basePath: '/v2',
        auth: 'api-key',
        allowPrivate: false,
        accountAccess: false,
        openaiCompatible: true,
        slashNames: true,
        sync: undefined
      }
    ])
  })

  it('has all the built-in providers', () => {
    const names = 'openai openrouter fal anthropic gemini groq mistral deepseek together qwen'.split(' ')
    const { enabled } = parse(Object.fromEntries(names.map((name) => [name, {}])))
    expect(enabled.size).toBe(10)
    for (const { origin } of enabled.values()) expect(origin).toMatch(/^https:/)
    expect(enabled.get('fal')).toMatchObject({ auth: 'Key', openaiCompatible: false })
    expect(enabled.get('anthropic')).toMatchObject({ auth: 'x-api-key' })
  })

  it('takes the provider that says so as the default, else the first', () => {
    expect(parse({ groq: {}, openai: {} }).default.name).toBe('groq')
    expect(parse({ groq: {}, openai: { default: true } }).default.name).toBe('openai')
    expect(parseProviders(undefined).default.name).toBe('openai')
  })

  it('allows http and private hosts where the configuration names them', () => {
    const { enabled } = parse({ loopback: { baseUrl: 'http://127.0.0.1:9000/v1', auth: 'none', allowPrivate: true } })
    expect(enabled.get('loopback')).toMatchObject({ origin: 'http://127.0.0.1:9000', allowPrivate: true })
  })

  it('opens accounts to callers without a key only where the settings or the API allow it', () => {
    const { enabled } = parse({ openai: {}, groq: { accountAccess: true }, fal: {} })
    expect([...enabled.values()].map(({ accountAccess }) => accountAccess)).toEqual([false, true, true])
    expect(parse({ fal: { accountAccess: false } }).default.accountAccess).toBe(false)
  })

  it.each([
    ['nothing', {}, 'at least one provider'],
    ['a list', [], 'must be a JSON object'],
    ['an unknown provider without a URL', { mine: {} }, '"mine" is not built in, so it needs "baseUrl"'],
    ['a bad name', { 'My Llm': {} }, 'is not a provider name'],
    ['settings that are no object', { openai: true }, 'must have an object'],
    ['an unknown member', { openai: { baseURL: 'https://x' } }, 'unknown member "baseURL"'],
    ['an unknown scheme', { openai: { auth: 'Basic' } }, '"auth" as one of'],
    ['a flag that is no flag', { openai: { allowPrivate: 'yes' } }, 'true or false'],
    ['an access that is no flag', { openai: { accountAccess: 'yes' } }, 'true or false'],
    ['a default that is no flag', { openai: { default: 1 } }, 'true or false'],
    ['two defaults', { openai: { default: true }, groq: { default: true } }, 'more than one'],
    ['http', { mine: { baseUrl: 'http://llm.example' } }, 'https'],
    ['another protocol', { mine: { baseUrl: 'file:///etc' } }, 'no usable'],
    ['a user in the URL', { mine: { baseUrl: 'https://a:b@llm.example' } }, 'without user'],
    ['a query in the URL', { mine: { baseUrl: 'https://llm.example/?a' } }, 'without user'],
    ['a private address', { mine: { baseUrl: 'https://10.1.2.3' } }, 'private address'],
    ['a loopback address in another spelling', { mine: { baseUrl: 'https://0x7f.1' } }, 'private address'],
    ['an IPv6 loopback address', { mine: { baseUrl: 'https://[::1]' } }, 'private address']
  ])('refuses %s', (_, value, message) => {
    expect(() => parse(value)).toThrow(message)
  })
})
