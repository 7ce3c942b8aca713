import { afterAll, afterEach, describe, expect, it } from '@jest/globals'
import { CheckError } from '../../../src/client/errors.js'
import { fetchEvidence } from '../../../src/client/fetch-evidence.js'
import { fetchMaaKeys } from '../../../src/client/fetch-maa-keys.js'
import { type VerifyRouterOptions, verifyRouter } from '../../../src/client/verify-router.js'
import { claims } from '../../../src/verify/check.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { type Changes, createWorld, forge, type Forged, maaKeySet, mismatches, now, put } from '../verify/forge.js'
import { type Answer, type Loopback, sendJson, serve, serveTls } from './loopback.js'

const world = await createWorld()
const maa = await serveTls(async (request, _, response) => {
  if (request.url === '/certs') sendJson(response, 200, (await maaKeySet(world.maa)).jwks)
  else sendJson(response, 404, {})
})
const open: Loopback[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()))
  maa.requests.length = 0
})
afterAll(async () => maa.close())

async function start(answer: Answer): Promise<Loopback> {
  const server = await serve(answer)
  open.push(server)
  return server
}

/** Evidence for any nonce, with a token by the provider on loopback. */
async function evidenceFor(nonce: string, changes: Changes = {}): Promise<Forged> {
  return forge(world, {
    ...changes,
    runtimeData: (value) => void put(nonce, 'confrouter', 'nonce')(value),
    claims: put(maa.origin, 'iss'),
    document: (document) => {
      put(maa.origin, 'maa', 'endpoint')(document)
      changes.document?.(document)
    },
    trust: (trust) => {
      put([maa.origin], 'maa', 'endpoints')(trust)
      changes.trust?.(trust)
    }
  })
}

const router =
  (changes: Changes = {}): Answer =>
  async (_, body, response) => {
    sendJson(response, 200, (await evidenceFor(JSON.parse(body).nonce, changes)).document)
  }

async function check(url: string, overrides: Partial<VerifyRouterOptions> = {}): ReturnType<typeof verifyRouter> {
  const { trust } = await evidenceFor('')
  return verifyRouter({ url, trust, fetch: maa.fetch, now: () => now, ...overrides })
}

async function errorOf(promise: Promise<unknown>): Promise<CheckError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason
  )
  if (!(error instanceof CheckError)) throw new Error(`no CheckError but ${String(error)}`)
  return error
}

describe('verifyRouter', () => {
  it('asks with a fresh nonce, fetches the keys and comes to a verdict', async () => {
    const { origin, requests } = await start(router())
    const first = await check(origin)
    const second = await check(origin)
    expect(first.checks.filter(({ outcome }) => outcome !== 'match')).toEqual([])
    expect(first).toMatchObject({ verdict: 'trusted', simulated: true })
    expect(requests.map(({ method, url }) => `${method} ${url}`)).toEqual(Array(2).fill('POST /.well-known/confrouter'))
    const [one, two] = requests.map(({ body }) => String(JSON.parse(body).nonce))
    expect(Buffer.from(one ?? '', 'base64url')).toHaveLength(32)
    expect(one).not.toBe(two)
    expect(first.document).not.toBe(second.document)
    expect(maa.requests.map(({ method, url }) => `${method} ${url}`)).toEqual(Array(2).fill('GET /certs'))
  })

  it('returns the document as it was served', async () => {
    const { origin } = await start(router())
    const { document } = await check(origin)
    expect(() => parseEvidence(document)).not.toThrow()
  })

  it('rejects evidence for another nonce: a replay', async () => {
    const { document } = await evidenceFor(Buffer.alloc(32, 7).toString('base64url'))
    const { origin } = await start((_, __, response) => sendJson(response, 200, document))
    expect(mismatches(await check(origin))).toEqual(['nonce'])
  })

  it('keeps the path of the base URL', async () => {
    const { origin, requests } = await start(router())
    await check(`${origin}/prefix/`)
    expect(requests[0]?.url).toBe('/prefix/.well-known/confrouter')
  })

  it('does not call a provider that the trust policy does not name', async () => {
    const elsewhere = await start((_, __, response) => sendJson(response, 200, {}))
    const { origin } = await start(router({ document: put(elsewhere.origin, 'maa', 'endpoint') }))
    const verdict = await check(origin)
    expect(mismatches(verdict)).toEqual(['maa.signature', 'maa.issuer'])
    expect(elsewhere.requests).toEqual([])
    expect(maa.requests).toEqual([])
  })

  it('calls no provider where the trust policy relies on the report alone', async () => {
    const { trust } = await evidenceFor('')
    const { origin } = await start(router())
    expect(await check(origin, { trust: { ...trust, maa: 'none' } })).toMatchObject({ verdict: 'trusted' })
    expect(maa.requests).toEqual([])
  })

  it('calls the provider that the evidence names where any is accepted, over https only', async () => {
    const { trust } = await evidenceFor('')
    const anyProvider = { trust: { ...trust, maa: 'any' as const } }
    const good = await start(router())
    expect(await check(good.origin, anyProvider)).toMatchObject({ verdict: 'trusted' })
    const bad = await start(router({ document: put('http://127.0.0.1:9', 'maa', 'endpoint') }))
    expect(mismatches(await check(bad.origin, anyProvider))).toEqual(['maa.signature', 'maa.issuer'])
  })

  it('lists every claim also for evidence without a token', async () => {
    const { origin } = await start(router({ document: (document) => void delete document['maa'] }))
    expect((await check(origin)).checks.map(({ claim }) => claim)).toEqual(claims)
  })
})

