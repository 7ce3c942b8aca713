import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from '@jest/globals'
import { Agent, fetch as undiciFetch } from 'undici'
import { isNeverSent } from '../../../src/client/never-sent.js'
import { serveTls } from './loopback.js'

const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const each of open.splice(0)) await each.close()
})

async function listen(act: (socket: Socket) => void): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined)
    act(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push(server)
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function closedPort(): Promise<string> {
  const place = await listen(() => undefined)
  await new Promise((resolve) => (open.pop() as Server).close(resolve))
  return place
}

const errorOf = (answer: Promise<unknown>): Promise<unknown> =>
  answer.then(
    () => undefined,
    (error: unknown) => error
  )

describe('whether a call can have been sent', () => {
  it.each<readonly [string, () => Promise<unknown>]>([
    ['nobody listens', async () => fetch(`http://${await closedPort()}`, { method: 'POST', body: 'x' })],
    ['nobody listens, by TLS', async () => fetch(`https://${await closedPort()}`, { method: 'POST', body: 'x' })],
    [
      'nobody listens at any address of a name',
      async () => fetch(`http://localhost:${new URL(`http://${await closedPort()}`).port}`)
    ],
    ['there is no such name', () => fetch('http://router.invalid', { method: 'POST', body: 'x' })],
    [
      'a certificate is not accepted',
      async () => {
        const server = await serveTls((_, __, response) => void response.end())
        open.push(server)
        return fetch(server.origin, { method: 'POST', body: 'x' })
      }
    ],
    [
      'the handshake is broken off',
      async () => fetch(`https://${await listen((socket) => void socket.once('data', () => socket.destroy()))}`)
    ],
    [
      'the connection takes too long',
      () => {
        const dispatcher = new Agent({ connect: { timeout: 1 } })
        open.push(dispatcher)
        // Of the block for documentation (RFC 5737): nobody answers.
        return undiciFetch('http://192.0.2.1:8080', { dispatcher })
      }
    ]
  ])('no: %s', async (_, call) => {
    const error = await errorOf(call())
    expect(error).toHaveProperty('message')
    expect(isNeverSent(error)).toBe(true)
  })

  it.each<readonly [string, () => Promise<unknown>]>([
    [
      'it was reset after a byte had come',
      async () =>
        fetch(`http://${await listen((socket) => void socket.once('data', () => socket.resetAndDestroy()))}`, {
          method: 'POST',
          body: 'x'
        })
    ],
    [
      'it was closed without an answer',
      async () => fetch(`http://${await listen((socket) => void socket.once('data', () => socket.end()))}`)
    ],
    [
      'what answers does not speak HTTP',
      async () => fetch(`http://${await listen((socket) => void socket.end('SSH-2.0\r\n'))}`)
    ],
    ['a browser, which does not say why', () => Promise.reject(new TypeError('Failed to fetch'))],
    [
      'one of several attempts may have gone through',
      () =>
        Promise.reject(
          new AggregateError([
            Object.assign(new Error('refused'), { syscall: 'connect' }),
            Object.assign(new Error('reset'), { syscall: 'read', code: 'ECONNRESET' })
          ])
        )
    ],
    ['several attempts of which nothing is known', () => Promise.reject(new AggregateError([]))]
  ])('perhaps: %s', async (_, call) => {
    expect(isNeverSent(await errorOf(call()))).toBe(false)
  })

  it('perhaps: what was thrown is no error', () => {
    expect([undefined, null, 'ECONNREFUSED', 1].map(isNeverSent)).toEqual([false, false, false, false])
  })
})
