import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import type WebSocket from 'ws'
import { drain } from '../../../src/router/shutdown.js'
import { relay } from '../../../src/router/websocket-relay.js'
import { Cleanup, until } from './harness.js'
import {
  bare,
  begin,
  closed,
  closing,
  handshake,
  nextMessage,
  open,
  rawProvider,
  routerFor,
  switching,
  untilEmpty,
  websocketProvider
} from './websocket-harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** A provider that takes a websocket and then does what it is told with the bare connection. */
async function scripted(options?: { allowHalfOpen: boolean }) {
  const opened: Socket[] = []
  const provider = await rawProvider(
    cleanup,
    (socket, head) => {
      socket.write(switching(head))
      opened.push(socket)
    },
    options
  )
  return { ...provider, opened }
}

/** A websocket of the router as a bare connection. */
async function bareWebsocket(router: { url: string }, options?: { allowHalfOpen: boolean }): Promise<Socket> {
  const socket = await bare(cleanup, router, options)
  socket.write(handshake('/v1/realtime'))
  const [head] = (await once(socket, 'data')) as [Buffer]
  expect(head.toString()).toMatch(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\n$/)
  return socket
}

const hashOf = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    const hash = createHash('sha256')
    socket.on('data', (chunk) => hash.update(chunk))
    socket.once('end', () => resolve(hash.digest('hex')))
  })

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex')

describe('a side that fails', () => {
  it.each([
    ['caller', 'caller_gone'],
    ['provider', 'upstream_broke_off']
  ])('may have done so before: the %s', async (which, outcome) => {
    const [gone, there] = [1, 2].map(() => new Duplex({ read: () => undefined, write: (_, __, done) => done() }))
    gone!.destroy()
    await once(gone!, 'close')
    const sides = which === 'caller' ? ([gone!, there!] as const) : ([there!, gone!] as const)
    expect(await relay(...sides, 60_000)).toEqual({ outcome, bytesIn: 0, bytesOut: 0 })
    expect(there!.destroyed).toBe(true)
  })

  it('breaks the other one: the provider', async () => {
    const provider = await scripted()
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bareWebsocket(router)
    provider.opened[0]?.resetAndDestroy()
    socket.resume()
    await closed(socket)
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ status: 101, outcome: 'upstream_broke_off' }])
  })

  it('breaks the other one: the caller', async () => {
    const provider = await scripted()
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bareWebsocket(router)
    provider.opened[0]?.resume()
    socket.resetAndDestroy()
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ status: 101, outcome: 'caller_gone' }])
  })

  it('is no clean end for a client, in whatever way the provider dies', async () => {
    for (const die of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.resetAndDestroy()]) {
      const provider = await websocketProvider(cleanup)
      const router = await routerFor(cleanup, provider.origin)
      const websocket = await open(cleanup, router)
      const ended = closing(websocket)
      websocket.send(randomBytes(1_000_000))
      die([...provider.connections][0]!)
      expect(await ended).toEqual([1006, ''])
      await untilEmpty(router, provider)
    }
  })

  it('does so also in the midst of a message that is not read', async () => {
    const provider = await scripted()
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bareWebsocket(router)
    socket.pause()
    provider.opened[0]?.pause()
    socket.write(randomBytes(20_000_000))
    provider.opened[0]?.write(randomBytes(20_000_000))
    await sleep(200)
    socket.resetAndDestroy()
    await untilEmpty(router, provider)
  })
})

describe('a caller that leaves before the provider has answered', () => {
  it.each([
    ['with an end', (socket: Socket) => socket.end()],
    ['with a reset', (socket: Socket) => socket.resetAndDestroy()]
  ])('ends the call: %s', async (_, leave) => {
    const silent = await rawProvider(cleanup, (socket) => socket.resume())
    const router = await routerFor(cleanup, silent.origin)
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime'))
    await until(() => silent.connections.size === 1 && router.context.calls.inside === 1)
    await sleep(50)
    leave(socket)
    await untilEmpty(router, silent)
    const [line] = router.requestLines()
    expect(line).toMatchObject({ outcome: 'caller_gone', provider: 'test' })
    expect(line?.status).toBeUndefined()
  })

  it('ends the call also when the provider takes it in this moment', async () => {
    const provider = await rawProvider(cleanup, (socket, head) => {
      caller?.resetAndDestroy()
      socket.write(switching(head))
    })
    const router = await routerFor(cleanup, provider.origin)
    let caller: Socket | undefined
    for (let count = 1; count <= 20; count++) {
      caller = await bare(cleanup, router)
      caller.write(handshake('/v1/realtime'))
      await closed(caller)
      await untilEmpty(router, provider)
      await until(() => router.requestLines().length === count)
    }
    expect(new Set(router.requestLines().map(({ outcome }) => outcome))).toEqual(new Set(['caller_gone']))
  })
})

