import { createServer } from 'node:net'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createFetch, type CreateFetchOptions } from '../../src/client/create-fetch.js'
import { AttestationError, CallError, CheckError, NoAddressError } from '../../src/client/errors.js'
import { type AddressEvent, Routers } from '../../src/client/routers.js'
import type { TrustPolicy } from '../../src/verify/index.js'
import { Cleanup, serve, until } from '../unit/router/harness.js'
import { type AttestedRouter, startAttestedRouter, startWire, type Wire } from './attested.js'
import { local, untilQuiet } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
const ofTest = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let attested: AttestedRouter
/** On hardware of its own, with another root: no evidence of it passes under the trust of the first. */
let foreign: AttestedRouter
beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-secret-of-caller'] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
  foreign = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
})

/** Two ways to the same router, and what kills one. */
let first: Wire & { readonly die: () => Promise<void> }
let second: Wire & { readonly die: () => Promise<void> }
const wireTo = async (router: string): Promise<Wire & { readonly die: () => Promise<void> }> => {
  const own = new Cleanup()
  const wire = await startWire(own, router)
  const die = (): Promise<void> => own.run()
  ofTest.add(die)
  return { ...wire, die }
}
beforeEach(async () => {
  first = await wireTo(attested.router.url)
  second = await wireTo(attested.router.url)
})
afterEach(async () => {
  attested.breakEvidence({})
  await ofTest.run()
  upstream.calls.length = 0
  await untilQuiet(attested.router, upstream)
})

const url = 'http://router.invalid'
const marked = 'marked-prompt-5d1c'
const calls = (wire: Wire): number => wire.sent().match(/POST \/v1\/chat\/completions HTTP/g)?.length ?? 0
const evidenceAsked = (wire: Wire): number => wire.sent().match(/POST \/\.well-known\/confrouter HTTP/g)?.length ?? 0

function caller(options: Partial<CreateFetchOptions> = {}) {
  const events: AddressEvent[] = []
  const fetch = createFetch({
    url,
    addresses: [first.origin, second.origin],
    trust: attested.trust,
    fetch: attested.fetch,
    onEvent: (event) => events.push(event),
    ...options
  })
  const chat = (init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-secret-of-caller' },
      body: JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: marked }] }),
      ...init
    })
  const answer = async (init?: RequestInit): Promise<string> =>
    ((await (await chat(init)).json()) as { choices: { message: { content: string } }[] }).choices[0]!.message.content
  return { fetch, chat, answer, events }
}

const placeOf = (input: string | URL | Request): string => (input instanceof Request ? input.url : input.toString())

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error
  )

/** The port of a server that is gone. */
async function deadOrigin(): Promise<string> {
  const short = new Cleanup()
  const origin = await serve(short, () => undefined)
  await short.run()
  return origin
}

