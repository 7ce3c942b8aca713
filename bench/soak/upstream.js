// A provider that behaves as the model's name says, well and badly.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { completion, event } from '../lib/upstream.js'

const behaviours = {
  answer: async (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(completion)
  },
  large: async (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ text: 'x'.repeat(2 ** 20) }))
  },
  events: async (response) => {
    startEvents(response)
    for (let i = 0; i < 20 && !response.destroyed; i++) {
      response.write(event)
      await sleep(20)
    }
    response.end()
  },
  endless: async (response) => {
    startEvents(response)
    while (!response.destroyed) {
      response.write(event)
      await sleep(25)
    }
  },
  flood: async (response) => {
    startEvents(response)
    const many = Buffer.concat(Array(64).fill(event))
    while (!response.destroyed) {
      if (response.write(many)) await sleep(1)
      else await Promise.race([once(response, 'drain'), once(response, 'close')])
    }
  },
  fail: async (response) => {
    response.writeHead(500, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}')
  },
  busy: async (response) => {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '0' }).end('{"error":{}}')
  },
  reset: async (response) => {
    response.socket.resetAndDestroy()
  },
  break: async (response) => {
    startEvents(response)
    response.write(event)
    await sleep(10)
    response.socket.destroy()
  },
  // Whoever asked has to go.
  silent: async () => undefined
}

export async function startBehavingUpstream() {
  const sockets = new Set()
  const server = createServer((request, response) => {
    response.on('error', () => undefined)
    answer(request, response).catch(() => response.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    openSockets: () => sockets.size,
    stop: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

async function answer(request, response) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const { model } = JSON.parse(Buffer.concat(chunks).toString())
  await behaviours[model](response)
}

function startEvents(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
}
