import { STATUS_CODES, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { SidecarFailure } from './failure.js'

interface DownstreamRequest {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Sends a request and returns the body of a 200. */
export type Downstream = (request: DownstreamRequest, activity: { send: string; read: string }) => Promise<string>

const maximumAnswer = 4 * 1024 * 1024

/**
 * Calls a service as the sidecar does: no time limit of its own, and errors in the words of Go's
 * client, because those are what callers of the real one have learnt to read.
 *
 * @param ca PEM of the only roots that TLS certificates may end in
 */
export function createDownstream(ca: string): Downstream {
  return async (request, activity) => {
    const { status, body } = await send(request, ca).catch((error: unknown) => {
      throw new SidecarFailure(`${activity.send}: HTTP GET failed: ${networkError(request, error)}`)
    })
    if (status === 200) return body
    const statusText = `${status} ${STATUS_CODES[status] ?? ''}`.trimEnd()
    throw new SidecarFailure(`${activity.read}: ${body}: http response status equal to ${statusText}`)
  }
}

function send(
  { method, url, headers, body }: DownstreamRequest,
  ca: string
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const target = new URL(url)
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const options = { method, headers: { 'user-agent': 'Go-http-client/1.1', ...headers, ...length } }
    const onResponse = (response: IncomingMessage): void => {
      readText(response).then((text) => resolve({ status: response.statusCode ?? 0, body: text }), reject)
    }
    const outgoing =
      target.protocol === 'https:'
        ? httpsRequest(target, { ...options, ca }, onResponse)
        : httpRequest(target, options, onResponse)
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maximumAnswer) throw new Error('answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function networkError({ method, url }: DownstreamRequest, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const verb = method === 'GET' ? 'Get' : 'Post'
  const head = `${verb} ${JSON.stringify(url)}`
  if (!URL.canParse(url)) return `parse ${JSON.stringify(url)}: invalid URL`
  const { hostname, host } = new URL(url)
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${head}: dial tcp: lookup ${hostname}: no such host`
    case 'ECONNREFUSED':
      return `${head}: dial tcp ${host}: connect: connection refused`
    case 'ECONNRESET':
      return `${head}: EOF`
    default:
      return `${head}: ${isCertificateError(code) ? 'tls: failed to verify certificate: x509: ' : ''}${
        error instanceof Error ? error.message : 'unknown error'
      }`
  }
}

function isCertificateError(code: unknown): boolean {
  return typeof code === 'string' && /CERT|SIGNATURE|ISSUER/.test(code)
}