/** Takes connections and says nothing. */
async function silentOrigin(): Promise<string> {
  const server = createServer((socket) => socket.on('error', () => undefined))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets: { destroy(): void }[] = []
  server.on('connection', (socket) => sockets.push(socket))
  ofTest.add(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as { port: number }
  return `http://127.0.0.1:${port}`
}

describe('a list of addresses', () => {
  it('is used from its first, and the base URL of the SDK is only a name', async () => {
    const { answer, events } = caller()
    expect(await answer()).toBe(`You said: ${marked}`)
    expect(await answer()).toBe(`You said: ${marked}`)
    expect([calls(first), calls(second), evidenceAsked(second), events]).toEqual([2, 0, 0, []])
  })

  it('goes on to the next where nobody listens any more, and stays there', async () => {
    const { answer, events } = caller()
    await answer()
    await first.die()
    expect(await answer()).toBe(`You said: ${marked}`)
    expect(await answer()).toBe(`You said: ${marked}`)
    expect([calls(second), upstream.calls.length]).toEqual([2, 3])
    expect(events).toEqual([
      { what: 'failed', address: first.origin, error: expect.any(CallError) },
      { what: 'moved', from: first.origin, to: second.origin }
    ])
  })

  it('goes back to the first when it is well again, and no call waits for it', async () => {
    let laterMs = 0
    let isDown = true
    const fetch: typeof globalThis.fetch = (input, init) =>
      isDown && placeOf(input).startsWith(first.origin)
        ? Promise.reject(
            Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED', syscall: 'connect' } })
          )
        : attested.fetch(input, init)
    const { answer, events } = caller({ fetch, now: () => new Date(Date.now() + laterMs) })
    await answer()
    expect([calls(first), calls(second)]).toEqual([0, 1])
    isDown = false
    await answer()
    // Not before its pause is over.
    expect([evidenceAsked(first), calls(second)]).toEqual([0, 2])
    laterMs = 1500
    await answer()
    expect(calls(second)).toBe(3)
    await until(() => evidenceAsked(first) === 1)
    while (calls(first) === 0) await answer()
    expect(events.at(-1)).toEqual({ what: 'moved', from: second.origin, to: first.origin })
  })

  it('never sends a byte of a call to an address whose evidence is of another router', async () => {
    const other = await wireTo(foreign.router.url)
    const { answer, events } = caller({ addresses: [other.origin, second.origin] })
    expect(await answer()).toBe(`You said: ${marked}`)
    expect(await answer()).toBe(`You said: ${marked}`)
    expect(new Set(other.sent().match(/(?:GET|POST) \S+(?= HTTP)/g))).toEqual(new Set(['POST /.well-known/confrouter']))
    expect([evidenceAsked(other), calls(second)]).toEqual([1, 2])
    expect(events).toEqual([{ what: 'failed', address: other.origin, error: expect.any(AttestationError) }])
  })

  it('goes on where a server shows another TLS key than its evidence names', async () => {
    let refused = 0
    const transport: CreateFetchOptions['transport'] = () => (input, init) => {
      if (!placeOf(input).startsWith(first.origin)) return attested.fetch(input, init)
      refused++
      return Promise.reject(new CallError('call.other-server', 'another TLS key'))
    }
    const { answer, events } = caller({ transport })
    expect(await answer()).toBe(`You said: ${marked}`)
    expect([refused, calls(first), calls(second)]).toEqual([1, 0, 1])
    expect(events[0]).toMatchObject({ what: 'failed', error: { code: 'call.other-server' } })
  })

  it('keeps wrong and unreachable apart where no address can be used', async () => {
    const other = await wireTo(foreign.router.url)
    const dead = await deadOrigin()
    const error = await errorOf(caller({ addresses: [dead, other.origin] }).chat())
    expect(error).toBeInstanceOf(NoAddressError)
    const { code, failures, message } = error as NoAddressError
    expect(code).toBe('addresses.rejected')
    expect(failures.map(({ address, error }) => [address, error.name])).toEqual([
      [dead, 'CheckError'],
      [other.origin, 'AttestationError']
    ])
    expect(message).toMatch(
      new RegExp(
        `nothing was sent\\. checked and wrong: ${other.origin} \\(.*\\)\\. could not be checked or reached: ${dead} \\(`
      )
    )
    expect(upstream.calls).toEqual([])
  })

  it('says that nothing is known against a router none of whose addresses answers', async () => {
    const addresses = [await deadOrigin(), await deadOrigin()]
    const error = await errorOf(caller({ addresses }).chat())
    expect(error).toMatchObject({ code: 'addresses.unavailable', message: expect.not.stringContaining('wrong') })
    expect((error as NoAddressError).failures.map(({ address }) => address)).toEqual(addresses)
  })

  it('gives the error of the only address as it is', async () => {
    const error = await errorOf(caller({ addresses: [await deadOrigin()] }).chat())
    expect(error).toMatchObject({ name: 'CheckError', code: 'check.network' })
  })

  it('does not repeat a call that broke when its body was sent, and the next one verifies first', async () => {
    const { answer, chat } = caller()
    await answer()
    upstream.calls.length = 0
    first.alter(() => undefined)
    const error = await errorOf(chat())
    expect(error).toMatchObject({ code: 'call.network', nothingSent: false })
    expect((error as Error).message).toContain('may have been served, and was not sent again')
    expect([calls(first), calls(second)]).toEqual([2, 0])
    await until(() => upstream.calls.length === 1)
    // The first way gives no evidence either now.
    expect(await answer()).toBe(`You said: ${marked}`)
    expect([calls(first), calls(second), upstream.calls.length]).toEqual([2, 1, 2])
  })

  it('does not repeat a call that was refused in the open, since nobody vouches for that', async () => {
    const { answer, chat } = caller()
    await answer()
    let isFirst = true
    first.alter((piece) => {
      if (!isFirst) return piece
      isFirst = false
      return Buffer.from(
        'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n'
      )
    })
    expect((await chat()).status).toBe(503)
    expect([calls(first), calls(second)]).toEqual([2, 0])
    expect(evidenceAsked(first)).toBe(1)
    await answer()
    expect(evidenceAsked(first) + evidenceAsked(second)).toBe(2)
  })

  it('does not send what was begun to another address after a stale key', async () => {
    const { answer, chat } = caller()
    await answer()
    first.alter((piece) => {
      first.alter(() => undefined)
      return piece.length === 0
        ? piece
        : Buffer.from('HTTP/1.1 422 Unprocessable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
    })
    expect(await errorOf(chat())).toBeInstanceOf(CheckError)
    expect([calls(first), calls(second)]).toEqual([2, 0])
  })

  it('sends a stream once, and to another address only before it was begun', async () => {
    const streamed = (): RequestInit =>
      ({
        body: new Blob([
          JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: marked }] })
        ]).stream(),
        duplex: 'half'
      }) as RequestInit
    const { answer } = caller({ addresses: [await deadOrigin(), second.origin] })
    expect(await answer(streamed())).toBe(`You said: ${marked}`)
    const verified = caller()
    await verified.answer()
    await first.die()
    expect(await errorOf(verified.chat(streamed()))).toMatchObject({ code: 'call.network', nothingSent: true })
    expect(await verified.answer(streamed())).toBe(`You said: ${marked}`)
  })

  it('does not wait for a better address that is silent, where another is verified', async () => {
    const silent = await silentOrigin()
    let addresses = [second.origin]
    const { answer } = caller({ addresses: () => addresses })
    await answer()
    addresses = [silent, second.origin]
    const begun = performance.now()
    expect(await answer()).toBe(`You said: ${marked}`)
    expect(performance.now() - begun).toBeLessThan(5000)
  })

  it('waits for one that is silent for a while only, where none is verified', async () => {
    const silent = await silentOrigin()
    const routers = new Routers({
      addresses: [silent, second.origin],
      trust: attested.trust,
      fetch: attested.fetch,
      now: () => new Date(),
      maaKeys: undefined,
      onVerdict: undefined,
      patienceMs: 100
    })
    const begin = () => routers.begin(({ address }) => Promise.resolve(address), { signal: undefined })
    expect(await begin()).toBe(second.origin)
    expect(routers.current).toBe(second.origin)
  })

  it('is left as soon as the caller has lost interest', async () => {
    const controller = new AbortController()
    const call = errorOf(
      caller({ addresses: [await silentOrigin(), second.origin] }).chat({ signal: controller.signal })
    )
    setTimeout(() => controller.abort(new Error('enough')), 50)
    expect(await call).toMatchObject({ message: 'enough' })
    expect(evidenceAsked(second)).toBe(0)
  })

  it.each([
    ['none', []],
    ['one that is no URL', ['router']],
    ['one with a query', ['http://127.0.0.1:1?x']]
  ])('is refused with %s', (_, addresses) => {
    expect(() => caller({ addresses })).toThrow(CallError)
  })
})

