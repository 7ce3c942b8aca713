import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type SealedEhbpRequest, sealEhbp } from '../../src/seal/ehbp-client.js'
import { deriveKeys } from '../../src/seal/node/derive-keys.js'
import { Cleanup, fakeSidecar, oneProvider, post, readAll, until } from '../unit/router/harness.js'
import { bundleRouter, type RouterProcess, startProcess } from '../unit/router/router-process.js'
import { vectorKey } from '../unit/seal/test-keys.js'
import { answerTo, type StreamingProvider, streamingProvider } from './streaming-provider.js'

/** One process of the router with all that goes wrong around many streams, one after the other. */

const cleanup = new Cleanup()
let router: RouterProcess
let url: string
let provider: StreamingProvider
let sidecar: SwitchedPort
let sealedRequests: readonly { readonly prompt: string; readonly sealed: SealedEhbpRequest }[]
let before: Resources

beforeAll(async () => {
  const [bundle, { hpke }] = await Promise.all([bundleRouter(), vectorKey().then((key) => deriveKeys(key.privateKey))])
  provider = await streamingProvider(cleanup)
  sidecar = await switchedPort(cleanup, (await fakeSidecar(cleanup)).url)
  router = await startProcess(cleanup, bundle, {
    SKR_URL: sidecar.url,
    KEY_REFRESH_SECONDS: '1',
    CONFROUTER_PROVIDERS: oneProvider(provider.origin, { auth: 'none' }),
    CONFROUTER_RETRIES: '0',
    CONFROUTER_MAX_CONCURRENT_CALLS: '2000',
    CONFROUTER_MAX_CALLS_PER_CALLER: '2000',
    CONFROUTER_CALLS_PER_MINUTE: '1000000'
  })
  url = await router.url()
  await until(() => router.output().includes('"msg":"ready"'), 15_000)
  sealedRequests = await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const prompt = `sealed ${index}`
      const sealed = await sealEhbp({
        recipient: hpke.publicKey,
        method: 'POST',
        path: '/v1/chat/completions',
        headers: {},
        body: Buffer.from(JSON.stringify({ model: 'm', stream: true, prompt }))
      })
      return { prompt, sealed }
    })
  )
  before = await resources()
}, 60_000)

afterAll(() => cleanup.run())

interface Resources {
  readonly descriptors: number
  readonly rssBytes: number
  readonly openCalls: number
  readonly openStreams: number
  readonly heldBytes: number
}

async function resources(): Promise<Resources> {
  const metrics = await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text()
  const gauge = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(metrics)?.[1] ?? Number.NaN)
  const status = readFileSync(`/proc/${router.child.pid}/status`, 'utf8')
  return {
    descriptors: readdirSync(`/proc/${router.child.pid}/fd`).length,
    rssBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024,
    openCalls: gauge('confrouter_open_calls'),
    openStreams: gauge('confrouter_open_streams'),
    heldBytes: gauge('confrouter_held_bytes')
  }
}

/** Connections to the sidecar come and go with each refresh of the key. */
const slack = 4

/** Waits until nothing is left of what was under way. */
async function settled(): Promise<Resources> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const now = await resources()
    const left = {
      openCalls: now.openCalls,
      openStreams: now.openStreams,
      heldBytes: now.heldBytes,
      streamsOfProvider: provider.open.size,
      socketsOfProvider: provider.sockets.size,
      descriptors: Math.max(0, now.descriptors - before.descriptors - slack)
    }
    if (Object.values(left).every((number) => number === 0)) return now
    if (performance.now() > deadline) throw new Error(`something is left: ${JSON.stringify(left)}`)
    await sleep(100)
  }
}

interface Stream {
  readonly request: http.ClientRequest
  readonly answer: IncomingMessage
  readonly prompt: string
  readonly sealed: SealedEhbpRequest | undefined
}

