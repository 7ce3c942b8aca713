import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { routerFetch } from '../../../src/composition/router-fetch.js'
import { createTlsIdentity, type TlsIdentity } from '../../../src/router/self-signed.js'
import { OtherTlsKey } from '../../../src/steps/index.js'

const open: Server[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map(close))
})

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })

/** A router's own TLS; `requests` counts what reached it. */
async function serve({ key, certificate }: TlsIdentity, port = 0) {
  const seen = { requests: 0 }
  const server = createServer({ key, cert: certificate }, (_request, response) => {
    seen.requests++
    response.setHeader('connection', 'close').end('here')
  })
  open.push(server)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const address = server.address() as AddressInfo
  return { seen, server, port: address.port, url: `https://127.0.0.1:${address.port}/` }
}

async function causeOf(call: Promise<unknown>): Promise<unknown> {
  const error: unknown = await call.catch((reason: unknown) => reason)
  return error instanceof Error ? error.cause : error
}

describe('routerFetch', () => {
  it('talks to a router with the key that it was given, which no authority vouches for', async () => {
    const identity = createTlsIdentity(new Date())
    const { url } = await serve(identity)
    const fetch = routerFetch(identity.spkiSha256)
    expect(await (await fetch(url)).text()).toBe('here')
    expect(await (await fetch(new URL(url), { method: 'POST', body: 'x' })).text()).toBe('here')
  })

  it('sends nothing to anybody else and says whose key it saw', async () => {
    const [wanted, other] = [createTlsIdentity(new Date()), createTlsIdentity(new Date())]
    const { url, seen } = await serve(other)
    const cause = await causeOf(routerFetch(wanted.spkiSha256)(url, { headers: { authorization: 'Bearer secret' } }))
    expect(cause).toBeInstanceOf(OtherTlsKey)
    expect(cause).toMatchObject({ shown: other.spkiSha256 })
    expect(seen.requests).toBe(0)
  })

  it('looks at each connection, also after one that was right', async () => {
    const [wanted, other] = [createTlsIdentity(new Date()), createTlsIdentity(new Date())]
    const first = await serve(wanted)
    const fetch = routerFetch(wanted.spkiSha256)
    await (await fetch(first.url)).text()
    await close(first.server)
    const second = await serve(other, first.port)
    expect(await causeOf(fetch(first.url))).toBeInstanceOf(OtherTlsKey)
    expect(second.seen.requests).toBe(0)
  })

  it('takes any certificate where nothing is known yet', async () => {
    const { url } = await serve(createTlsIdentity(new Date()))
    expect((await routerFetch('any')(url)).status).toBe(200)
  })

  it('is needed: no other fetch takes such a certificate', async () => {
    const { url, seen } = await serve(createTlsIdentity(new Date()))
    await expect(fetch(url)).rejects.toThrow()
    expect(seen.requests).toBe(0)
  })
})