describe('what keeps it from a verdict is a CheckError', () => {
  it.each<readonly [string, Answer, string]>([
    ['a status', (_, __, response) => sendJson(response, 503, {}), 'check.status'],
    ['no JSON', (_, __, response) => void response.end('<html>'), 'check.unreadable'],
    ['another document', (_, __, response) => sendJson(response, 200, { version: 2 }), 'check.unreadable'],
    ['bytes that are not UTF-8', (_, __, response) => void response.end(Buffer.from([0x22, 0xff])), 'check.unreadable'],
    ['an endless answer', endless, 'check.unreadable'],
    ['a redirect', (_, __, response) => void response.writeHead(302, { location: '/x' }).end(), 'check.network'],
    ['a broken connection', (_, __, response) => void response.destroy(), 'check.network'],
    [
      'a connection that breaks in the middle',
      (_, __, response) => {
        response.writeHead(200, { 'content-length': '100' })
        response.write('{', () => response.destroy())
      },
      'check.network'
    ]
  ])('of the router: %s', async (_, answer, code) => {
    const { origin } = await start(answer)
    expect((await errorOf(check(origin))).code).toBe(code)
  })

  it('and never what a redirect leads to', async () => {
    const good = router()
    const { origin, requests } = await start((request, body, response) => {
      if (request.url === '/elsewhere') return good(request, body, response)
      response.writeHead(307, { location: '/elsewhere' }).end()
    })
    expect((await errorOf(check(origin))).code).toBe('check.network')
    expect(new Set(requests.map(({ url }) => url))).toEqual(new Set(['/.well-known/confrouter']))
  })

  it('but not a connection that the other side has closed meanwhile', async () => {
    let connections = 0
    const good = router()
    const { origin } = await start((request, body, response) => {
      if (++connections === 1) request.socket.destroy()
      else return good(request, body, response)
    })
    expect((await check(origin)).verdict).toBe('trusted')
  })

  it('with the status', async () => {
    const { origin } = await start((_, __, response) => sendJson(response, 429, {}))
    expect((await errorOf(check(origin))).status).toBe(429)
  })

  it('if nobody listens', async () => {
    const server = await serve(() => undefined)
    await server.close()
    expect((await errorOf(check(server.origin))).code).toBe('check.network')
  })

  it('if the caller ends it', async () => {
    const { origin } = await start(() => undefined)
    const error = await errorOf(check(origin, { signal: AbortSignal.timeout(50) }))
    expect(error.code).toBe('check.aborted')
    expect(error.cause).toMatchObject({ name: 'TimeoutError' })
  })

  it.each(['ftp://127.0.0.1', 'https://user:secret@127.0.0.1', 'http://127.0.0.1/?q=1', 'router', ''])(
    'for the URL %j, without repeating it',
    async (url) => {
      const error = await errorOf(check(url))
      expect(error.code).toBe('check.url')
      expect(error.message).not.toContain('secret')
    }
  )
})

describe('fetchMaaKeys', () => {
  it.each(['http://127.0.0.1', 'https://a.example/', 'https://a.example/x', 'a.example'])(
    'does not call %s',
    async (endpoint) => {
      expect((await errorOf(fetchMaaKeys({ endpoint, fetch: maa.fetch }))).code).toBe('check.url')
    }
  )

  it('does not trust a certificate that the fetch does not trust', async () => {
    expect((await errorOf(fetchMaaKeys({ endpoint: maa.origin, fetch: globalThis.fetch }))).code).toBe('check.network')
  })

  it.each<readonly [string, Answer, string]>([
    [
      'a redirect',
      (_, __, response) => void response.writeHead(301, { location: 'https://evil.example/certs' }).end(),
      'check.network'
    ],
    ['a status', (_, __, response) => sendJson(response, 404, {}), 'check.status'],
    ['no JSON', (_, __, response) => void response.end('x'), 'check.unreadable'],
    ['an endless answer', endless, 'check.unreadable']
  ])('fails on %s', async (_, answer, code) => {
    const server = await serveTls(answer)
    open.push(server)
    expect((await errorOf(fetchMaaKeys({ endpoint: server.origin, fetch: server.fetch }))).code).toBe(code)
  })
})

describe('fetchEvidence', () => {
  it('sends the nonce in base64url', async () => {
    const nonce = new Uint8Array(16).fill(0xfb)
    const { origin, requests } = await start(router())
    await fetchEvidence({ url: origin, nonce, fetch: globalThis.fetch })
    expect(JSON.parse(requests[0]?.body ?? '')).toEqual({ nonce: Buffer.from(nonce).toString('base64url') })
  })
})

const endlessChunk = Buffer.alloc(64 * 1024, 0x20)

function endless(_: unknown, __: string, response: Parameters<Answer>[2]): void {
  const more = (): void => {
    if (!response.destroyed) response.write(endlessChunk, more)
  }
  more()
}
