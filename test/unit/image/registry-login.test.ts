import { execFileSync } from 'node:child_process'
import { createPrivateKey, createSign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import {
  buildNativeImage,
  dockerCredentialSource,
  openRegistryImage,
  pushLayoutImage
} from '../../../src/image/index.js'
import { startRealRegistry, type RealRegistry } from './real-registry.js'
import { describeWith, temporaryFolder } from './support.js'

const service = 'registry of the test'
const issuer = 'token service of the test'

interface TokenRequest {
  readonly method: string
  readonly login: string | undefined
  readonly scope: string
  readonly grant: string | undefined
}

/** A token service as registries use it: it signs what it is asked for, if the login is right. */
class TokenService {
  readonly requests: TokenRequest[] = []
  /** How long a token holds; a registry allows a minute more. */
  secondsOfLife = 300
  private readonly server: Server
  private readonly folder = temporaryFolder()
  readonly certificate = join(this.folder, 'cert.pem')

  constructor() {
    const key = join(this.folder, 'key.pem')
    const subject = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=token']
    execFileSync('openssl', ['req', ...subject, '-keyout', key, '-out', this.certificate], { stdio: 'ignore' })
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const url = new URL(request.url ?? '', 'http://localhost')
        const form = new URLSearchParams(Buffer.concat(chunks).toString())
        const scope = url.searchParams.get('scope') ?? form.get('scope') ?? ''
        const login = request.headers.authorization
        this.requests.push({
          method: request.method ?? '',
          login,
          // The registry names the actions in any order.
          scope: scope.replace(/[^:]*$/, (actions) => actions.split(',').sort().join(',')),
          grant: form.get('refresh_token') ?? undefined
        })
        const isKnown = login === basic || form.get('refresh_token') === 'identity-token'
        if (!isKnown && login !== undefined) return void response.writeHead(401).end()
        response.end(JSON.stringify({ token: this.sign(readFileSync(key, 'utf8'), scope, isKnown) }))
      })
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/token`
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }

  /** Somebody unknown may pull and nothing else. */
  private sign(key: string, scope: string, isKnown: boolean): string {
    const [, name = '', actions = ''] = /^repository:(.*):([a-z,]+)$/.exec(scope) ?? []
    const granted = actions.split(',').filter((action) => isKnown || action === 'pull')
    const now = Math.floor(Date.now() / 1000)
    const x5c = [readFileSync(this.certificate, 'utf8').replace(/-----[^-]+-----|\s/g, '')]
    const claims = {
      ...{ iss: issuer, aud: service, sub: 'operator', jti: String(Math.random()) },
      ...{ iat: now, nbf: now - 400, exp: now + this.secondsOfLife },
      access: [{ type: 'repository', name, actions: granted }]
    }
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const text = `${encode({ typ: 'JWT', alg: 'RS256', x5c })}.${encode(claims)}`
    return `${text}.${createSign('sha256').update(text).sign(createPrivateKey(key)).toString('base64url')}`
  }
}

const basic = `Basic ${Buffer.from('operator:p:ss').toString('base64')}`

describeWith(['docker-registry', 'openssl'], 'a real registry with a token service', () => {
  const tokens = new TokenService()
  let registry: RealRegistry
  let reference: string
  let layout: string

  beforeAll(async () => {
    await tokens.start()
    registry = await startRealRegistry(temporaryFolder(), {
      token: { realm: tokens.realm, service, issuer, rootcertbundle: tokens.certificate }
    })
    reference = `${registry.host}/o/a:1`
    layout = temporaryFolder()
    const files = [{ path: '/app/router.cjs', mode: 0o444, content: Buffer.from('x'.repeat(1000)) }]
    await buildNativeImage({ layout, reference, files, config: { entrypoint: ['/app/router.cjs'] } })
  })
  beforeEach(() => {
    tokens.requests.length = 0
    tokens.secondsOfLife = 300
  })
  afterAll(() => {
    tokens.stop()
    registry.stop()
  })

  /** As `docker login` leaves it. */
  function credentials(entry: object) {
    const configFile = join(temporaryFolder(), 'config.json')
    writeFileSync(configFile, JSON.stringify({ auths: { [registry.host]: entry } }))
    return dockerCredentialSource({ configFile })
  }
  const password = () => credentials({ auth: Buffer.from('operator:p:ss').toString('base64') })

  it('lets nobody push without a login, or with a wrong one', async () => {
    const wrong = credentials({ auth: Buffer.from('operator:wrong').toString('base64') })
    for (const source of [undefined, wrong]) {
      const pushing = pushLayoutImage({ layout, reference, fetch, credentials: source })
      await expect(pushing).rejects.toMatchObject({ code: 'registry.not-logged-in' })
    }
  })

  it('takes a push with the password, for which tokens are asked as far as the registry wants them', async () => {
    const { digest } = await pushLayoutImage({ layout, reference, fetch, credentials: password() })
    const asked = { method: 'GET', login: basic, grant: undefined }
    expect(tokens.requests).toEqual([
      { ...asked, scope: 'repository:o/a:pull' },
      { ...asked, scope: 'repository:o/a:pull,push' }
    ])
    expect((await openRegistryImage({ reference, fetch, credentials: password() })).digest).toBe(digest)
  })

  it('gives an image to anybody whom its token service lets', async () => {
    const image = await openRegistryImage({ reference, fetch })
    for await (const chunk of image.layers[0]!.open()) void chunk
    expect(tokens.requests).toEqual([
      { method: 'GET', login: undefined, scope: 'repository:o/a:pull', grant: undefined }
    ])
  })

  it('takes the identity token of docker login', async () => {
    await openRegistryImage({ reference, fetch, credentials: credentials({ identitytoken: 'identity-token' }) })
    expect(tokens.requests).toMatchObject([{ method: 'POST', login: undefined, grant: 'identity-token' }])
  })

  it('is asked for another token when the first one is over', async () => {
    // The registry allows a minute more than the token says.
    tokens.secondsOfLife = -57
    const image = await openRegistryImage({ reference, fetch, credentials: password() })
    expect(tokens.requests).toHaveLength(1)
    tokens.secondsOfLife = 300
    await new Promise((resolve) => setTimeout(resolve, 5000))
    for await (const chunk of image.layers[0]!.open()) void chunk
    expect(tokens.requests).toHaveLength(2)
  }, 20_000)
})
