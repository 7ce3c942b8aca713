import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Cleanup, fakeSidecar, oneProvider, type RunningRouter, startRouter, until } from '../unit/router/harness.js'
import { rawProvider } from '../unit/router/websocket-harness.js'
import { type Arrived, exchange, type RecordingProvider, recordingProvider } from './raw.js'

/**
 * Requests that two parsers may read in two ways. Whatever comes, there is an answer or a closed connection,
 * never more requests to the provider than to the router, and nothing of one request in another one.
 */

const cleanup = new Cleanup()
let router: RunningRouter
let provider: RecordingProvider

beforeAll(async () => {
  const [sidecar, recording] = await Promise.all([fakeSidecar(cleanup), recordingProvider(cleanup)])
  provider = recording
  router = await startRouter(
    cleanup,
    {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(provider.origin),
      CONFROUTER_CALLS_PER_MINUTE: '1000000',
      RATE_LIMIT_PER_MINUTE: '1000000',
      CONFROUTER_RETRIES: '0'
    },
    { limits: { requestIdleMs: 700 } }
  )
  router.context.state.providerKeys = new Map([['test', 'sk-router']])
})

afterAll(() => cleanup.run())

let count = 0

/** A path that no other request has. */
const newPath = (): string => `/case-${++count}`
const arrivedAt = (path: string): Arrived[] => provider.arrived.filter(({ url }) => url.startsWith(`/base${path}`))

/** What would be a request of its own if the router ended the one before it too early. */
const smuggled = 'GET /providers/test/smuggled HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-smuggled\r\n\r\n'

const key = 'authorization: Bearer sk-caller\r\n'

/** Writes `head` and `body` as one request to a new path, and what is smuggled behind them. */
async function send(lines: string, body: string, { line = 'POST %s HTTP/1.1', behind = '' } = {}) {
  const path = newPath()
  const head = `${line.replace('%s', `/providers/test${path}`)}\r\nhost: x\r\n${key}${lines}\r\n`
  const { statuses, closed, text } = await exchange(router.url, head + body + behind)
  return { path, statuses, closed, text, arrived: arrivedAt(path) }
}

const nothingSmuggled = (): void => {
  expect(provider.arrived.filter(({ url }) => url.includes('smuggled'))).toEqual([])
  expect(JSON.stringify(provider.arrived.map(({ headers }) => headers))).not.toContain('sk-smuggled')
  expect(provider.malformed).toEqual([])
}

const length = (text: string): string => `content-length: ${text.length}\r\n`
const chunked = 'transfer-encoding: chunked\r\n'

