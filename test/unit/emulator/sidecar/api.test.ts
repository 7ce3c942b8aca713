import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { EmulatorRequest, EmulatorResponse } from '../../../../src/emulator/http.js'
import { ask, type SidecarAnswer, TestGroup } from './group.js'
import { type InProcessSidecar, startInProcess } from './in-process.js'

let group: TestGroup
let sidecar: InProcessSidecar
let plainEnvironment: Record<string, string>
/** What the service that stands in for all of Azure answers, and what it was asked. */
let azure: (request: EmulatorRequest) => EmulatorResponse
let asked: EmulatorRequest[]
let azureHost: string
let imds: string

beforeAll(async () => {
  group = await TestGroup.start()
  const service = async (request: EmulatorRequest): Promise<EmulatorResponse> => {
    asked.push(request)
    return azure(request)
  }
  azureHost = await group.serveTls(service)
  imds = await group.servePlain(service)
  plainEnvironment = { ...group.environment(await group.writeContext()), IMDS_ENDPOINT: imds }
  sidecar = await startInProcess(plainEnvironment)
})

afterAll(async () => {
  await sidecar.close()
  await group.close()
})

beforeEach(() => {
  asked = []
  azure = () => ({ status: 200, body: { token: 't.o.k', access_token: 'aad', value: 'x' } })
})

interface Exchange {
  readonly method: string
  readonly path: string
  readonly body: string
  readonly answer: SidecarAnswer
}

function recorded(name: string): Exchange {
  const text = readFileSync(join('test/vectors/skr-emulator/sidecar', `${name}.http`), 'utf8').replaceAll('\r\n', '\n')
  const [, method = '', path = ''] = /^>>> (\w+) (\S+)/.exec(text) ?? []
  const body = /^>>> body: (.*)$/m.exec(text)?.[1] ?? ''
  const response = text.slice(text.indexOf('HTTP/1.1'))
  const end = response.indexOf('\n\n')
  const answer = {
    status: Number(response.split(' ')[1]),
    contentType: /^Content-Type: (.*)$/m.exec(response)?.[1] ?? null,
    text: response.slice(end + 2).replace(/\n$/, '')
  }
  return { method, path, body, answer }
}

async function replay(exchange: Exchange, origin = sidecar.origin): Promise<SidecarAnswer> {
  const body = exchange.body.replaceAll(
    /"(sharedweu\.weu\.attest\.azure\.net|conftest\.vault\.azure\.net)"/g,
    JSON.stringify(azureHost)
  )
  if (exchange.method === 'GET') return ask(origin, exchange.path)
  return ask(origin, exchange.path, body)
}

describe('a web page in a browser of this machine', () => {
  const post = (headers: Record<string, string>) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const outgoing = httpRequest(`${sidecar.origin}/key/release`, { method: 'POST', headers }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
      })
      outgoing.once('error', reject)
      outgoing.end(JSON.stringify({ maa_endpoint: azureHost, akv_endpoint: azureHost, kid: 'k1' }))
    })

  it.each([
    ['by its origin', { origin: 'https://evil.example' }],
    ['by the mark of its browser', { 'sec-fetch-site': 'same-origin' }],
    ['by the name that it bound to loopback', { host: 'evil.example' }],
    ['by such a name with the right port', { host: 'evil.example:PORT' }]
  ])('gets 403 and causes nothing: known %s', async (_, headers) => {
    const { port } = new URL(sidecar.origin)
    const sent = Object.entries(headers).map(([name, value]) => [name, value.replace('PORT', port)])
    const answer = await post(Object.fromEntries(sent) as Record<string, string>)
    expect(answer.status).toBe(403)
    expect(answer.text).not.toContain('key"')
    expect(asked).toEqual([])
  })

  it('is told apart from a program, which may also say localhost', async () => {
    expect((await post({})).text).not.toContain('no web pages')
    expect((await post({ host: `localhost:${new URL(sidecar.origin).port}` })).text).not.toContain('no web pages')
  })
})

