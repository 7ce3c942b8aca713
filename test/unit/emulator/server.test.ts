import { describe, expect, it } from '@jest/globals'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import { rm } from 'node:fs/promises'
import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { type EmulatorRequest, type Handler, ServiceError } from '../../../src/emulator/http.js'
import { createListeners } from '../../../src/emulator/listeners.js'
import { serve } from '../../../src/emulator/server.js'
import { openStore } from '../../../src/emulator/store.js'
import { openTlsIdentity } from '../../../src/emulator/tls.js'
import { temporaryDirectory } from './support/emulator.js'
import { rawRequest } from './support/http.js'

async function withServer(handler: Handler, test: (origin: string, lines: string[]) => Promise<void>): Promise<void> {
  const lines: string[] = []
  const server = await serve({ handler, port: 0, bodyLimit: 100, log: (line) => lines.push(line) })
  try {
    await test(server.origin, lines)
  } finally {
    await server.close()
  }
}

/** With headers that `fetch` would not send; `PORT` stands for the server's. */
function statusOf(origin: string, headers: Readonly<Record<string, string>>): Promise<number> {
  const { port } = new URL(origin)
  const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replace('PORT', port)]))
  return new Promise((resolve, reject) => {
    const outgoing = request(origin, { headers: sent }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
}

describe('the server', () => {
  it('hands a request over with decoded path and query', async () => {
    const seen: EmulatorRequest[] = []
    const handler: Handler = async (request) => {
      seen.push(request)
      return { status: 200, body: {} }
    }
    await withServer(handler, async (origin) => {
      await fetch(`${origin}//subscriptions/S/?api%2Dversion=1&x=a%27b`, { method: 'PUT', body: 'text' })
      expect(seen[0]).toMatchObject({ method: 'PUT', path: '/subscriptions/S', origin })
      expect(seen[0]?.query.get('api-version')).toBe('1')
      expect(seen[0]?.query.get('x')).toBe("a'b")
      expect(new TextDecoder().decode(seen[0]?.body)).toBe('text')
    })
  })

  it('sends an error with an inner code in the shape of Key Vault, and one authenticate header', async () => {
    const handler: Handler = async () => {
      throw new ServiceError(401, 'Unauthorized', 'no', {
        innerCode: 'Inner',
        headers: { 'www-authenticate': 'Bearer x="y"' }
      })
    }
    await withServer(handler, async (origin) => {
      const answer = await fetch(origin)
      expect(answer.headers.get('www-authenticate')).toBe('Bearer x="y"')
      expect(await answer.json()).toEqual({
        error: { code: 'Unauthorized', message: 'no', innererror: { code: 'Inner' } }
      })
    })
  })

  it('says nothing of an unexpected error but that there was one', async () => {
    const handler: Handler = async () => {
      throw new Error('inner detail')
    }
    await withServer(handler, async (origin, lines) => {
      const answer = await fetch(origin)
      expect(answer.status).toBe(500)
      expect(await answer.text()).not.toContain('inner detail')
      expect(lines.join('\n')).toContain('inner detail')
    })
  })

  it('leaves the secret of an instance and the query out of its log', async () => {
    await withServer(
      async () => ({ status: 204 }),
      async (origin, lines) => {
        await fetch(`${origin}/instances/very-secret/metadata?resource=also-secret`)
        expect(lines.join('\n')).toContain('GET /instances/…/metadata 204')
        expect(lines.join('\n')).not.toContain('secret')
      }
    )
  })

  it('streams, and tells the handler when the caller hangs up', async () => {
    let aborted: (() => void) | undefined
    const hungUp = new Promise<void>((resolve) => (aborted = resolve))
    const handler: Handler = async ({ signal }) => {
      signal.addEventListener('abort', () => aborted?.())
      async function* words() {
        yield new TextEncoder().encode('first ')
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
      }
      return { status: 200, headers: { 'content-type': 'text/plain' }, body: words() }
    }
    await withServer(handler, async (origin) => {
      const leaving = new AbortController()
      const answer = await fetch(origin, { signal: leaving.signal })
      const { value } = (await answer.body?.getReader().read()) ?? {}
      expect(new TextDecoder().decode(value)).toBe('first ')
      leaving.abort()
      await hungUp
    })
  })

  it('refuses a body beyond the limit', async () => {
    await withServer(
      async () => ({ status: 200 }),
      async (origin) => {
        const answer = await fetch(origin, { method: 'POST', body: 'x'.repeat(101) }).catch(() => undefined)
        expect(answer?.status ?? 413).toBe(413)
        expect((await fetch(origin, { method: 'POST', body: 'x'.repeat(100) })).status).toBe(200)
      }
    )
  })

  it.each([
    ['a page of another site', { origin: 'https://evil.example' }],
    ['a page of no site', { origin: 'null' }],
    ['a browser that was told to go there', { 'sec-fetch-site': 'cross-site' }],
    ['a page of the same site', { 'sec-fetch-site': 'same-origin' }],
    ['a name that was bound to loopback', { host: 'evil.example' }],
    ['that name with the port', { host: 'evil.example:PORT' }],
    ['another port', { host: '127.0.0.1:1' }]
  ])('answers 403 to %s, and runs no handler', async (_, headers) => {
    let calls = 0
    const handler: Handler = async () => {
      calls++
      return { status: 200 }
    }
    await withServer(handler, async (origin) => {
      expect(await statusOf(origin, headers)).toBe(403)
      expect(await statusOf(origin, { host: 'LOCALHOST:PORT' })).toBe(200)
      expect(calls).toBe(1)
    })
  })

  it('asks the same of a caller over TLS', async () => {
    const directory = await temporaryDirectory()
    const tls = await openTlsIdentity(directory)
    const server = await serve({ handler: async () => ({ status: 200 }), port: 0, tls })
    const ask = (headers: Record<string, string>) => rawRequest(server.origin, tls.ca, { path: '/', headers })
    expect((await ask({})).status).toBe(200)
    expect((await ask({ host: `localhost:${server.port}` })).status).toBe(200)
    expect((await ask({ host: 'localhost:1' })).status).toBe(403)
    expect((await ask({ origin: server.origin })).status).toBe(403)
    await server.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('writes one line for a request, whatever its path holds', async () => {
    await withServer(
      async () => ({ status: 204 }),
      async (origin, lines) => {
        await fetch(`${origin}/a%0Aforged%20line%0D/${'x'.repeat(1000)}`)
        expect(lines).toHaveLength(1)
        expect(lines[0]).toMatch(/^GET \/a\?forged line\?\/x{200,300} 204 \d+ ms$/)
      }
    )
  })

  it('listens on 127.0.0.1 and on no other address', async () => {
    await withServer(
      async () => ({ status: 200 }),
      async (origin) => {
        const socket = connect({ host: '127.0.0.2', port: Number(new URL(origin).port) })
        const outcome = await new Promise((resolve) => {
          socket.once('connect', () => resolve('connected'))
          socket.once('error', () => resolve('refused'))
        })
        socket.destroy()
        expect(outcome).toBe('refused')
      }
    )
  })
})

describe('listeners', () => {
  it('keep the port of a name, give it up when forgotten, and replace a handler in place', async () => {
    const directory = await temporaryDirectory()
    const store = await openStore(join(directory, 'state'))
    const ports = store.collection<number>('ports')
    const tls = await openTlsIdentity(join(directory, 'tls'))
    const open = () => createListeners({ directory, ports, tls })
    const first = open()
    const { origin } = await first.openOn('a', async () => ({ status: 201 }), { plain: true })
    await first.openOn('a', async () => ({ status: 202 }), { plain: true })
    expect((await fetch(origin)).status).toBe(202)
    await first.closeAll()
    const second = open()
    expect((await second.openOn('a', async () => ({ status: 200 }), { plain: true })).origin).toBe(origin)
    await second.forget('a')
    expect(ports.get('a')).toBeUndefined()
    await second.closeAll()
    await rm(directory, { recursive: true, force: true })
  })

  it('take a free port when the preferred one is taken', async () => {
    const directory = await temporaryDirectory()
    const store = await openStore(join(directory, 'state'))
    const listeners = createListeners({
      directory,
      ports: store.collection<number>('ports'),
      tls: await openTlsIdentity(join(directory, 'tls'))
    })
    const first = await listeners.openOn('a', async () => ({ status: 200 }), {})
    const second = await listeners.openOn('b', async () => ({ status: 200 }), { preferred: first.port })
    expect(second.port).not.toBe(first.port)
    await listeners.closeAll()
    await rm(directory, { recursive: true, force: true })
  })
})

describe('listeners beside the first one', () => {
  it('get ports below those that the system hands out, and skip what is taken or kept', async () => {
    const directory = join(await temporaryDirectory(), 'emulator')
    const ports = (await openStore(join(directory, 'state'))).collection<number>('ports')
    const listeners = createListeners({ directory, ports, tls: await openTlsIdentity(join(directory, 'tls')) })
    const handler: Handler = async () => ({ status: 200 })
    await listeners.openOn('first', handler, { plain: true })
    const second = await listeners.openOn('second', handler, { plain: true })
    expect(second.port).toBeLessThan(32_768)
    await ports.set('soft-deleted vault', second.port + 1)
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.listen(second.port + 2, '127.0.0.1', resolve))
    const third = await listeners.openOn('third', handler, { plain: true })
    expect(third.port).toBeGreaterThan(second.port + 2)
    expect(third.port).toBeLessThan(32_768)
    blocker.close()
    await listeners.closeAll()
    await rm(join(directory, '..'), { recursive: true, force: true })
  })

  it('say which port is taken and which command of which directory gives it up', async () => {
    const directory = join(await temporaryDirectory(), 'emulator')
    const ports = (await openStore(join(directory, 'state'))).collection<number>('ports')
    const listeners = createListeners({ directory, ports, tls: await openTlsIdentity(join(directory, 'tls')) })
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
    const { port } = blocker.address() as { port: number }
    await ports.set('key vault kv1', port)
    await expect(listeners.open('key vault kv1', async () => ({ status: 200 }))).rejects.toMatchObject({
      code: 'emulator.port-taken',
      problem: `port ${port} on 127.0.0.1 is not free`,
      why: expect.stringContaining('key vault kv1'),
      next: [
        expect.any(String),
        expect.stringContaining('CONFROUTER_EMULATOR_PORT'),
        `confrouter emulator reset --state-dir ${join(directory, '..')}`
      ]
    })
    blocker.close()
    await rm(join(directory, '..'), { recursive: true, force: true })
  })
})

describe('the store', () => {
  it.each([
    ['cut short', '{"a":'],
    ['a list', '[]'],
    ['empty', '']
  ])('names a state file that is %s, and what to do', async (_, text) => {
    const directory = join(await temporaryDirectory(), 'emulator')
    await openStore(join(directory, 'state'))
    await writeFile(join(directory, 'state', 'vaults.json'), text)
    await expect(openStore(join(directory, 'state'))).rejects.toMatchObject({
      code: 'emulator.state-damaged',
      fault: 'machine',
      problem: expect.stringContaining(join(directory, 'state', 'vaults.json')),
      next: [`confrouter emulator reset --state-dir ${join(directory, '..')}`]
    })
    await rm(join(directory, '..'), { recursive: true, force: true })
  })
})

describe('the TLS identity', () => {
  it('is a leaf for loopback under a root that signs nothing else, and is made once', async () => {
    const directory = await temporaryDirectory()
    const made = await openTlsIdentity(directory)
    const [leaf, root] = [new X509Certificate(made.certificate), new X509Certificate(made.ca)]
    expect(leaf.verify(root.publicKey)).toBe(true)
    expect(leaf.subjectAltName).toContain('IP Address:127.0.0.1')
    expect(leaf.subjectAltName).toContain('DNS:localhost')
    expect([leaf.ca, root.ca]).toEqual([false, true])
    expect(await openTlsIdentity(directory)).toEqual(made)
    await rm(directory, { recursive: true, force: true })
  })

  it('is made anew when it is about to end, or when its files do not belong together', async () => {
    const directory = await temporaryDirectory()
    const made = await openTlsIdentity(directory)
    const later = new Date(Date.now() + 392 * 24 * 3600 * 1000)
    const renewed = await openTlsIdentity(directory, later)
    expect(renewed.ca).not.toBe(made.ca)
    await writeFile(join(directory, 'ca.pem'), made.ca)
    expect((await openTlsIdentity(directory, later)).certificate).not.toBe(renewed.certificate)
    await rm(directory, { recursive: true, force: true })
  })
})
