import { once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { Cleanup, fakeSidecar, oneProvider, serve, until } from './harness.js'
import { bundleRouter, startProcess } from './router-process.js'

let bundle: string
beforeAll(async () => {
  bundle = await bundleRouter()
})

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

describe('the bundle', () => {
  it('has nothing of the CLI, the Azure SDKs or the emulator inside', () => {
    expect(bundle.length).toBeGreaterThan(100_000)
    for (const word of ['@azure/', 'commander', 'listr2', 'execa', 'src/emulator', 'src/cli']) {
      expect({ word, found: bundle.includes(word) }).toEqual({ word, found: false })
    }
  })

  it('has its packages inside, so that it runs where there are none', () => {
    const required = [...bundle.matchAll(/\brequire\("([^"]+)"\)/g)].map(([, name]) => name ?? '')
    const foreign = required.filter((name) => !/^(node:)?[a-z_0-9]+(\/[a-z]+)*$/.test(name))
    expect(foreign).toEqual([])
    expect(required).not.toContain('undici')
    expect(required).not.toContain('pino')
    expect(required).not.toContain('prom-client')
  })

  it('gets ready, serves, and on SIGTERM lets a stream finish and exits 0', async () => {
    const upstreams: ServerResponse[] = []
    const [sidecar, origin] = await Promise.all([
      fakeSidecar(cleanup),
      serve(cleanup, (_, response) => {
        upstreams.push(response)
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      })
    ])
    const router = await startProcess(cleanup, bundle, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' })
    })
    const url = await router.url()
    await until(() => router.output().includes('"ready"'), 10_000)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    const evidence = await (await fetch(`${url}/.well-known/confrouter`)).json()
    expect(Buffer.from(evidence.ccePolicy, 'base64').toString()).toBe('package policy\n')

    const request = http.request(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' }
    })
    request.end('{"model":"m","stream":true}')
    const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
    let text = ''
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await until(() => text !== '')
    router.child.kill('SIGTERM')
    await until(() => router.output().includes('"stopping"'))
    upstreams[0]?.end('data: [DONE]\n\n')
    expect(await router.exit).toEqual({ code: 0, signal: null })
    expect(text).toBe('data: 1\n\ndata: [DONE]\n\n')
    expect(router.lines().at(-1)).toMatchObject({ msg: 'stopped', clean: true })
  })

  it('exits 0 on SIGTERM also while it waits for its key', async () => {
    const router = await startProcess(cleanup, bundle, { SKR_URL: 'http://127.0.0.1:1' })
    await router.url()
    router.child.kill('SIGTERM')
    expect(await router.exit).toEqual({ code: 0, signal: null })
  })

  it('does not start with a wrong environment, and names what is wrong', async () => {
    const router = await startProcess(cleanup, bundle, { KID: '', CONFROUTER_TYPO: '1' })
    expect(await router.exit).toMatchObject({ code: 3 })
    expect(router.lines().map(({ level, problem }) => [level, problem])).toEqual([
      ['error', 'KID must be set'],
      ['error', 'CONFROUTER_TYPO is not a known variable']
    ])
  })

  it('exits 1 when its port is taken', async () => {
    const origin = await serve(cleanup, (_, response) => void response.end())
    const router = await startProcess(cleanup, bundle, { PORT: new URL(origin).port })
    expect(await router.exit).toMatchObject({ code: 1 })
    expect(router.output()).toContain('EADDRINUSE')
  })
})