describe('a list that changes', () => {
  it('sends nothing more to an address that was taken off, and lets its call end', async () => {
    let addresses = [first.origin, second.origin]
    const { fetch, answer } = caller({ addresses: () => addresses })
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.errorEvent(new Promise((resolve) => (begin = resolve))))
    const running = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-secret-of-caller' },
      body: JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: marked }] })
    })
    addresses = [second.origin]
    await answer()
    await answer()
    expect([calls(first), calls(second)]).toEqual([1, 2])
    begin(undefined)
    expect(await running.text()).toContain('data:')
  })

  it('is asked for again when no address of it answers', async () => {
    const dead = await deadOrigin()
    const looks: boolean[] = []
    const { answer } = caller({
      addresses: ({ fresh }) => {
        looks.push(fresh)
        return fresh ? [second.origin] : [dead]
      }
    })
    expect(await answer()).toBe(`You said: ${marked}`)
    expect(looks).toEqual([false, true])
  })

  it('stays as it was where the new one cannot be read, and that is told once', async () => {
    let addresses: () => readonly string[] = () => [first.origin]
    const { answer, events } = caller({ addresses: async () => addresses() })
    await answer()
    addresses = () => {
      throw new Error('cut in the middle')
    }
    await answer()
    await answer()
    addresses = () => []
    await answer()
    expect(calls(first)).toBe(4)
    expect(events).toEqual([
      { what: 'kept', source: 'addresses', error: expect.objectContaining({ message: 'cut in the middle' }) },
      { what: 'kept', source: 'addresses', error: expect.any(CallError) }
    ])
  })

  it('that could never be read is an error of the call, and no verdict', async () => {
    const error = await errorOf(
      caller({
        addresses: () => {
          throw new Error('no such file')
        }
      }).chat()
    )
    expect(error).toMatchObject({ code: 'check.source', message: 'the list of addresses cannot be read: no such file' })
  })
})

