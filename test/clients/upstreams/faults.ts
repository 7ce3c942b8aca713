import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { event, type Fault } from './upstream.js'

/** What goes wrong at providers and on the way to them, each for one call. */

const json = { 'content-type': 'application/json', 'x-request-id': 'req_fault' }
const stream = { 'content-type': 'text/event-stream; charset=utf-8' }

const chunk = (content: string): object => ({
  id: 'chatcmpl-fault',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'gpt-4o-mini',
  choices: [{ index: 0, delta: { content }, finish_reason: null }]
})

/** Refuses before anything came of it. */
export const refuse = (status: number, headers: Record<string, string> = {}, code: string | null = null): Fault => ({
  when: 'body',
  act: (response) => {
    response.writeHead(status, { ...json, ...headers })
    response.end(JSON.stringify({ error: { message: `fault ${status}`, type: 'fault', param: null, code } }))
  }
})

function begin(response: ServerResponse): void {
  response.writeHead(200, stream)
  response.write(event(chunk('one')))
  response.write(event(chunk(' two')))
}

/**
 * Begins a stream, and breaks it off once its listener has heard that: else what was on the way could be
 * lost with the connection.
 */
const breaking =
  (breakOff: (response: ServerResponse) => void) =>
  (heard: Promise<unknown>): Fault => ({
    when: 'body',
    act: async (response) => {
      begin(response)
      await heard
      breakOff(response)
    }
  })

/** Says in the stream that it failed, and closes without `[DONE]`. */
export const errorEvent = breaking((response) => {
  response.write(event({ error: { message: 'the model is gone', type: 'server_error', param: null, code: 'gone' } }))
  response.end()
})

/** The connection is reset (RST) in the middle of a stream. */
export const resetInStream = breaking(({ socket }) => socket?.resetAndDestroy())

/** The connection ends (FIN) in the middle of a chunked stream. */
export const endInStream = breaking(({ socket }) => socket?.end())

/** Nothing comes any more, and the connection stays. */
export const stall: Fault = { when: 'body', act: begin }

/** One write of so many bytes. */
export const huge = (bytes: number): Fault => ({
  when: 'body',
  act: (response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' })
    response.end(Buffer.alloc(bytes, 'x'))
  }
})

function tooLarge(response: ServerResponse, connection: 'close' | 'keep-alive'): void {
  const body = JSON.stringify({ error: { message: 'too large', type: 'fault', param: null, code: 'too_large' } })
  response.writeHead(413, { ...json, 'content-length': String(body.length), connection })
  response.end(body)
}

/** Refuses by the headers alone, and throws away what still comes, as careful servers do. */
export const refuseEarly: Fault = {
  when: 'head',
  act: (response, request) => {
    request.resume()
    tooLarge(response, 'keep-alive')
  }
}

/** Refuses by the headers alone, and closes while the body is still on its way: the answer may be lost. */
export const refuseUnread: Fault = { when: 'head', act: (response) => tooLarge(response, 'close') }

/** Closes while the body is still on its way, without a word. */
export const closeUnread: Fault = { when: 'head', act: (_, request) => void request.socket.destroy() }

/** Never begins to answer. */
export const silent: Fault = { when: 'body', act: () => undefined }

/** The head of the answer comes in pieces, one after the other. */
export const slowHead: Fault = {
  when: 'body',
  act: async ({ socket }) => {
    for (const piece of `${head(answer.length)}${answer}`.match(/[^]{1,40}/g) ?? []) {
      socket?.write(piece)
      await sleep(40)
    }
    socket?.end()
  }
}

/** Bytes as they are, and what is to happen to the connection then. */
const raw = (text: string, then: 'stays' | 'ends'): Fault => ({
  when: 'body',
  act: ({ socket }) => {
    socket?.write(text)
    if (then === 'ends') socket?.end()
  }
})

const answer = '{"object":"list","data":[]}'
const head = (length: number): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`

/** Behind a whole answer comes what looks like another one, which nobody asked for. */
export const trailingAnswer: Fault = raw(
  `${head(answer.length)}${answer}HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"evil":true}`,
  'stays'
)

export const trailingGarbage: Fault = raw(`${head(answer.length)}${answer}\0\0garbage`, 'stays')

export const lengthTooLong: Fault = raw(`${head(answer.length + 20)}${answer}`, 'ends')

/** The rest is garbage behind the answer. */
export const lengthTooShort: Fault = raw(`${head(answer.length - 6)}${answer}`, 'stays')

export const notHttp: Fault = raw('SSH-2.0-OpenSSH_9.2\r\n', 'stays')

/** With both ways to say where it ends: what a smuggled answer looks like. */
export const twoLengths: Fault = raw(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n` +
    `${answer.length.toString(16)}\r\n${answer}\r\n0\r\n\r\n`,
  'stays'
)
