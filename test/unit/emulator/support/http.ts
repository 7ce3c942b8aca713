import { request } from 'node:https'
import type { IncomingHttpHeaders } from 'node:http'

export interface RawAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
  readonly text: string
}

export interface RawRequest {
  readonly method?: string
  /** As it goes over the wire: nothing is normalized. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Sends exactly these bytes, which `fetch` and the SDKs would tidy up. */
export function rawRequest(
  origin: string,
  ca: string,
  { method = 'GET', path, headers = {}, body }: RawRequest
): Promise<RawAnswer> {
  const { hostname, port } = new URL(origin)
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, method, path, headers, ca, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        const isJson = response.headers['content-type']?.includes('json') ?? false
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          body: isJson ? (JSON.parse(text) as unknown) : undefined
        })
      })
    })
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}