/** Begins a stream, every second one sealed, each on a connection of its own. */
async function open(index: number, more: object = {}): Promise<Stream> {
  const plain = { prompt: `plain ${index}`, sealed: undefined }
  const { prompt, sealed } = index % 2 === 0 ? plain : (sealedRequests[index % sealedRequests.length] ?? plain)
  const request = http.request(`${url}/v1/chat/completions`, {
    agent: false,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...sealed?.headers }
  })
  request.on('error', () => undefined)
  request.end(sealed?.body ?? JSON.stringify({ model: 'm', stream: true, prompt, ...more }))
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  answer.on('error', () => undefined)
  if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}: ${(await readAll(answer)).toString()}`)
  return { request, answer, prompt, sealed }
}

/** Some hundred at a time, as many as a listener has room for that waits for its turn. */
async function openMany(count: number): Promise<Stream[]> {
  const streams: Stream[] = []
  while (streams.length < count) {
    const next = Array.from({ length: Math.min(200, count - streams.length) }, (_, index) =>
      open(streams.length + index)
    )
    streams.push(...(await Promise.all(next)))
  }
  return streams
}

/** What the caller has got, and whether it was told that this is all. */
async function read({ answer, sealed }: Stream): Promise<{ text: string; isWhole: boolean }> {
  let text = ''
  try {
    if (sealed === undefined) for await (const chunk of answer) text += String(chunk)
    else {
      const headers = new Headers()
      for (const [name, value] of Object.entries(answer.headers)) headers.set(name, String(value))
      const body = Readable.toWeb(answer) as unknown as ReadableStream<Uint8Array>
      const opened = sealed.openResponse({ status: 200, headers, body })
      opened.receipt.catch(() => undefined)
      const decoder = new TextDecoder()
      for await (const chunk of opened.body as unknown as AsyncIterable<Uint8Array>) {
        text += decoder.decode(chunk, { stream: true })
      }
    }
  } catch {
    return { text, isWhole: false }
  }
  return { text, isWhole: answer.complete }
}

async function round(count: number): Promise<void> {
  const streams = await openMany(count)
  // All at the same time, and each has its first event.
  expect(provider.open.size).toBe(count)
  expect((await resources()).openCalls).toBe(count)
  const reading = streams.map(read)
  await provider.finish()
  const answers = await Promise.all(reading)
  const wrong = streams.filter(({ prompt }, index) => {
    const { text, isWhole } = answers[index] ?? { text: '', isWhole: false }
    return !isWhole || text !== answerTo(prompt)
  })
  expect(wrong.map(({ prompt }) => prompt)).toEqual([])
}

describe('a thousand streams at the same time', () => {
  let rssBytes = 0

  it('come whole, each to its caller, and leave nothing behind', async () => {
    await round(1000)
    rssBytes = (await settled()).rssBytes
  }, 60_000)

  it('take no more memory the second time', async () => {
    await round(1000)
    const after = await settled()
    expect(after.rssBytes).toBeLessThan(rssBytes * 1.3)
  }, 60_000)
})

describe('streams in the middle', () => {
  it('are broken, and never ended, when the provider dies', async () => {
    const streams = await openMany(200)
    const reading = streams.map(read)
    provider.kill()
    for (const { text, isWhole } of await Promise.all(reading)) {
      expect(isWhole).toBe(false)
      expect(text).not.toContain('[DONE]')
    }
    await settled()
    expect(router.lines().filter(({ outcome }) => outcome === 'upstream_broke_off')).toHaveLength(200)
  }, 60_000)

  it('end at the provider when their callers go', async () => {
    const streams = await openMany(200)
    expect(provider.open.size).toBe(200)
    for (const { request } of streams) request.destroy()
    await until(() => provider.open.size === 0, 15_000)
    await settled()
    expect(router.lines().filter(({ outcome }) => outcome === 'caller_gone')).toHaveLength(200)
  }, 60_000)

  it('wait for callers that read slowly, and are not kept in memory for them', async () => {
    const { rssBytes } = await settled()
    const megabytes = 16
    const streams = await Promise.all(Array.from({ length: 8 }, (_, index) => open(2 * index, { megabytes })))
    // Nobody reads; what is not held back would be here by now.
    await sleep(1500)
    const grown = (await resources()).rssBytes - rssBytes
    expect(grown).toBeLessThan((streams.length * megabytes * 1024 ** 2) / 3)
    const lengths = await Promise.all(
      streams.map(async ({ answer }) => {
        let length = 0
        for await (const chunk of answer as AsyncIterable<Buffer>) length += chunk.length
        return answer.complete ? length : 0
      })
    )
    expect(new Set(lengths)).toEqual(new Set([megabytes * 1024 ** 2]))
    await settled()
  }, 60_000)
})

describe('a sidecar that is gone', () => {
  it('leaves calls alone, makes fresh evidence impossible, and is used again when it is back', async () => {
    const evidence = async () => {
      const { status, json } = await post(`${url}/.well-known/confrouter`, { nonce: 'A'.repeat(22) })
      return status === 200 ? typeof json.maa.token : `${status} ${json.error.code}`
    }
    const refreshes = (): string[] =>
      router
        .lines()
        .filter(({ msg }) => String(msg).includes('key'))
        .map(({ level }) => level)
    expect(await evidence()).toBe('string')
    const streams = await openMany(20)
    sidecar.off()
    const known = refreshes().length
    expect(await evidence()).toBe('502 attestation_failed')
    await until(() => refreshes().slice(known).includes('warn'), 15_000)
    streams.push(...(await openMany(20)))
    const reading = streams.map(read)
    await provider.finish()
    expect((await Promise.all(reading)).every(({ isWhole }) => isWhole)).toBe(true)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    expect((await fetch(`${url}/.well-known/confrouter`)).status).toBe(200)
    sidecar.on()
    expect(await evidence()).toBe('string')
    await settled()
  }, 60_000)
})

describe('after all of this', () => {
  it('the process is the same one, and nothing unexpected has happened in it', async () => {
    const { descriptors } = await settled()
    expect(descriptors).toBeLessThanOrEqual(before.descriptors + slack)
    expect(router.child.exitCode).toBeNull()
    expect(router.output()).not.toMatch(/unexpected error|Warning|at .*router\.cjs/)
    router.child.kill('SIGTERM')
    expect(await router.exit).toEqual({ code: 0, signal: null })
  }, 60_000)
})

interface SwitchedPort {
  readonly url: string
  off(): void
  on(): void
}

/** A port that leads to a server, or breaks every connection. */
async function switchedPort(closers: Cleanup, target: string): Promise<SwitchedPort> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let isOn = true
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    if (!isOn) {
      socket.destroy()
      return
    }
    const inner = connect(Number(port), hostname)
    inner.on('error', () => undefined)
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      inner.destroy()
    })
    inner.once('close', () => socket.destroy())
    socket.pipe(inner).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const off = (): void => {
    isOn = false
    for (const socket of sockets) socket.destroy()
  }
  closers.add(async () => {
    off()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    off,
    on: () => void (isOn = true)
  }
}
