import { execFileSync } from 'node:child_process'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import {
  buildNativeImage,
  imageFacts,
  openArchiveImage,
  openRegistryImage,
  type RegistryCredentials
} from '../../../src/image/index.js'
import { Blobs, types } from './oci-layout.js'
import { freePort, startRealRegistry, type RealRegistry } from './real-registry.js'
import { identityToken, password, RegistryServer, user, type RegistryServerOptions } from './registry-server.js'
import { bytesOf, describeWith, temporaryFolder, vectors } from './support.js'
import { tarFile } from './tar-file.js'

const tar = tarFile([{ name: 'x', content: Array.from({ length: 50 }, (_, i) => sha256Hex(`${i}`)).join('') }])
const blobs = new Blobs()
const image = blobs.image([{ tar, blob: gzipSync(tar), mediaType: `${types.layer}+gzip` }])
const index = blobs.index([blobs.image([{ tar }], { architecture: 'arm64' }), image])
const login: RegistryCredentials = { kind: 'password', username: user, password }

const servers: RegistryServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

async function start(options: RegistryServerOptions = {}): Promise<RegistryServer> {
  const server = await RegistryServer.start({ blobs, tags: { 1: image.digest, list: index.digest }, ...options })
  servers.push(server)
  return server
}

/** Opens `o/a` at a server, with waits recorded and not waited. */
function open(server: RegistryServer, name = ':1', more: Partial<Parameters<typeof openRegistryImage>[0]> = {}) {
  return openRegistryImage({ reference: `${server.host}/o/a${name}`, fetch, wait: async () => undefined, ...more })
}

