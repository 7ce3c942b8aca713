import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Agent, fetch as undiciFetch } from 'undici'
import { certificate, ecKey, extension, pem } from '../verify/certificate-forge.js'
import * as asn1 from '../verify/der-writer.js'
import { nodePrivateKey } from '../verify/forge.js'

export type Answer = (request: IncomingMessage, body: string, response: ServerResponse) => void | Promise<void>

export interface Loopback {
  readonly origin: string
  readonly requests: {
    readonly method: string
    readonly url: string
    readonly body: string
    readonly headers: object
  }[]
  close(): Promise<void>
}

/** A real server on 127.0.0.1 that keeps what it was asked. */
export async function serve(answer: Answer): Promise<Loopback> {
  return listen(createServer(), 'http', answer)
}

export interface TlsLoopback extends Loopback {
  /** A fetch that trusts this server's certificate beside none. */
  readonly fetch: typeof globalThis.fetch
  /** PEM. */
  readonly certificate: string
}

export async function serveTls(answer: Answer): Promise<TlsLoopback> {
  const pair = await ecKey('P-256')
  const der = await certificate({
    subject: '127.0.0.1',
    issuer: '127.0.0.1',
    subjectKey: pair,
    issuerKey: pair,
    extensions: [extension('2.5.29.17', asn1.sequence(asn1.der(0x87, Uint8Array.of(127, 0, 0, 1))))]
  })
  const cert = pem(der)
  const key = nodePrivateKey(pair).export({ format: 'pem', type: 'pkcs8' })
  const loopback = await listen(createTlsServer({ key, cert }), 'https', answer)
  const dispatcher = new Agent({ connect: { ca: cert } })
  const fetch = ((url: string | URL, init: object) =>
    undiciFetch(url, { ...init, dispatcher })) as unknown as typeof globalThis.fetch
  return {
    ...loopback,
    fetch,
    certificate: cert,
    close: async () => {
      await dispatcher.close()
      await loopback.close()
    }
  }
}

async function listen(server: Server, scheme: string, answer: Answer): Promise<Loopback> {
  const requests: Loopback['requests'] = []
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void (async () => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      requests.push({ method: request.method ?? '', url: request.url ?? '', body, headers: request.headers })
      await answer(request, body, response)
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `${scheme}://127.0.0.1:${port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}
