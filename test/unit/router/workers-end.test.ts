import type { RequestListener, ServerResponse } from 'node:http'
import process from 'node:process'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { type Answer, Cleanup, oneProvider, readAll, serve, until } from './harness.js'
import { bundleRouter, type ProcessOptions, startProcess } from './router-process.js'
import { call, openStream, routerWithWorkers, send, times } from './workers-harness.js'

let bundle: string
beforeAll(async () => {
  bundle = await bundleRouter()
})

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

const answering: RequestListener = (request, response) => void readAll(request).then(() => response.end('{}'))

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('the end of several workers', () => {
  async function streaming(environment: Record<string, string> = {}, options: ProcessOptions = {}) {
    const upstreams: ServerResponse[] = []
    const router = await routerWithWorkers(
      cleanup,
      bundle,
      2,
      (origin) => ({ CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }), ...environment }),
      (_, response) => {
        upstreams.push(response)
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      },
      options
    )
    const streams = await times(4, () => openStream(router.url))
    return { ...router, upstreams, streams, pids: await router.workers() }
  }

  it.each<[string, ProcessOptions]>([
    ['the first process', {}],
    ['the whole process group', { detached: true }]
  ])('lets streams finish after a SIGTERM to %s, and exits 0', async (_, options) => {
    const router = await streaming({}, options)
    const { pid = 0 } = router.child
    process.kill(options.detached === true ? -pid : pid, 'SIGTERM')
    await until(() => router.output().includes('"stopping"'))
    let refused = false
    while (!refused)
      refused = await call(router.url).then(
        () => false,
        () => true
      )
    // Who sends it twice means the same.
    process.kill(pid, 'SIGTERM')
    for (const upstream of router.upstreams) upstream.end('data: [DONE]\n\n')
    expect(await router.exit).toEqual({ code: 0, signal: null })
    expect(router.streams.map(({ text }) => text)).toEqual(Array(4).fill('data: 1\n\ndata: [DONE]\n\n'))
    expect(router.lines().at(-1)).toMatchObject({ msg: 'stopped', clean: true })
    expect(router.output()).not.toMatch(/worker lost|unexpected error/)
    expect(router.pids.filter(isRunning)).toEqual([])
  })

  it('breaks off what has not finished in time, and exits 0', async () => {
    const router = await streaming({ CONFROUTER_SHUTDOWN_SECONDS: '1' })
    const startedAt = performance.now()
    router.child.kill('SIGTERM')
    expect(await router.exit).toEqual({ code: 0, signal: null })
    expect(performance.now() - startedAt).toBeLessThan(3500)
    expect(router.lines().at(-1)).toMatchObject({ msg: 'stopped', clean: false })
    expect(router.streams.map(({ text }) => text)).toEqual(Array(4).fill('data: 1\n\n'))
  })

  it('does not wait for a worker that does not end', async () => {
    const router = await streaming({ CONFROUTER_SHUTDOWN_SECONDS: '0' })
    process.kill(router.pids[0] ?? 0, 'SIGSTOP')
    router.child.kill('SIGTERM')
    expect(await router.exit).toEqual({ code: 0, signal: null })
    expect(router.lines().at(-1)).toMatchObject({ msg: 'stopped', clean: false })
    expect(router.pids.filter(isRunning)).toEqual([])
  })

  it('comes with the end of the first process', async () => {
    const router = await streaming()
    router.child.kill('SIGKILL')
    await router.exit
    await until(() => !router.pids.some(isRunning))
  })

  it('is an exit with 1 when the port is taken', async () => {
    const origin = await serve(cleanup, answering)
    const router = await startProcess(cleanup, bundle, {
      SKR_URL: origin,
      PORT: new URL(origin).port,
      CONFROUTER_WORKERS: '3'
    })
    expect(await router.exit).toMatchObject({ code: 1 })
    expect(router.lines().filter(({ code }: Answer) => code === 'EADDRINUSE')).toHaveLength(1)
  })

  it('is an exit with 0 also while the key is waited for', async () => {
    const router = await startProcess(cleanup, bundle, { SKR_URL: 'http://127.0.0.1:1', CONFROUTER_WORKERS: '2' })
    const url = await router.url()
    expect(await send(url, '/healthz')).toMatchObject({ status: 200 })
    expect(await send(url, '/readyz')).toMatchObject({ status: 503 })
    router.child.kill('SIGTERM')
    expect(await router.exit).toEqual({ code: 0, signal: null })
  })
})