describe('openRegistryImage', () => {
  it('opens by tag, by digest and by both, and checks everything on the way', async () => {
    const server = await start()
    for (const name of [':1', `@${image.digest}`, `:gone@${image.digest}`, ':list', `@${index.digest}`]) {
      const opened = await open(server, name)
      expect(opened.digest).toBe(image.digest)
      expect(opened.config.Cmd).toEqual(['amd64'])
      expect(await bytesOf(opened.layers[0]!.open())).toEqual(tar)
    }
    expect(server.requests.filter(({ path }) => path.endsWith('/manifests/1'))).toHaveLength(1)
  })

  it('refuses a manifest that has another digest than the pinned one, or than the registry says', async () => {
    const other = await start({ fault: sendManifest({ 'content-type': types.manifest }) })
    await expect(open(other, `@${image.digest}`)).rejects.toMatchObject({ code: 'image.digest-mismatch' })
    const lying = await start({
      fault: sendManifest({ 'content-type': types.manifest, 'docker-content-digest': image.digest })
    })
    await expect(open(lying, ':1')).rejects.toMatchObject({ code: 'image.digest-mismatch' })
  })

  it('refuses a manifest without a media type, of another one, or of an old kind', async () => {
    for (const [type, code] of [
      ['', 'image.malformed'],
      ['application/json', 'image.malformed'],
      [types.index, 'image.malformed']
    ]) {
      const server = await start({ fault: sendManifest(type === '' ? {} : { 'content-type': String(type) }) })
      await expect(open(server)).rejects.toMatchObject({ code })
    }
    const schema1 = await start({
      fault: (request, response) => {
        response.setHeader('content-type', 'application/vnd.docker.distribution.manifest.v1+prettyjws')
        response.end('{"schemaVersion":1}')
        return true
      }
    })
    await expect(open(schema1)).rejects.toMatchObject({ code: 'image.unsupported' })
  })

  it('asks again for a manifest that breaks off', async () => {
    let breaks = 2
    const server = await start({
      fault: (request, response) => {
        if (!request.url?.endsWith('/manifests/1') || breaks-- <= 0) return false
        response.writeHead(200, { 'content-type': types.manifest, 'content-length': '1000' })
        response.write('{', () => response.destroy())
        return true
      }
    })
    expect((await open(server)).digest).toBe(image.digest)
    expect(server.requests.filter(({ path }) => path.endsWith('/manifests/1'))).toHaveLength(3)
    breaks = 100
    await expect(open(server)).rejects.toMatchObject({ code: 'registry.unreachable' })
  })

  it('stops reading a manifest that does not end', async () => {
    const server = await start({
      fault: (_, response) => {
        response.setHeader('content-type', types.manifest)
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65536, 0x20)));
        }
        response.on('drain', more)
        more()
        return true
      }
    })
    await expect(open(server)).rejects.toMatchObject({ code: 'image.too-large' })
  })

  it('throws by the end of a blob that was replaced, and stops at one that does not end', async () => {
    const server = await start({
      fault: (request, response) => {
        if (!request.url?.includes('/blobs/') || !isLayer(request)) return false
        response.end(gzipSync(Buffer.alloc(300_000)))
        return true
      }
    })
    const [layer] = (await open(server)).layers
    await expect(bytesOf(layer!.open())).rejects.toMatchObject({ code: 'image.digest-mismatch' })
  })

  it('says what is not there', async () => {
    const server = await start()
    await expect(open(server, ':none')).rejects.toMatchObject({
      code: 'image.not-found',
      why: expect.stringContaining('MANIFEST_UNKNOWN')
    })
    await expect(open(server, `@sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({ code: 'image.not-found' })
  })

  it('says so when nobody answers', async () => {
    const waits: number[] = []
    const opening = openRegistryImage({
      reference: `127.0.0.1:${await freePort()}/o/a:1`,
      fetch,
      wait: async (milliseconds) => void waits.push(milliseconds)
    })
    await expect(opening).rejects.toMatchObject({ code: 'registry.unreachable', exitCode: 5 })
    expect(waits).toEqual([500, 1000, 2000, 4000])
  })

  it('stops at once when it is told to, with the caller’s reason', async () => {
    const server = await start({ fault: () => true })
    const controller = new AbortController()
    const reason = new Error('enough')
    const opening = open(server, ':1', { signal: controller.signal })
    setTimeout(() => {
      controller.abort(reason)
    }, 50)
    await expect(opening).rejects.toBe(reason)
    const waiting = open(await start({ fault: status(503) }), ':1', { signal: controller.signal, wait: undefined })
    await expect(waiting).rejects.toBe(reason)
  })
})

describe('faults of a registry', () => {
  it.each([429, 500, 502, 503, 504])('are tried again after %i, with growing waits', async (code) => {
    let left = 3
    const server = await start({ fault: (request, response) => left-- > 0 && status(code)(request, response) })
    const waits: number[] = []
    await open(server, ':1', { wait: async (milliseconds) => void waits.push(milliseconds) })
    expect(waits).toEqual([500, 1000, 2000])
  })

  it('are waited for as long as Retry-After says, within reason', async () => {
    const headers = ['7', '9999', 'Wed, 21 Oct 2026 07:28:00 GMT', '-1']
    const server = await start({
      fault: (_, response) => {
        const after = headers.shift()
        if (after === undefined) return false
        response.writeHead(429, { 'retry-after': after }).end()
        return true
      }
    })
    const waits: number[] = []
    await open(server, ':1', { wait: async (milliseconds) => void waits.push(milliseconds) })
    expect(waits).toEqual([7000, 30_000, 2000, 4000])
  })

  it('are given up in the end, and never tried again when another attempt cannot help', async () => {
    const down = await start({ fault: status(503) })
    await expect(open(down)).rejects.toMatchObject({ code: 'registry.failed', exitCode: 5 })
    expect(down.requests).toHaveLength(5)
    const teapot = await start({ fault: status(418) })
    await expect(open(teapot)).rejects.toMatchObject({ code: 'registry.failed' })
    expect(teapot.requests).toHaveLength(1)
  })

  it('in the middle of a blob are continued where it broke', async () => {
    for (const ranges of [true, false]) {
      let broken = 0
      const server = await start({
        fault: (request, response) => {
          if (!isLayer(request)) return false
          const content = blobs.content.get(layerDigest)!
          if (broken++ < 2) {
            response.writeHead(200, { 'content-length': content.length })
            response.write(content.subarray(0, 100 * broken), () => response.destroy())
            return true
          }
          if (ranges) return false
          response.end(content)
          return true
        }
      })
      const [layer] = (await open(server)).layers
      expect(await bytesOf(layer!.open())).toEqual(tar)
      const asked = server.requests.filter(({ path }) => path.includes(layerDigest)).map(({ range }) => range)
      expect(asked).toEqual([undefined, 'bytes=100-', 'bytes=200-'].slice(0, asked.length))
    }
  })
})

describe('redirects of a registry', () => {
  it('are followed without the Authorization', async () => {
    const storage = await start()
    const server = await start({
      login: 'basic',
      fault: (request, response) => {
        if (!isLayer(request)) return false
        response.writeHead(307, { location: `http://${storage.host}${request.url ?? ''}` }).end()
        return true
      }
    })
    const [layer] = (await open(server, ':1', { credentials: async () => login })).layers
    expect(await bytesOf(layer!.open())).toEqual(tar)
    expect(server.requests.at(-1)?.authorization).toMatch(/^Basic /)
    expect(storage.requests.map(({ authorization }) => authorization)).toEqual([undefined])
  })

  it('are refused when they go in circles, lead to another scheme, or away from HTTPS', async () => {
    const circle = await start({
      fault: (request, response) => {
        response.writeHead(302, { location: request.url }).end()
        return true
      }
    })
    await expect(open(circle)).rejects.toMatchObject({ code: 'registry.failed' })
    expect(circle.requests).toHaveLength(6)
    for (const location of ['file:///etc/passwd', 'ftp://x/', 'http://[']) {
      const server = await start({
        fault: (_, response) => {
          response.writeHead(302, { location }).end()
          return true
        }
      })
      await expect(open(server)).rejects.toMatchObject({ code: 'registry.failed' })
    }
    const asked: string[] = []
    const secure = openRegistryImage({
      reference: 'registry.example/o/a:1',
      wait: async () => undefined,
      fetch: async (url) => {
        asked.push(typeof url === 'string' ? url : 'no text')
        return new Response(null, { status: 307, headers: { location: 'http://storage.example/x' } })
      }
    })
    await expect(secure).rejects.toMatchObject({ code: 'registry.failed' })
    expect(asked).toEqual(['https://registry.example/v2/o/a/manifests/1'])
  })
})

