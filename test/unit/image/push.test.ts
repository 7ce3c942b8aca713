import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { buildNativeImage, openRegistryImage, pushLayoutImage } from '../../../src/image/index.js'
import { blobFile } from './oci-layout.js'
import { startRealRegistry, type RealRegistry } from './real-registry.js'
import { password, RegistryServer, user, type RegistryServerOptions } from './registry-server.js'
import { describeWith, temporaryFolder } from './support.js'

/** An image in a layout, under the name that it is to have at the host. */
async function layoutFor(reference: string) {
  const layout = temporaryFolder()
  const files = [{ path: '/app/router.cjs', mode: 0o444, content: Buffer.from('x'.repeat(1000)) }]
  const { digest } = await buildNativeImage({ layout, reference, files, config: { entrypoint: ['/app/router.cjs'] } })
  return { layout, digest }
}

describe('pushLayoutImage', () => {
  let server: RegistryServer
  let uploads: { name: string; length: number; query: string }[]

  beforeEach(() => {
    uploads = []
  })
  afterEach(async () => {
    await server.close()
  })

  /** A registry that takes uploads, unless `first` answers. */
  async function start(first: RegistryServerOptions['fault'] = () => false, login?: RegistryServerOptions['login']) {
    server = await RegistryServer.start({
      ...(login === undefined ? {} : { login }),
      fault: (request, response) => first(request, response) || (login === undefined && take(request, response))
    })
    return server
  }

  function take(request: IncomingMessage, response: ServerResponse): boolean {
    const url = new URL(request.url ?? '', 'http://localhost')
    if (request.method === 'POST') response.writeHead(202, { location: '/v2/o/a/blobs/uploads/7?state=abc' }).end()
    else if (request.method === 'PUT') {
      uploads.push({ name: url.pathname, length: Number(request.headers['content-length']), query: url.search })
      response.writeHead(201).end()
    } else return false
    return true
  }

  async function push(more: Partial<Parameters<typeof pushLayoutImage>[0]> = {}) {
    const reference = `${server.host}/o/a:1`
    const { layout, digest } = await layoutFor(reference)
    const pushing = pushLayoutImage({ layout, reference, fetch, wait: async () => undefined, ...more })
    return { pushing, digest, layout }
  }

  it('sends config and layer, each with its digest, and the manifest last', async () => {
    await start()
    const { pushing, digest, layout } = await push()
    expect(await pushing).toEqual({ digest })
    const manifest = JSON.parse(readFileSync(blobFile(layout, digest), 'utf8'))
    const query = (blob: string) => `?state=abc&digest=${encodeURIComponent(blob)}`
    expect(uploads).toEqual([
      { name: '/v2/o/a/blobs/uploads/7', length: manifest.config.size, query: query(manifest.config.digest) },
      { name: '/v2/o/a/blobs/uploads/7', length: manifest.layers[0].size, query: query(manifest.layers[0].digest) },
      { name: '/v2/o/a/manifests/1', length: expect.any(Number), query: '' }
    ])
  })

  it('does not send blobs that are there', async () => {
    await start((request, response) => {
      if (request.method !== 'HEAD') return false
      response.writeHead(200).end()
      return true
    })
    await (
      await push()
    ).pushing
    expect(uploads.map(({ name }) => name)).toEqual(['/v2/o/a/manifests/1'])
  })

  it('refuses a registry that wants the upload at another host, or opens none', async () => {
    for (const location of ['https://elsewhere.example/upload', 'http://[', undefined]) {
      await start((request, response) => {
        if (request.method !== 'POST') return false
        response.writeHead(202, location === undefined ? {} : { location }).end()
        return true
      })
      await expect((await push()).pushing).rejects.toMatchObject({ code: 'registry.failed' })
      expect(uploads).toEqual([])
      await server.close()
    }
  })

  it('notices a registry that stored another manifest', async () => {
    await start((request, response) => {
      if (request.method !== 'PUT' || !request.url?.includes('/manifests/')) return false
      response.writeHead(201, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }).end()
      return true
    })
    await expect((await push()).pushing).rejects.toMatchObject({ code: 'registry.failed' })
  })

  it('sends nothing that is damaged', async () => {
    await start()
    const reference = `${server.host}/o/a:1`
    const { layout, digest } = await layoutFor(reference)
    const manifest = JSON.parse(readFileSync(blobFile(layout, digest), 'utf8'))
    writeFileSync(blobFile(layout, manifest.layers[0].digest), 'damaged')
    await expect(pushLayoutImage({ layout, reference, fetch })).rejects.toMatchObject({ code: 'image.digest-mismatch' })
    // The config is sound; the layer is found damaged before a byte of it is on its way.
    expect(uploads.map(({ name }) => name)).toEqual(['/v2/o/a/blobs/uploads/7'])
    expect(server.requests.filter(({ method }) => method === 'PUT')).toHaveLength(1)
  })

  it('sends a blob again from its beginning when the registry fails', async () => {
    const received: number[] = []
    await start((request, response) => {
      if (request.method !== 'PUT' || !request.url?.includes('/uploads/')) return false
      received.push(server.requests.at(-1)?.body.length ?? 0)
      response.writeHead(received.length === 1 ? 503 : 201).end()
      return true
    })
    const { pushing, digest, layout } = await push()
    expect(await pushing).toEqual({ digest })
    const { config, layers } = JSON.parse(readFileSync(blobFile(layout, digest), 'utf8'))
    expect(received.slice(0, 2)).toEqual([config.size, config.size])
    expect([received.length, layers.length]).toEqual([3, 1])
  })

  it('logs in, and says so when that is not enough', async () => {
    await start(undefined, 'basic')
    const { pushing } = await push({ credentials: async () => ({ kind: 'password', username: user, password }) })
    await expect(pushing).rejects.toMatchObject({ code: 'image.not-found' })
    expect(server.requests[1]).toMatchObject({ method: 'HEAD', authorization: expect.stringMatching(/^Basic /) })
    await expect((await push()).pushing).rejects.toMatchObject({ code: 'registry.not-logged-in' })
  })
})

describeWith(['docker-registry', 'skopeo'], 'pushLayoutImage to a real registry', () => {
  let registry: RealRegistry
  beforeAll(async () => {
    registry = await startRealRegistry(temporaryFolder())
  })
  afterAll(() => {
    registry.stop()
  })

  it('gives it the digest that it has here, twice', async () => {
    const reference = `${registry.host}/o/a:1`
    const { layout, digest } = await layoutFor(reference)
    expect(await pushLayoutImage({ layout, reference, fetch })).toEqual({ digest })
    expect(await pushLayoutImage({ layout, reference, fetch })).toEqual({ digest })
    const seen = execFileSync('skopeo', [
      'inspect',
      '--tls-verify=false',
      '--format={{.Digest}}',
      `docker://${reference}`
    ])
    expect(seen.toString().trim()).toBe(digest)
    expect((await openRegistryImage({ reference: `${registry.host}/o/a@${digest}`, fetch })).digest).toBe(digest)
  })
})