describe('the sidecar answers as the real one', () => {
  it.each([
    ...['01-status', '03-raw-badb64url', '04-raw-missing', '05-raw-notjson', '11-maa-missing'],
    ...['22-release-missing-kid', '28-unknown-path', '29-wrong-method', '30-unwrap-path']
  ])('without asking anybody: %s', async (name) => {
    const exchange = recorded(name)
    expect(await replay(exchange)).toEqual(exchange.answer)
    expect(asked).toEqual([])
  })

  it.each([
    ['09-maa-runtime-notjson', '/attest', 400, 'InvalidParameter', 'runtimeData is not JSON'],
    ['26-release-maa-503', '/attest', 503, 'ServiceUnavailable', 'x']
  ])('when the attestation provider refuses: %s', async (name, prefix, status, code, message) => {
    azure = ({ path }) => (path.startsWith(prefix) ? { status, body: { error: { code, message } } } : { status: 500 })
    const exchange = recorded(name)
    expect(await replay(exchange)).toEqual(exchange.answer)
  })

  it.each(['20-release-404', '21-release-rbac403', '25-release-akv-429'])(
    'when the vault refuses: %s',
    async (name) => {
      const exchange = recorded(name)
      const [, quoted, status] = /response body failed: (.*): http response status equal to (\d+)/.exec(
        JSON.parse(exchange.answer.text).error
      ) ?? ['', '', '0']
      azure = ({ path }) => {
        if (path.startsWith('/keys/')) return { status: Number(status), body: new TextEncoder().encode(quoted) }
        return { status: 200, body: { token: 't.o.k', access_token: 'aad' } }
      }
      expect(await replay(exchange)).toEqual(exchange.answer)
    }
  )

  it('when the group has no identity, after three tries: 27-release-imds-400', async () => {
    azure = ({ path }) =>
      path.startsWith('/metadata')
        ? { status: 400, body: { error: 'invalid_request', error_description: 'Identity not found' } }
        : { status: 200, body: { token: 't.o.k' } }
    const exchange = recorded('27-release-imds-400')
    expect(await replay(exchange)).toEqual(exchange.answer)
    expect(asked.map(({ path }) => path.split('/')[1])).toEqual(['attest', 'metadata', 'metadata', 'metadata'])
  })

  it('when the TCB has changed and it has nowhere to ask: 32-badtcb-nofetcher', async () => {
    const thim = { ...JSON.parse(group.hardware.thimJson), tcbm: '3100000000000000' }
    const context = await group.writeContext({ certificates: JSON.stringify(thim) })
    const stale = await startInProcess({ ...plainEnvironment, UVM_SECURITY_CONTEXT_DIR: context })
    try {
      const exchange = recorded('32-badtcb-nofetcher')
      expect(await replay(exchange, stale.origin)).toEqual(exchange.answer)
    } finally {
      await stale.close()
    }
  })

  it('does not need a content type, and takes 400 for an object of another kind', async () => {
    expect((await ask(sidecar.origin, '/attest/raw', { runtime_data: 'aGk=' })).status).toBe(200)
    const answer = await ask(sidecar.origin, '/attest/raw', { runtime_data: 5 })
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('cannot unmarshal number')])
    expect((await ask(sidecar.origin, '/attest/raw', '[]')).status).toBe(400)
    expect((await ask(sidecar.origin, '/attest/raw', '{')).text).toContain('unexpected EOF')
    expect((await ask(sidecar.origin, '/attest/raw', '')).text).toContain(': EOF')
  })

  it('answers two documents when attestation fails', async () => {
    azure = () => ({ status: 503, body: { error: { code: 'ServiceUnavailable', message: 'x' } } })
    const { text } = await ask(sidecar.origin, '/attest/maa', { maa_endpoint: azureHost, runtime_data: 'e30=' })
    expect(() => JSON.parse(text) as unknown).toThrow()
    expect(text.endsWith('}{"token":""}')).toBe(true)
  })

  it('answers 500 without a body when it panics, and a body that is too long is one such case', async () => {
    const answer = await ask(sidecar.origin, '/attest/raw', { runtime_data: 'A'.repeat(2 * 1024 * 1024) })
    expect([answer.status, answer.text]).toEqual([500, ''])
  })

  it('escapes what Go escapes', async () => {
    azure = () => ({ status: 400, body: new TextEncoder().encode('<a&b>') })
    const { text } = await ask(sidecar.origin, '/attest/maa', { maa_endpoint: azureHost, runtime_data: 'e30=' })
    expect(text).toContain('\\u003ca\\u0026b\\u003e')
  })
})