describe('the login at a registry', () => {
  it('is anonymous with a token where that is enough', async () => {
    const server = await start({ login: 'bearer' })
    await open(server)
    const [first, token, second] = server.requests
    expect([first?.authorization, token?.authorization]).toEqual([undefined, undefined])
    expect(token?.path).toBe('/token?service=the+registry&scope=repository%3Ao%2Fa%3Apull')
    expect(second?.authorization).toBe('Bearer token-0-repository:o/a:pull')
  })

  it('sends the password to the token service and only there', async () => {
    const server = await start({ login: 'bearer' })
    const asked: string[] = []
    await open(server, ':1', { credentials: async (registry) => (asked.push(registry), login) })
    expect(asked).toEqual([server.host])
    for (const { path, authorization } of server.requests) {
      expect(authorization?.startsWith('Basic ') ?? false).toBe(path.startsWith('/token'))
    }
  })

  it('sends an identity token by POST, as OAuth wants it', async () => {
    const server = await start({ login: 'bearer' })
    await open(server, ':1', { credentials: async () => ({ kind: 'identity-token', token: identityToken }) })
    const token = server.requests[1]
    expect(token).toMatchObject({ method: 'POST', path: '/token', authorization: undefined })
    expect(Object.fromEntries(new URLSearchParams(token?.body))).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: identityToken,
      service: 'the registry',
      scope: 'repository:o/a:pull'
    })
  })

  it('asks for another token when the first one has expired', async () => {
    const server = await start({ login: 'bearer' })
    const opened = await open(server)
    server.tokens.clear()
    expect(await bytesOf(opened.layers[0]!.open())).toEqual(tar)
  })

  it('uses basic authentication where the registry wants it', async () => {
    const server = await start({ login: 'basic' })
    expect((await open(server, ':1', { credentials: async () => login })).digest).toBe(image.digest)
  })

  it.each<[string, RegistryServerOptions, RegistryCredentials | undefined]>([
    ['basic and nobody is logged in', { login: 'basic' }, undefined],
    ['basic and the password is wrong', { login: 'basic' }, { ...login, password: 'hunter2' }],
    ['basic and there is only an identity token', { login: 'basic' }, { kind: 'identity-token', token: 'hunter2' }],
    ['a token and the password is wrong', { login: 'bearer' }, { ...login, password: 'hunter2' }],
    ['something unknown', { fault: unauthorized('Negotiate abc') }, login],
    ['something and does not say what', { fault: unauthorized(undefined) }, login],
    ['nobody', { fault: status(403) }, login]
  ])('fails with a remedy when it wants %s', async (_, options, credentials) => {
    const server = await start(options)
    const error: unknown = await open(server, ':1', { credentials: async () => credentials }).catch(
      (caught: unknown) => caught
    )
    expect(error).toMatchObject({
      code: 'registry.not-logged-in',
      exitCode: 4,
      next: [`docker login ${server.host}`]
    })
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  })

  it('does not send credentials to a token service without HTTPS, unless the registry has none either', async () => {
    const asked: string[] = []
    const opening = openRegistryImage({
      reference: 'registry.example/o/a:1',
      wait: async () => undefined,
      credentials: async () => login,
      fetch: async (url) => {
        asked.push(typeof url === 'string' ? url : 'no text')
        const challenge = 'Bearer realm="http://token.example/token",service="x"'
        return new Response(null, { status: 401, headers: { 'www-authenticate': challenge } })
      }
    })
    await expect(opening).rejects.toMatchObject({ code: 'registry.failed' })
    expect(asked).toEqual(['https://registry.example/v2/o/a/manifests/1'])
  })

  it.each(['{}', '[]', 'null', '{"token":""}', '{"token":"a b"}', '{"token":"a\\r\\nx: y"}', '{"token":7}', 'no JSON'])(
    'refuses the token answer %s',
    async (answer) => {
      const server = await start({
        login: 'bearer',
        fault: (request, response) => {
          if (!request.url?.startsWith('/token')) return false
          response.end(answer)
          return true
        }
      })
      await expect(open(server)).rejects.toMatchObject({
        code: expect.stringMatching(/^(registry.failed|image.malformed)$/)
      })
    }
  )

  it('tries again when the token service is overloaded', async () => {
    let left = 2
    const server = await start({
      login: 'bearer',
      fault: (request, response) =>
        request.url?.startsWith('/token') === true && left-- > 0 && status(503)(request, response)
    })
    expect((await open(server)).digest).toBe(image.digest)
  })
})