describe('an end of one side', () => {
  it('is passed on, and the other side says the rest: the caller ends first', async () => {
    const provider = await scripted({ allowHalfOpen: true })
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bareWebsocket(router, { allowHalfOpen: true })
    const [remote] = provider.opened as [Socket]
    const [up, down] = [randomBytes(3_000_000), randomBytes(3_000_000)]
    const gotUp = hashOf(remote)
    const gotDown = hashOf(socket)
    socket.end(up)
    expect(await gotUp).toBe(sha256(up))
    remote.end(down)
    expect(await gotDown).toBe(sha256(down))
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ outcome: 'ok', bytesIn: 3_000_000, bytesOut: 3_000_000 }])
  })

  it('is passed on, and the other side says the rest: the provider ends first', async () => {
    const provider = await scripted({ allowHalfOpen: true })
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bareWebsocket(router, { allowHalfOpen: true })
    const [remote] = provider.opened as [Socket]
    const [up, down] = [randomBytes(3_000_000), randomBytes(3_000_000)]
    const gotUp = hashOf(remote)
    const gotDown = hashOf(socket)
    remote.end(down)
    expect(await gotDown).toBe(sha256(down))
    socket.end(up)
    expect(await gotUp).toBe(sha256(up))
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ outcome: 'ok', bytesIn: 3_000_000, bytesOut: 3_000_000 }])
  })

  it.each(['caller', 'provider'])(
    'does not keep the websocket for ever when the other side stays: the %s',
    async (side) => {
      const provider = await scripted({ allowHalfOpen: true })
      const router = await routerFor(cleanup, provider.origin, {}, { limits: { idleMs: 300 } })
      const socket = await bareWebsocket(router, { allowHalfOpen: true })
      const [remote] = provider.opened as [Socket]
      socket.resume()
      remote.resume()
      const [first, second] = side === 'caller' ? [socket, remote] : [remote, socket]
      first.end()
      await once(second, 'end')
      // What the other side goes on to say is not idleness, and is no reason to stay either.
      const talking = setInterval(() => second.write('x'), 20)
      await closed(second)
      clearInterval(talking)
      first.destroy()
      await untilEmpty(router, provider)
    }
  )
})

describe('a websocket without a byte', () => {
  it('ends after the idle time', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, {}, { limits: { idleMs: 200 } })
    const websocket = await open(cleanup, router)
    const startedAt = performance.now()
    expect(await closing(websocket)).toEqual([1006, ''])
    expect(performance.now() - startedAt).toBeGreaterThan(190)
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ status: 101, outcome: 'caller_stalled' }])
  })

  it.each(['caller', 'provider'])('is not one in which the %s says something', async (side) => {
    const provider = await websocketProvider(cleanup, () => undefined)
    const router = await routerFor(cleanup, provider.origin, {}, { limits: { idleMs: 300 } })
    const websocket = await open(cleanup, router)
    const from = side === 'caller' ? websocket : provider.websockets[0]!
    for (let count = 0; count < 12; count++) {
      await sleep(60)
      from.send('x')
    }
    expect(websocket.readyState).toBe(websocket.OPEN)
    expect(router.context.calls.inside).toBe(1)
  })
})

describe('a side that reads slowly', () => {
  /** What a connection in between may hold: buffers of two kernels and of this process. */
  const inBetween = 30_000_000

  it.each([
    ['caller', 'caller_stalled'],
    ['provider', 'upstream_timeout']
  ])('holds the other one up, and ends the websocket if it reads nothing: the %s', async (side, outcome) => {
    const provider = await scripted()
    const router = await routerFor(cleanup, provider.origin, {}, { limits: { idleMs: 1000 } })
    const socket = await bareWebsocket(router)
    const [remote] = provider.opened as [Socket]
    const [reader, writer] = side === 'caller' ? [socket, remote] : [remote, socket]
    reader.pause()
    writer.resume()
    writer.on('error', () => undefined)
    const piece = Buffer.alloc(1_000_000)
    let sent = 0
    const more = (): void => {
      while (sent < 500 && writer.write(piece)) sent++
      if (sent < 500) writer.once('drain', more)
    }
    more()
    await until(() => router.requestLines().length === 1, 10_000)
    expect(sent * piece.length).toBeLessThan(inBetween)
    expect(router.requestLines()).toMatchObject([{ outcome }])
    reader.resume()
    await untilEmpty(router, provider)
  })

  it('gets all of it', async () => {
    const provider = await scripted()
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bareWebsocket(router)
    const data = randomBytes(30_000_000)
    const got = hashOf(socket)
    let bytes = 0
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes < 3_000_000) return
      bytes = 0
      socket.pause()
      setTimeout(() => socket.resume(), 50)
    })
    provider.opened[0]?.end(data)
    expect(await got).toBe(sha256(data))
    await untilEmpty(router, provider)
  })
})