describe('the sidecar asks as the real one', () => {
  it('the attestation provider: padded base64url at every level, a bare 64-bit nonce', async () => {
    await ask(sidecar.origin, '/attest/maa', { maa_endpoint: azureHost, runtime_data: 'e30=' })
    const [request] = asked
    const text = new TextDecoder().decode(request!.body)
    expect([request!.method, request!.path, request!.query.get('api-version')]).toEqual([
      'POST',
      '/attest/SevSnpVM',
      '2020-10-01'
    ])
    expect(request!.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Go-http-client/1.1' })
    expect(request!.headers.authorization).toBeUndefined()
    expect(text).toMatch(
      /^\{"report":"[\w-]+={0,2}","runtimeData":\{"data":"e30=","dataType":"JSON"\},"initTimeData":\{"data":"","dataType":""\},"nonce":\d+\}$/
    )
    const report = JSON.parse(Buffer.from(JSON.parse(text).report, 'base64url').toString())
    expect(Object.keys(report)).toEqual(['SnpReport', 'VcekCertChain', 'Endorsements'])
    for (const value of Object.values<string>(report)) expect(value.length % 4).toBe(0)
  })

  it('first the provider, then IMDS, then the vault, with a wrapping key named by its thumbprint', async () => {
    await ask(sidecar.origin, '/key/release', { maa_endpoint: azureHost, akv_endpoint: azureHost, kid: 'k/v1' })
    const [attest, token, release] = asked
    const runtime = JSON.parse(
      Buffer.from(JSON.parse(new TextDecoder().decode(attest!.body)).runtimeData.data, 'base64url').toString()
    )
    expect(runtime.keys).toEqual([
      { e: 'AQAB', key_ops: ['encrypt'], kid: expect.stringMatching(/^[\w-]{43}$/), kty: 'RSA', n: expect.any(String) }
    ])
    expect(token!.path).toBe('/metadata/identity/oauth2/token')
    expect(Object.fromEntries(token!.query)).toEqual({
      'api-version': '2018-02-01',
      resource: 'https://vault.azure.net'
    })
    expect(token!.headers['metadata']).toBe('true')
    expect([release!.path, release!.query.get('api-version')]).toEqual(['/keys/k/v1/release', '7.4'])
    expect(release!.headers.authorization).toBe('Bearer aad')
    expect(new TextDecoder().decode(release!.body)).toBe('{"target":"t.o.k"}')
  })

  it('IMDS for the identity that SkrSideCarArgs names', async () => {
    const args = Buffer.from(JSON.stringify({ identity: { client_id: 'id-2' } })).toString('base64')
    const named = await startInProcess({ ...plainEnvironment, SkrSideCarArgs: args })
    try {
      await ask(named.origin, '/key/release', { maa_endpoint: azureHost, akv_endpoint: azureHost, kid: 'k' })
      expect(asked[1]!.query.get('client_id')).toBe('id-2')
    } finally {
      await named.close()
    }
  })

  it('THIM for new certificates when the TCB has changed and it was told where', async () => {
    const thim = { ...JSON.parse(group.hardware.thimJson), tcbm: '3100000000000000' }
    const context = await group.writeContext({ certificates: JSON.stringify(thim) })
    const args = Buffer.from(JSON.stringify({ certcache: { endpoint_type: 'LocalTHIM' } })).toString('base64')
    const stale = await startInProcess({ ...plainEnvironment, UVM_SECURITY_CONTEXT_DIR: context, SkrSideCarArgs: args })
    try {
      azure = () => ({ status: 200, body: new TextEncoder().encode(group.hardware.thimJson) })
      const { status, text } = await ask(stale.origin, '/attest/combined', { runtime_data: 'e30=' })
      expect([status, JSON.parse(text).endorsed_tcb]).toEqual([200, 'db18000000000004'])
      expect(asked.map(({ path }) => path)).toEqual(['/metadata/THIM/amd/certification'])
    } finally {
      await stale.close()
    }
  })
})