describeWith(['docker-registry', 'skopeo'], 'a real registry', () => {
  let registry: RealRegistry
  let host: string

  beforeAll(async () => {
    registry = await startRealRegistry(temporaryFolder())
    host = registry.host
  })

  afterAll(() => {
    registry.stop()
  })

  it('gives back what skopeo pushed, with the root hashes that the archive has', async () => {
    for (const [file, kind] of [
      ['features-oci-gzip.tar', 'oci-archive'],
      ['features-docker.tar', 'docker-archive']
    ] as const) {
      const archive = join(vectors, file)
      const reference = `${host}/features/${kind}:1`
      const from = kind === 'oci-archive' ? `${kind}:${archive}` : `${kind}:${archive}:localhost/features:1`
      execFileSync('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', from, `docker://${reference}`])
      const opened = await openRegistryImage({ reference, fetch })
      const inspected = execFileSync('skopeo', [
        'inspect',
        '--tls-verify=false',
        '--format={{.Digest}}',
        `docker://${reference}`
      ])
      expect(opened.digest).toBe(inspected.toString().trim())
      const local = await openArchiveImage(archive, 'localhost/features:1')
      expect((await imageFacts(opened)).layers).toEqual((await imageFacts(local)).layers)
    }
  })

  it('takes a natively built image from skopeo under the digest that was computed here', async () => {
    const layout = temporaryFolder()
    const { digest } = await buildNativeImage({
      layout,
      reference: 'ghcr.io/o/a:1',
      files: [{ path: '/app/router.cjs', mode: 0o444, content: Buffer.from('x') }],
      config: { entrypoint: ['/app/router.cjs'] }
    })
    const to = `docker://${host}/native:1`
    execFileSync('skopeo', ['copy', '--quiet', '--preserve-digests', '--dest-tls-verify=false', `oci:${layout}:1`, to])
    expect((await openRegistryImage({ reference: `${host}/native@${digest}`, fetch })).digest).toBe(digest)
  })
})

const layerDigest = [...blobs.content.keys()].find((digest) => blobs.content.get(digest)!.equals(gzipSync(tar)))!

function isLayer(request: IncomingMessage): boolean {
  return request.url?.includes(layerDigest) === true
}

function status(code: number) {
  return (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(code).end()
    return true
  }
}

function unauthorized(challenge: string | undefined) {
  return (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(401, challenge === undefined ? {} : { 'www-authenticate': challenge }).end()
    return true
  }
}

/** Sends a valid manifest of another image for every request. */
function sendManifest(headers: Readonly<Record<string, string>>) {
  const other = new Blobs()
  const manifest = other.image([{ tar: tarFile([]) }])
  return (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, headers).end(other.content.get(manifest.digest))
    return true
  }
}