describe('a router that stops', () => {
  it('lets a websocket end by itself', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websocket = await open(cleanup, router)
    const drained = drain(router.servers, router.context, 10_000)
    await sleep(150)
    websocket.send('still there')
    expect((await nextMessage(websocket)).data.toString()).toBe('still there')
    websocket.close(1000)
    expect(await drained).toBe(true)
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()).toMatchObject([{ outcome: 'ok' }])
  })

  it('breaks it when the time is over', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websockets = await Promise.all([1, 2, 3].map(() => open(cleanup, router)))
    const ended = Promise.all(websockets.map(closing))
    expect(await drain(router.servers, router.context, 200)).toBe(false)
    expect(await ended).toEqual([1, 2, 3].map(() => [1006, '']))
    await until(() => provider.connections.size === 0 && router.requestLines().length === 3)
    expect(router.context.calls.inside).toBe(0)
    expect(new Set(router.requestLines().map(({ outcome }) => outcome))).toEqual(new Set(['stopping']))
  })

  it('breaks a handshake that waits for its provider', async () => {
    const silent = await rawProvider(cleanup, (socket) => socket.resume())
    const router = await routerFor(cleanup, silent.origin)
    begin(cleanup, router)
    await until(() => silent.connections.size === 1)
    expect(await drain(router.servers, router.context, 100)).toBe(false)
    await until(() => silent.connections.size === 0 && router.requestLines().length === 1)
    expect(router.context.calls.inside).toBe(0)
  })
})

describe('many websockets', () => {
  it('of 200 at once each gets its own, and none leaves anything', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websockets = await Promise.all(Array.from({ length: 200 }, () => open(cleanup, router)))
    expect(router.context.calls.inside).toBe(200)
    const answers = await Promise.all(
      websockets.map(async (websocket, index) => {
        websocket.send(`number ${index}`)
        return (await nextMessage(websocket)).data.toString()
      })
    )
    expect(answers).toEqual(websockets.map((_, index) => `number ${index}`))
    for (const websocket of websockets) websocket.close()
    await untilEmpty(router, provider)
    await until(() => router.requestLines().length === 200)
    expect(new Set(router.requestLines().map(({ outcome }) => outcome))).toEqual(new Set(['ok']))
  })

  it('leave nothing, whichever side fails at whatever moment', async () => {
    const provider = await websocketProvider(cleanup, (websocket) => {
      if (Math.random() < 0.3) websocket.terminate()
      websocket.on('message', (data) => websocket.send(data as Buffer))
    })
    const router = await routerFor(cleanup, provider.origin, { CONFROUTER_CALLS_PER_MINUTE: '100000' })
    const endings: ((websocket: WebSocket) => void)[] = [
      (websocket) => websocket.terminate(),
      (websocket) => websocket.close(),
      () => [...provider.connections].at(-1)?.resetAndDestroy(),
      () => provider.websockets.at(-1)?.close(1011),
      () => [...provider.connections].at(0)?.destroy()
    ]
    const rounds = Array.from({ length: 300 }, async (_, index) => {
      await sleep(Math.random() * 1000)
      const websocket = begin(cleanup, router)
      websocket.on('open', () => {
        for (let count = 0; count < 5; count++) websocket.send(randomBytes(100_000))
      })
      await sleep(Math.random() * 40)
      endings[index % endings.length]?.(websocket)
      await sleep(100)
      websocket.terminate()
    })
    await Promise.all(rounds)
    await untilEmpty(router, provider)
    expect(router.logText()).not.toContain('unexpected error')
    expect(await (await fetch(`${router.url}/healthz`)).json()).toMatchObject({ status: 'ok' })
  })
})