describe('a trust policy that changes', () => {
  const other = 'ab'.repeat(32)
  const accepting = (...hostData: readonly string[]): TrustPolicy => ({ ...attested.trust, hostData }) as TrustPolicy
  const own = (): string => (attested.trust.hostData as readonly string[])[0]!

  it('is not a reason to verify again what it accepts as before', async () => {
    let trust = attested.trust
    const { answer } = caller({ trust: () => trust })
    await answer()
    trust = accepting(own(), other)
    await answer()
    trust = accepting(own())
    await answer()
    expect(evidenceAsked(first)).toBe(1)
  })

  it('takes the keys of whom it does not accept any more, at once', async () => {
    let trust = attested.trust
    const { answer, chat } = caller({ trust: async () => trust, addresses: [first.origin] })
    await answer()
    trust = accepting(other)
    const error = await errorOf(chat())
    expect(error).toMatchObject({ name: 'AttestationError', checks: [{ claim: 'hostData' }] })
    expect(calls(first)).toBe(1)
    trust = accepting(other, own())
    expect(await answer()).toBe(`You said: ${marked}`)
  })

  it('is verified by anew where more than the host data differ', async () => {
    let trust = attested.trust
    const { answer } = caller({ trust: () => trust })
    await answer()
    trust = { ...attested.trust, maximumAgeSeconds: 1000 }
    await answer()
    expect(evidenceAsked(first)).toBe(2)
  })

  it('counts for a verification that was under way', async () => {
    let trust = attested.trust
    let isChanged = false
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const response = await attested.fetch(input, init)
      if (!isChanged && placeOf(input).endsWith('/.well-known/confrouter')) {
        isChanged = true
        trust = accepting(other)
        // Another call reads it while the first one waits.
        await errorOf(chat())
      }
      return response
    }
    const { chat } = caller({ trust: () => trust, addresses: [first.origin], fetch })
    expect(await errorOf(chat())).toBeInstanceOf(AttestationError)
    expect(calls(first)).toBe(0)
  })

  it('stays as it was where the new one cannot be read', async () => {
    let isBroken = false
    const trust = (): TrustPolicy => {
      if (isBroken) throw new Error('half a file')
      return attested.trust
    }
    const { answer, events } = caller({ trust })
    await answer()
    isBroken = true
    await answer()
    await answer()
    expect(events).toEqual([
      { what: 'kept', source: 'trust', error: expect.objectContaining({ message: 'half a file' }) }
    ])
  })

  it('is read after the list that names a new address', async () => {
    let isNew = false
    const looks: boolean[] = []
    const { answer } = caller({
      addresses: () => (isNew ? [second.origin] : [first.origin]),
      trust: ({ fresh }) => {
        looks.push(fresh)
        return attested.trust
      }
    })
    await answer()
    await answer()
    isNew = true
    await answer()
    expect(looks).toEqual([true, false, true])
  })
})
