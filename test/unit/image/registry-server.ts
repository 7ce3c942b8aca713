import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Blobs } from './oci-layout.js'

export interface Recorded {
  readonly method: string
  readonly path: string
  readonly authorization: string | undefined
  readonly range: string | undefined
  readonly body: string
}

/** Answers in place of the registry when it returns true. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => boolean

export interface RegistryServerOptions {
  readonly blobs?: Blobs
  /** `repository/tag` → digest */
  readonly tags?: Readonly<Record<string, string>>
  readonly login?: 'none' | 'basic' | 'bearer'
  readonly fault?: Fault
}

export const user = 'operator'
export const password = 'p:ss'
export const identityToken = 'identity-token-of-docker-login'

/** A registry that serves blobs from memory, records what it was asked, and misbehaves on request. */
export class RegistryServer {
  readonly requests: Recorded[] = []
  /** Tokens that the registry accepts; removing one makes it expire. */
  readonly tokens = new Set<string>()
  private readonly server: Server

  private constructor(private readonly options: RegistryServerOptions) {
    this.server = createServer((request, response) => void this.answer(request, response))
  }

  static async start(options: RegistryServerOptions = {}): Promise<RegistryServer> {
    const registry = new RegistryServer(options)
    await new Promise<void>((resolve) => registry.server.listen(0, '127.0.0.1', resolve))
    return registry
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString()
    const { authorization, range } = request.headers
    this.requests.push({ method: request.method ?? '', path: request.url ?? '', authorization, range, body })
    if (this.options.fault?.(request, response) === true) return
    const url = new URL(request.url ?? '', 'http://localhost')
    if (url.pathname === '/token') this.giveToken(url, body, authorization, response)
    else if (!this.isAllowed(authorization)) this.challenge(response)
    else this.serve(url.pathname, range, response)
  }

  private isAllowed(authorization: string | undefined): boolean {
    switch (this.options.login ?? 'none') {
      case 'none':
        return true
      case 'basic':
        return authorization === basic
      case 'bearer':
        return this.tokens.has(authorization?.replace(/^Bearer /, '') ?? '')
    }
  }

  private challenge(response: ServerResponse): void {
    const bearer = `Bearer realm="http://${this.host}/token",service="the registry",scope="repository:o/a:pull"`
    response.writeHead(401, { 'www-authenticate': this.options.login === 'basic' ? 'Basic realm="x"' : bearer })
    response.end('{"errors":[{"code":"UNAUTHORIZED"}]}')
  }

  private giveToken(url: URL, body: string, authorization: string | undefined, response: ServerResponse): void {
    const form = new URLSearchParams(body)
    const known = authorization === basic || form.get('refresh_token') === identityToken
    if (!known && authorization !== undefined) {
      response.writeHead(401).end()
      return
    }
    const scope = url.searchParams.get('scope') ?? form.get('scope') ?? ''
    const token = `token-${this.tokens.size}-${scope}`
    this.tokens.add(token)
    response.end(JSON.stringify(form.has('refresh_token') ? { access_token: token } : { token }))
  }

  private serve(path: string, range: string | undefined, response: ServerResponse): void {
    const [, kind, name = ''] = /^\/v2\/o\/a\/(manifests|blobs)\/(.*)$/.exec(path) ?? []
    const digest = name.startsWith('sha256:') ? name : this.options.tags?.[name]
    const content = digest === undefined ? undefined : this.options.blobs?.content.get(digest)
    if (kind === undefined || digest === undefined || content === undefined) {
      response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
      return
    }
    if (kind === 'manifests') {
      const { mediaType } = JSON.parse(content.toString()) as { mediaType: string }
      response.setHeader('content-type', mediaType).setHeader('docker-content-digest', digest)
    }
    const start = /^bytes=([0-9]+)-$/.exec(range ?? '')?.[1]
    if (start !== undefined) response.statusCode = 206
    response.end(content.subarray(Number(start ?? 0)))
  }
}

const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
