// The provider behind all proxies: canned answers at the cost of little more than the system calls,
// so that it does not limit what is measured. A request that accepts an event stream gets one, and
// this bench decides when its events are written; every other one gets a completion.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { MessageReader } from './message-reader.js'

/** A chat completion of 2 KB. */
export const completion = Buffer.from(
  fill(2048, (text) => ({
    id: 'chatcmpl-9pQ2rVbXk1',
    object: 'chat.completion',
    created: 1764000000,
    model: 'gpt-4o-mini',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 412, completion_tokens: 398, total_tokens: 810 }
  }))
)

/** One event of a streamed completion, 250 bytes. */
export const event = Buffer.from(
  `data: ${fill(242, (text) => ({
    id: 'chatcmpl-9pQ2rVbXk1',
    object: 'chat.completion.chunk',
    created: 1764000000,
    model: 'gpt-4o-mini',
    choices: [{ index: 0, delta: { content: text }, finish_reason: null }]
  }))}\n\n`
)

/** A request for a chat completion of 2 KB. */
export const question = Buffer.from(
  fill(2048, (text) => ({
    model: 'gpt-4o-mini',
    messages: [
      { role: 'system', content: 'You answer in one paragraph.' },
      { role: 'user', content: text }
    ],
    temperature: 0.2
  }))
)

const completionAnswer = Buffer.concat([
  Buffer.from(
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nopenai-processing-ms: 412\r\n' +
      `x-request-id: req_7f1c2b\r\ncontent-length: ${completion.length}\r\n\r\n`
  ),
  completion
])

const streamHead = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n' +
    'x-request-id: req_7f1c2b\r\ntransfer-encoding: chunked\r\n\r\n'
)
const eventChunk = Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from('\r\n')])
const endOfStream = Buffer.from('0\r\n\r\n')

/** Starts it on a free port of 127.0.0.1, in this process. */
export async function startUpstream() {
  const sockets = new Set()
  const waiting = []
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    let streams = false
    const reader = new MessageReader({
      onHead: (text) => {
        streams = text.includes('text/event-stream')
      },
      onData: () => undefined,
      onEnd: () => {
        if (!streams) {
          socket.write(completionAnswer)
          return
        }
        socket.write(streamHead)
        waiting.shift()?.({
          writeEvent: () => socket.write(eventChunk),
          end: () => socket.write(endOfStream)
        })
      }
    })
    socket.on('data', (chunk) => reader.push(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    /** The next stream that is asked for. Streams are opened one after the other, so it is the caller's own. */
    nextStream: () => new Promise((resolve) => waiting.push(resolve)),
    stop: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  }
}

/** JSON of exactly `length` bytes: `shape` gets a text that makes it so. */
function fill(length, shape) {
  const words = 'the quick brown fox jumps over the lazy dog and \\"runs\\" on '
  const empty = JSON.stringify(shape('')).length
  const text = words.replaceAll('\\', '').repeat(Math.ceil(length / words.length) + 1)
  for (let size = length - empty; size > 0; size--) {
    const json = JSON.stringify(shape(text.slice(0, size)))
    if (json.length === length) return json
  }
  throw new Error(`no text makes the JSON ${length} bytes long`)
}
