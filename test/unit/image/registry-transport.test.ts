import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createTransport, TransientError } from '../../../src/image/registry-transport.js'
import { bytesOf } from './support.js'

let server: Server | undefined
afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => server?.close(resolve))
})

async function listen(listener: RequestListener): Promise<string> {
  const listening = createServer(listener)
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}/`
}

const transport = createTransport({ registry: 'r', fetch, signal: undefined, silenceMs: 150 })

describe('createTransport', () => {
  it('gives up on a registry that does not answer', async () => {
    const url = await listen(() => undefined)
    await expect(transport(url, {}, 'x')).rejects.toBeInstanceOf(TransientError)
  })

  it('gives up on a registry that falls silent in the middle of a body', async () => {
    const url = await listen((_, response) => void response.write('begin'))
    const answer = await transport(url, {}, 'x')
    await expect(bytesOf(answer.body())).rejects.toMatchObject({ code: 'registry.unreachable' })
  })

  it('waits for a consumer that takes longer than the registry may', async () => {
    const url = await listen((_, response) => {
      response.write('begin')
      setTimeout(() => response.end('end'), 50)
    })
    const parts: string[] = []
    for await (const chunk of (await transport(url, {}, 'x')).body()) {
      parts.push(Buffer.from(chunk).toString())
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    expect(parts.join('')).toBe('beginend')
  })

  it('lets an upload take longer than the registry may be silent, as long as it takes bytes', async () => {
    const url = await listen((request, response) => {
      let length = 0
      request.on('data', (chunk: Buffer) => (length += chunk.length))
      request.on('end', () => response.writeHead(201, { length: String(length) }).end())
    })
    async function* slow() {
      for (let piece = 0; piece < 6; piece++) {
        await new Promise((resolve) => setTimeout(resolve, 60))
        yield new Uint8Array(1000)
      }
    }
    const init = { method: 'PUT', headers: { 'content-length': '6000' }, content: slow() }
    expect((await transport(url, init, 'x')).headers.get('length')).toBe('6000')
  })

  it('says what was wrong with an upload and not that the registry was', async () => {
    const url = await listen((request) => void request.resume())
    async function* damaged() {
      yield new Uint8Array(10)
      throw new RangeError('damaged')
    }
    const init = { method: 'PUT', headers: { 'content-length': '6000' }, content: damaged() }
    await expect(transport(url, init, 'x')).rejects.toThrow(new RangeError('damaged'))
  })

  it('gives the connection back when a body is left early', async () => {
    let closed = 0
    const url = await listen((_, response) => {
      response.on('close', () => closed++)
      response.write('begin')
    })
    for await (const chunk of (await transport(url, {}, 'x')).body()) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(closed).toBe(1)
  })
})