describe('a request whose end is in doubt', () => {
  it.each([
    ['a length and a coding', `content-length: 4\r\n${chunked}`, `0\r\n\r\n${smuggled}`],
    ['a coding and a length', `${chunked}content-length: 6\r\n`, `0\r\n\r\n${smuggled}`],
    ['a length of zero and a coding', `content-length: 0\r\n${chunked}`, `0\r\n\r\n${smuggled}`],
    ['two lengths', 'content-length: 5\r\ncontent-length: 0\r\n', `hello${smuggled}`],
    ['two lengths that are the same', 'content-length: 5\r\ncontent-length: 5\r\n', `hello${smuggled}`],
    ['a list of lengths', 'content-length: 5, 5\r\n', `hello${smuggled}`],
    ['a negative length', 'content-length: -1\r\n', smuggled],
    ['a length with a plus', 'content-length: +5\r\n', `hello${smuggled}`],
    ['a hexadecimal length', 'content-length: 0x5\r\n', `hello${smuggled}`],
    ['a length with an exponent', 'content-length: 5e0\r\n', `hello${smuggled}`],
    ['a length with a blank in it', 'content-length: 5 5\r\n', `hello${smuggled}`],
    ['a length that is a text', 'content-length: five\r\n', smuggled],
    ['a length beyond 64 bits', 'content-length: 18446744073709551621\r\n', `hello${smuggled}`],
    ['an unknown coding', 'transfer-encoding: xchunked\r\n', `0\r\n\r\n${smuggled}`],
    ['a coding that does not end with chunked', 'transfer-encoding: chunked, identity\r\n', `0\r\n\r\n${smuggled}`],
    ['the coding identity', 'transfer-encoding: identity\r\n', smuggled],
    ['a coding behind chunked', `${chunked}transfer-encoding: gzip\r\n`, `0\r\n\r\n${smuggled}`],
    ['a coding in quotes', 'transfer-encoding: "chunked"\r\n', `0\r\n\r\n${smuggled}`],
    ['a coding with a vertical tab', 'transfer-encoding: \u000bchunked\r\n', `0\r\n\r\n${smuggled}`],
    ['an unknown coding and a length', 'transfer-encoding: x\r\ncontent-length: 5\r\n', `hello${smuggled}`],
    ['a space before a colon', 'transfer-encoding : chunked\r\n', `0\r\n\r\n${smuggled}`],
    ['a space before the colon of a length', 'content-length : 5\r\n', `hello${smuggled}`],
    ['a folded coding', 'transfer-encoding:\r\n chunked\r\n', `0\r\n\r\n${smuggled}`],
    ['a folded length', 'content-length: 5\r\n 6\r\n', `hello!${smuggled}`],
    ['a line that begins with a tab', `x: y\r\n\t${chunked}`, `0\r\n\r\n${smuggled}`],
    ['a NUL in a value', `x: a\0b\r\n${chunked}`, `0\r\n\r\n${smuggled}`],
    ['a NUL in a name', `x\0y: a\r\n${chunked}`, `0\r\n\r\n${smuggled}`],
    ['a bare CR in a value', `x: a\rcontent-length: 5\r\n`, smuggled],
    ['a name with brackets', `x[y]: a\r\n`, smuggled],
    ['a line without a name', ': a\r\n', smuggled],
    ['a line without a colon', 'content-length\r\n', smuggled],
    ['a line that ends with LF alone', 'x: y\ncontent-length: 5\r\n', `hello${smuggled}`],
    ['a size of a chunk in hexadecimal with 0x', chunked, `0x5\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a negative size', chunked, `-5\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a size with a plus', chunked, `+5\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a size beyond 64 bits', chunked, `10000000000000005\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a size with a blank in it', chunked, `5 5\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['no size', chunked, `\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a size that ends with LF alone', chunked, `5\nhello\r\n0\r\n\r\n${smuggled}`],
    ['an extension with LF in it', chunked, `5;a=\nb\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['an extension with a bare CR in it', chunked, `5;a=\rb\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a chunk that is longer than its size', chunked, `5\r\nhello!!0\r\n\r\n${smuggled}`],
    ['a chunk that ends with LF alone', chunked, `5\r\nhello\n0\r\n\r\n${smuggled}`],
    ['extensions without an end', chunked, `5;${'a'.repeat(40_000)}\r\nhello\r\n0\r\n\r\n${smuggled}`],
    [
      'trailers without an end',
      chunked,
      `5\r\nhello\r\n0\r\n${`a: ${'b'.repeat(100)}\r\n`.repeat(400)}\r\n${smuggled}`
    ],
    ['a length in the trailers', chunked, `5\r\nhello\r\n0\r\ncontent-length: 5\r\n\r\nhello${smuggled}`],
    ['a trailer with a NUL', chunked, `5\r\nhello\r\n0\r\na: \0\r\n\r\n${smuggled}`]
  ])('is refused and ends its connection: %s', async (_, lines, body) => {
    const { statuses, closed, arrived } = await send(lines, body)
    expect({ statuses: statuses.filter((status) => status !== 400 && status !== 431), closed, arrived }).toEqual({
      statuses: [],
      closed: true,
      arrived: []
    })
    expect(statuses.length).toBeLessThanOrEqual(1)
    nothingSmuggled()
  })

  it.each([
    ['a length', length('hello'), 'hello'],
    ['a length with zeros', 'content-length: 0005\r\n', 'hello'],
    ['a length with blanks before it', 'content-length:   5\r\n', 'hello'],
    ['chunks', chunked, '5\r\nhello\r\n0\r\n\r\n'],
    ['the coding in capitals', 'Transfer-Encoding: CHUNKED\r\n', '5\r\nhello\r\n0\r\n\r\n'],
    ['sizes with zeros', chunked, '0000005\r\nhello\r\n000\r\n\r\n'],
    ['an extension', chunked, '5;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n'],
    ['a chunk for each byte', chunked, `${[...'hello'].map((byte) => `1\r\n${byte}\r\n`).join('')}0\r\n\r\n`],
    ['an empty line before it', length('hello'), 'hello']
  ])('is one request with this body, and what comes behind it is the next: %s', async (name, lines, body) => {
    const path = newPath()
    const next = newPath()
    const before = name.startsWith('an empty line') ? '\r\n' : ''
    const text =
      `${before}POST /providers/test${path} HTTP/1.1\r\nhost: x\r\n${key}openai-beta: first\r\n${lines}\r\n${body}` +
      `GET /providers/test${next} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-second\r\n\r\n`
    const { statuses, text: answer } = await exchange(router.url, text, { answers: 2 })
    expect(statuses).toEqual([200, 200])
    expect(answer.indexOf(path)).toBeLessThan(answer.indexOf(next))
    expect(arrivedAt(path)).toMatchObject([{ body: 'hello', headers: { authorization: 'Bearer sk-caller' } }])
    expect(arrivedAt(next)).toMatchObject([{ body: '', headers: { authorization: 'Bearer sk-second' } }])
    expect(arrivedAt(next)[0]?.headers).not.toHaveProperty('openai-beta')
    nothingSmuggled()
  })

  it('has no headers in its trailers', async () => {
    const trailers = [
      'authorization: Bearer sk-smuggled',
      'openai-beta: x',
      'host: smuggled',
      'ehbp-encapsulated-key: x'
    ]
    const { statuses, arrived } = await send(chunked, `5\r\nhello\r\n0\r\n${trailers.join('\r\n')}\r\n\r\n`)
    expect(statuses).toEqual([200])
    expect(arrived).toMatchObject([{ body: 'hello', headers: { authorization: 'Bearer sk-caller' } }])
    expect(arrived[0]?.headers).not.toHaveProperty('openai-beta')
    nothingSmuggled()
  })

  it('is not finished by an end of the connection', async () => {
    for (const [lines, body] of [
      ['content-length: 100\r\n', 'hello'],
      [chunked, '5\r\nhello\r\n'],
      [chunked, '5\r\nhel'],
      [chunked, '5\r\nhello\r\n0\r\n']
    ] as const) {
      const path = newPath()
      const { hostname, port } = new URL(router.url)
      const socket = connect(Number(port), hostname)
      socket.on('error', () => undefined).resume()
      socket.end(`POST /providers/test${path} HTTP/1.1\r\nhost: x\r\n${key}${lines}\r\n${body}`)
      await once(socket, 'close')
      await until(() => router.context.calls.inside === 0)
      expect(arrivedAt(path)).toEqual([])
    }
    nothingSmuggled()
  })
})

describe('a request line', () => {
  const get = async (line: string, lines = '') => exchange(router.url, `${line}\r\nhost: x\r\n${key}${lines}\r\n`)

  it.each([
    ['another host', 'GET http://smuggled.example/providers/test/smuggled HTTP/1.1', 404],
    ['this host in absolute form', 'GET http://x/providers/test/smuggled HTTP/1.1', 404],
    ['a host without a scheme', 'GET //smuggled.example/providers/test/smuggled HTTP/1.1', 404],
    ['an asterisk', 'OPTIONS * HTTP/1.1', 404],
    ['an empty segment', 'GET /providers/test//smuggled HTTP/1.1', 400],
    ['a dot segment', 'GET /providers/test/../smuggled HTTP/1.1', 400],
    ['an encoded dot segment', 'GET /providers/test/%2e%2E/smuggled HTTP/1.1', 400],
    ['a backslash', 'GET /providers/test/..\\smuggled HTTP/1.1', 400],
    ['a fragment', 'GET /providers/test/smuggled#x HTTP/1.1', 400],
    ['bytes beyond ASCII', 'GET /providers/test/smuggled\xff HTTP/1.1', 400],
    ['an encoded line end', 'GET /providers/test/a%0d%0asmuggled HTTP/1.1', 400],
    ['a version that is none', 'GET /providers/test/smuggled HTTP/1.2', 400],
    ['HTTP/2 without an agreement', 'PRI * HTTP/2.0', 400],
    ['two blanks', 'GET /providers/test/smuggled HTTP/1.1 HTTP/1.1', 400],
    ['a method that is none', 'FETCH /providers/test/smuggled HTTP/1.1', 400],
    ['a method of WebDAV', 'PROPFIND /providers/test/smuggled HTTP/1.1', 405],
    ['TRACE', 'TRACE /providers/test/smuggled HTTP/1.1', 405]
  ])('is refused with %s', async (_, line, status) => {
    expect((await get(line)).statuses).toEqual([status])
    nothingSmuggled()
  })

  it('opens no tunnel', async () => {
    expect((await get('CONNECT smuggled.example:443 HTTP/1.1')).statuses).toEqual([404])
    nothingSmuggled()
  })

  it('may have a query that a path could not have, which goes on as it is or not at all', async () => {
    for (const query of ['?a=//..//x', '?a=http://other.example/', '?a b', '?a%0d%0ab', '?a\xff', '?a#b', '?{}"<>']) {
      const path = newPath()
      const { statuses } = await get(`GET /providers/test${path}${query} HTTP/1.1`)
      const arrived = provider.arrived.filter(({ url }) => url.includes(`${path}?`))
      expect({ query, statuses, urls: arrived.map(({ url }) => url) }).toEqual(
        statuses[0] === 200
          ? { query, statuses: [200], urls: [`/base${path}${query}`] }
          : { query, statuses: [expect.any(Number)], urls: [] }
      )
    }
  })

  it('of HTTP/1.0, or of what Node takes for HTTP too, is answered once', async () => {
    for (const line of ['GET %s HTTP/1.0', 'GET %s RTSP/1.0', 'GET %s']) {
      const { statuses, arrived } = await send('', '', { line })
      expect({ line, statuses, arrived: arrived.length }).toEqual({ line, statuses: [200], arrived: 1 })
    }
  })

  it('of HTTP/1.0 has no second request behind its chunks', async () => {
    const { arrived, statuses, closed } = await send(chunked, `0\r\n\r\n${smuggled}`, { line: 'POST %s HTTP/1.0' })
    expect({ more: arrived.length > 1 || statuses.length > 1, closed }).toEqual({ more: false, closed: true })
    nothingSmuggled()
  })
})

describe('a body where there is none', () => {
  it.each([
    ['GET with a length', 'GET', length(smuggled), smuggled],
    ['GET with chunks', 'GET', chunked, `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`],
    ['HEAD with a length', 'HEAD', length(smuggled), smuggled],
    ['GET with no chunks', 'GET', chunked, `0\r\n\r\n${smuggled}`]
  ])('is refused, and is no request: %s', async (_, method, lines, body) => {
    const { text, closed, arrived } = await send(lines, body, { line: `${method} %s HTTP/1.1` })
    expect({ head: text.slice(0, 12), closed, arrived }).toEqual({ head: 'HTTP/1.1 400', closed: true, arrived: [] })
    nothingSmuggled()
  })

  it.each([
    ['a websocket with a length', 'websocket', length(smuggled), smuggled],
    ['a websocket with chunks', 'websocket', chunked, `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`],
    ['a websocket with both', 'websocket', `content-length: 3\r\n${chunked}`, `0\r\n\r\n${smuggled}`]
  ])('ends a change of the protocol: %s', async (_, upgrade, lines, body) => {
    const more = `connection: Upgrade\r\nupgrade: ${upgrade}\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n`
    const { statuses, closed, arrived } = await send(more + lines, body, { line: 'GET %s HTTP/1.1' })
    expect({ statuses, closed, arrived }).toEqual({ statuses: [400], closed: true, arrived: [] })
    nothingSmuggled()
  })

  it('belongs to its request when the protocol that is offered is not taken', async () => {
    const more = 'connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n'
    const { statuses, arrived } = await send(more + length(smuggled), smuggled)
    expect(statuses).toEqual([200])
    expect(arrived).toMatchObject([{ body: smuggled }])
    expect(arrived[0]?.headers).not.toHaveProperty('http2-settings')
    expect(arrived[0]?.headers.upgrade).toBeUndefined()
    expect(provider.arrived.filter(({ url }) => url.includes('smuggled'))).toEqual([])
  })

  it('is asked for once with Expect, and another expectation changes nothing', async () => {
    const { statuses, text, arrived } = await send(`expect: 100-continue\r\n${length('hello')}`, 'hello')
    expect({ statuses, continues: text.split('100 Continue').length - 1 }).toEqual({ statuses: [200], continues: 1 })
    expect(arrived).toMatchObject([{ body: 'hello' }])
    expect(arrived[0]?.headers.expect).toBeUndefined()
    const other = await send(`expect: smuggled\r\n${length('hello')}`, 'hello')
    expect({ statuses: other.statuses, continues: other.text.includes('100 Continue') }).toEqual({
      statuses: [200],
      continues: false
    })
    expect(other.arrived).toMatchObject([{ body: 'hello' }])
    expect(other.arrived[0]?.headers.expect).toBeUndefined()
  })
})

describe('what comes behind', () => {
  const get = (path: string, lines = key) => `GET /providers/test${path} HTTP/1.1\r\nhost: x\r\n${lines}\r\n`

  it('a malformed request is not read', async () => {
    const path = newPath()
    for (const malformed of ['nonsense\r\n\r\n', 'GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n', '\0'.repeat(10)]) {
      const { statuses, closed } = await exchange(router.url, malformed + get(path), { answers: 2 })
      expect({ statuses, closed }).toEqual({ statuses: [400], closed: true })
    }
    await sleep(50)
    expect(arrivedAt(path)).toEqual([])
  })

  it('a refused request is answered in its turn', async () => {
    const [path, other] = [newPath(), newPath()]
    const body = '{"model":'
    const json = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n${key}content-type: application/json\r\n`
    const { statuses, text } = await exchange(
      router.url,
      `GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n${get(path)}${json}${length(body)}\r\n${body}${get(other)}`,
      { answers: 4 }
    )
    expect(statuses).toEqual([404, 200, 400, 200])
    expect(text.indexOf(`x-answer-to: /base${path}`)).toBeLessThan(text.indexOf('invalid_json'))
    expect(text.indexOf('invalid_json')).toBeLessThan(text.indexOf(`x-answer-to: /base${other}`))
  })

  it('an answer that has not ended, and is malformed, is not told as a part of that answer', async () => {
    // The rest of the answer would be just as long as the error: the caller would see a whole answer.
    const hanging = await rawProvider(cleanup, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 243\r\n\r\n{')
    })
    const silent = await rawProvider(cleanup, () => undefined)
    for (const [{ origin, connections }, expected] of [
      [hanging, /^HTTP\/1\.1 200 [^]*\r\n\r\n\{$/],
      [silent, /^$/]
    ] as const) {
      const sidecar = await fakeSidecar(cleanup)
      const other = await startRouter(cleanup, {
        SKR_URL: sidecar.url,
        CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' })
      })
      const { hostname, port } = new URL(other.url)
      const socket = connect(Number(port), hostname)
      let text = ''
      socket.on('error', () => undefined).on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.write(get('/x'))
      await until(() => connections.size === 1 && (origin === silent.origin || text.endsWith('{')))
      socket.write('nonsense\r\n\r\n')
      await once(socket, 'close')
      expect(text).toMatch(expected)
      await until(() => other.context.calls.inside === 0 && connections.size === 0)
      await until(() => other.requestLines().some(({ outcome }) => outcome === 'caller_gone'))
    }
  })
})

describe('headers', () => {
  it('that stand twice are refused, or the first one counts and nothing of the second is passed on', async () => {
    const twice = (name: string, first: string, second: string) => `${name}: ${first}\r\n${name}: ${second}\r\n`
    for (const [lines, expected] of [
      [twice('authorization', 'Bearer sk-first', 'Bearer sk-smuggled'), 400],
      [twice('Authorization', 'Bearer sk-first', 'Key sk-smuggled'), 400],
      [twice('x-api-key', 'sk-first', 'sk-smuggled'), 401],
      [twice('api-key', 'sk-first', 'sk-smuggled'), 401],
      [`authorization: Bearer sk-first\r\nx-api-key: sk-smuggled\r\n`, { authorization: 'Bearer sk-first' }],
      [`${key}${twice('content-type', 'text/plain', 'smuggled/x')}`, { 'content-type': 'text/plain' }],
      [`${key}${twice('ehbp-encapsulated-key', '00'.repeat(32), '11'.repeat(32))}`, 400],
      [`${key}${twice('confrouter-seal', 'v=1', 'v=1')}`, 400],
      [`${key}${twice('host', 'x', 'smuggled')}`, 400],
      [`${key}${twice('idempotency-key', 'a', 'b')}`, { 'idempotency-key': 'a, b' }]
    ] as const) {
      const path = newPath()
      const { statuses } = await exchange(
        router.url,
        `POST /providers/test${path} HTTP/1.1\r\nhost: x\r\n${lines}content-length: 2\r\n\r\n{}`
      )
      const [arrived] = arrivedAt(path)
      if (typeof expected === 'number') {
        expect({ lines, statuses, arrived }).toEqual({ lines, statuses: [expected], arrived: undefined })
        continue
      }
      expect({ lines, statuses, headers: arrived?.headers }).toMatchObject({
        lines,
        statuses: [200],
        headers: expected
      })
      expect(JSON.stringify(arrived)).not.toContain('smuggled')
      expect(arrived?.rawHeaders.filter((name) => name.toLowerCase() === 'authorization')).toHaveLength(1)
    }
  })

  it('that are named in Connection stay here, and so does everything that is not on the list', async () => {
    const lines = 'connection: content-length, authorization\r\nx-forwarded-for: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\n'
    const { statuses, arrived } = await send(
      `${lines}cookie: a=smuggled\r\nte: trailers\r\n${length('hello')}`,
      'hello'
    )
    expect(statuses).toEqual([200])
    expect(Object.keys(arrived[0]?.headers ?? {}).sort()).toEqual([
      'authorization',
      'connection',
      'content-length',
      'host',
      'user-agent'
    ])
    expect(arrived[0]?.headers).toMatchObject({ host: new URL(provider.origin).host, 'user-agent': 'confrouter' })
  })

  it('that are longer than 16 KB together are refused', async () => {
    const { statuses, closed, arrived } = await send(`x: ${'y'.repeat(17_000)}\r\n`, smuggled)
    expect({ statuses, closed, arrived }).toEqual({ statuses: [431], closed: true, arrived: [] })
    expect((await send(`x: ${'y'.repeat(15_000)}\r\n${length('hello')}`, 'hello')).statuses).toEqual([200])
  })

  it('that are many are refused, and never forgotten from some number on', async () => {
    const many = (number: number) => Array.from({ length: number }, (_, index) => `a${index}: b\r\n`).join('')
    expect((await send(`${many(90)}${length('hello')}`, 'hello')).arrived).toMatchObject([{ body: 'hello' }])
    for (const number of [98, 100, 130, 1100]) {
      const { statuses, closed, arrived } = await send(`${many(number)}${length('hello')}`, 'hello')
      expect({ number, statuses, closed, arrived }).toEqual({ number, statuses: [400], closed: true, arrived: [] })
    }
    // What stands behind them would say that a page in a browser sent this, which the router's key is not for.
    const body = '{"model":"m"}'
    for (const number of [0, 60, 96, 97, 98, 100, 200, 1000]) {
      const before = provider.arrived.length
      const { statuses } = await exchange(
        router.url,
        `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${length(body)}` +
          `${many(number)}origin: https://page.example\r\n\r\n${body}`
      )
      expect({ number, statuses }).toEqual({ number, statuses: [number < 97 ? 403 : 400] })
      expect(provider.arrived).toHaveLength(before)
    }
  })

  it('that come byte by byte are one request', async () => {
    const path = newPath()
    const text = `POST /providers/test${path} HTTP/1.1\r\nhost: x\r\n${key}${chunked}\r\n5;a=b\r\nhello\r\n0\r\nt: u\r\n\r\n`
    const { statuses } = await exchange(router.url, [...text])
    expect(statuses).toEqual([200])
    expect(arrivedAt(path)).toMatchObject([{ body: 'hello' }])
  })

  it('that never end, end their connection after the time for headers, also behind another answer', async () => {
    // The server looks every five seconds.
    router.server.headersTimeout = 500
    const drip = async (before: string) => {
      const { hostname, port } = new URL(router.url)
      const socket = connect(Number(port), hostname)
      let text = ''
      socket.on('error', () => undefined).on('data', (chunk: Buffer) => (text += chunk.toString()))
      const closed = once(socket, 'close')
      socket.write(before)
      if (before !== '') await until(() => text.includes('200 OK'))
      socket.write('GET /providers/test/smuggled HTTP/1.1\r\nhost: x\r\n')
      const dripping = setInterval(() => socket.write('a: b\r\n'), 200)
      await closed
      clearInterval(dripping)
      return text
    }
    const healthz = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'
    const texts = await Promise.all(['', healthz].map(drip))
    for (const text of texts) expect(text).toMatch(/HTTP\/1\.1 408 [^]*"invalid_request"/)
    router.server.headersTimeout = 15_000
    nothingSmuggled()
  })
})

describe('a connection', () => {
  it('that is closed by nobody else is closed by the router once it has refused what came', async () => {
    const { hostname, port } = new URL(router.url)
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    socket.on('error', () => undefined).resume()
    const before = router.context.connections.size
    socket.write('nonsense\r\n\r\n')
    await once(socket, 'end')
    // This end stays open, and writes on.
    const writing = setInterval(() => socket.write('more\r\n'), 100)
    await until(() => router.context.connections.size <= before, 10_000)
    clearInterval(writing)
    socket.destroy()
  })
})

describe('an answer', () => {
  it.each([
    ['300 to another place', 'HTTP/1.1 300 x\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n'],
    ['304 to another place', 'HTTP/1.1 304 x\r\nlocation: https://evil.example/\r\n\r\n'],
    ['399 to another place', 'HTTP/1.1 399 x\r\nlocation: //evil.example/\r\ncontent-length: 0\r\n\r\n'],
    ['two places', 'HTTP/1.1 307 x\r\nlocation: y\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n']
  ])('that redirects is refused: %s', async (_, answer) => {
    const { origin } = await rawProvider(cleanup, (socket) => socket.end(answer))
    const sidecar = await fakeSidecar(cleanup)
    const other = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' })
    })
    const { statuses, text } = await exchange(other.url, 'GET /providers/test/x HTTP/1.1\r\nhost: x\r\n\r\n')
    expect(statuses).toEqual([502])
    expect(text).toContain('redirect_refused')
    expect(text).not.toContain('evil')
  })

  it.each([
    ['no status', 'HTTP/1.1 000 x\r\ncontent-length: 2\r\n\r\n{}'],
    ['a change of the protocol', 'HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'],
    [
      'a length and a coding',
      'HTTP/1.1 200 x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n'
    ],
    ['two lengths', 'HTTP/1.1 200 x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} '],
    ['a folded header', 'HTTP/1.1 200 x\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\n{}'],
    ['lines that end with LF alone', 'HTTP/1.1 200 x\nx: a\ncontent-length: 2\n\n{}'],
    ['a NUL', 'HTTP/1.1 200 x\r\nx: a\0b\r\ncontent-length: 2\r\n\r\n{}'],
    ['no HTTP', 'SSH-2.0-x\r\n\r\n'],
    ['headers without an end', `HTTP/1.1 200 x\r\nx: ${'a'.repeat(70_000)}`]
  ])('that is no HTTP is one error, and not passed on: %s', async (_, answer) => {
    const { origin } = await rawProvider(cleanup, (socket) => socket.end(answer, 'latin1'))
    const sidecar = await fakeSidecar(cleanup)
    const other = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }),
      CONFROUTER_RETRIES: '0'
    })
    const { statuses, text } = await exchange(other.url, 'GET /providers/test/x HTTP/1.1\r\nhost: x\r\n\r\n')
    expect(statuses).toEqual([502])
    expect(text).toContain('"upstream_failed"')
    expect(other.logText()).not.toContain('unexpected error')
  })
})
