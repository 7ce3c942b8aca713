import { X509Certificate } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../src/base/digest.js'
import type { VerifiedEvidence } from '../../src/client/index.js'
import { createFetch } from '../../src/client/create-fetch.js'
import { type RouterVerdict, verifyRouter } from '../../src/client/verify-router.js'
import { requireSameServer } from '../../src/commands/same-server.js'
import { routerTransport } from '../../src/composition/router-transport.js'
import { createTlsIdentity } from '../../src/router/self-signed.js'
import { Cleanup, readAll } from '../unit/router/harness.js'
import { type AttestedRouter, startAttestedRouter } from './attested.js'
import { local } from './setup.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let attested: AttestedRouter
beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-own'] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { CONFROUTER_TLS_PORT: '0' })
})

const question = {
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: 'Bearer sk-own' },
  body: JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] })
}

/** Node's own fetch for the router, and the one that trusts the attestation provider for that. */
const send: typeof fetch = (input, init) => {
  const { origin } = new URL(input instanceof Request ? input.url : String(input))
  return origin === attested.attestationProvider.origin ? attested.fetch(input, init) : fetch(input, init)
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup.add(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('a router whose TLS ends in its container', () => {
  it('is called over a connection that is held against the TLS key of its evidence', async () => {
    const url = attested.router.tlsUrl
    const verdicts: RouterVerdict[] = []
    const call = createFetch({
      url,
      trust: attested.trust,
      ...routerTransport(send),
      compareKeyEndpoints: true,
      onVerdict: (verdict) => verdicts.push(verdict)
    })
    const answer = await call(`${url}/v1/chat/completions`, question)
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: 'You said: hello' } }] })
    // Over that connection too: over any other these keys would not be read.
    expect(verdicts.map(({ keyEndpoints }) => keyEndpoints?.map(({ outcome }) => outcome))).toEqual([
      ['match', 'match']
    ])
  })

  it('is asked for keys beside its evidence over no other connection', async () => {
    const url = attested.router.tlsUrl
    const { fetch: forEvidence } = routerTransport(send)
    const options = { url, trust: attested.trust, fetch: forEvidence, now: () => new Date(), compareKeyEndpoints: true }
    const { verdict, keyEndpoints } = await verifyRouter(options)
    expect({ verdict, outcomes: keyEndpoints?.map(({ outcome }) => outcome) }).toEqual({
      verdict: 'trusted',
      outcomes: ['unchecked', 'unchecked']
    })
  })

  it('is not called through somebody who passes its evidence on over TLS of his own', async () => {
    const seen: string[] = []
    const { key, certificate } = createTlsIdentity(new Date())
    const between = createServer({ key, cert: certificate }, (request, response) => {
      void (async () => {
        seen.push(request.url ?? '')
        const body = await readAll(request)
        const answer = await fetch(`${attested.router.url}${request.url}`, {
          method: 'POST',
          body: new Uint8Array(body)
        })
        response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
      })()
    })
    const url = await listening(between)
    const call = createFetch({ url, trust: attested.trust, ...routerTransport(send) })
    await expect(call(`${url}/v1/chat/completions`, question)).rejects.toMatchObject({ code: 'call.other-server' })
    expect(seen).toEqual(['/.well-known/confrouter'])
    const passing = routerTransport(send)
    const { fetch: forEvidence } = passing
    const options = { trust: attested.trust, fetch: forEvidence, now: () => new Date() }
    const verdict = await verifyRouter({ url, ...options })
    if (verdict.verdict !== 'trusted') throw new Error('genuine evidence was rejected')
    const { signal } = new AbortController()
    await expect(requireSameServer(passing, url, verdict.evidence, signal)).rejects.toMatchObject({
      fault: 'evidence',
      code: 'verify.other-server'
    })
    const untold = { ...verdict.evidence, tls: undefined }
    await expect(requireSameServer(passing, url, untold, signal)).rejects.toMatchObject({
      code: 'verify.other-server'
    })
    // He can also break the connection on which his key would be seen: that is no proof of anything.
    between.closeAllConnections()
    await new Promise((resolve) => between.close(resolve))
    await expect(requireSameServer(passing, url, verdict.evidence, signal)).rejects.toMatchObject({
      fault: 'cloud',
      code: 'verify.not-checked'
    })
    const own = routerTransport(send)
    const right = await verifyRouter({ url: attested.router.tlsUrl, ...options, fetch: own.fetch })
    if (right.verdict !== 'trusted') throw new Error('genuine evidence was rejected')
    await requireSameServer(own, attested.router.tlsUrl, right.evidence, signal)
  })

  it('is asked for evidence again over the connection that there is', async () => {
    const { key, certificate } = createTlsIdentity(new Date())
    let connections = 0
    const server = createServer({ key, cert: certificate }, (_, response) => response.end('{}'))
    server.on('secureConnection', () => connections++)
    const url = await listening(server)
    const { fetch: forEvidence } = routerTransport(fetch)
    const ask = async (): Promise<string> => (await forEvidence(`${url}/.well-known/confrouter`)).text()
    await ask()
    // Node's own fetch is tried first each time, and gives up before it is connected.
    connections = 0
    await ask()
    await ask()
    expect(connections).toBe(0)
  })

  it('is given up if it shows its key and then lets the caller hang', async () => {
    const { key, certificate } = createTlsIdentity(new Date())
    const url = await listening(
      createServer({ key, cert: certificate }, (request, response) => {
        if (request.url !== '/healthz') response.end('{}')
      })
    )
    const transport = routerTransport(fetch)
    await (await transport.fetch(`${url}/.well-known/confrouter`)).text()
    const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })
    const evidence = { tls: sha256Hex(spki) } as unknown as VerifiedEvidence
    const { signal } = new AbortController()
    await expect(requireSameServer(transport, url, evidence, signal, 100)).rejects.toMatchObject({
      fault: 'cloud',
      code: 'verify.not-checked'
    })
    const reason = new Error('interrupted')
    await expect(requireSameServer(transport, url, evidence, AbortSignal.abort(reason), 100)).rejects.toBe(reason)
  })

  it('gives nothing but its evidence over a connection that nobody has vouched for', async () => {
    const { fetch: forEvidence } = routerTransport(send)
    await expect(forEvidence(`${attested.router.tlsUrl}/healthz`)).rejects.toThrow('fetch failed')
  })
})
