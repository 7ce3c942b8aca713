// Load of short calls: connections that are kept alive, each sending its next request, which has
// been serialised before, as soon as the answer to the last one is complete.
import { once } from 'node:events'
import { connect } from 'node:net'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds, machineSeconds } from './measure.js'
import { MessageReader } from './message-reader.js'

/** A request as it goes over the wire. */
export function serialise(body, headers = {}) {
  const lines = Object.entries({
    host: '127.0.0.1',
    'user-agent': 'OpenAI/JS 6.30.1',
    accept: 'application/json',
    authorization: 'Bearer sk-proj-5f0fQ1yQ7xkqXo1uTn3c9m',
    'content-type': 'application/json',
    ...headers,
    'content-length': body.length
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.concat([Buffer.from(`POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n`), body])
}

/** Sends one request on a connection of its own. Gives status, headers and body. */
export async function callOnce(port, request) {
  const socket = connect(port, '127.0.0.1')
  try {
    return await new Promise((resolve, reject) => {
      const chunks = []
      let head = ''
      const reader = new MessageReader({
        onHead: (text) => (head = text),
        onData: (bytes) => chunks.push(bytes),
        onEnd: () => resolve({ ...parseHead(head), body: Buffer.concat(chunks) })
      })
      socket.on('data', (chunk) => reader.push(chunk))
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('the connection was closed before the answer was complete')))
      socket.write(request)
    })
  } finally {
    socket.destroy()
  }
}

/**
 * Calls for `seconds`, or until there is no next request, and gives what that cost. `bodyBytes` is
 * the length that every answer must have. Throws at the first answer that is not 200 and complete:
 * errors are cheap, and would count as speed.
 */
export async function measureCalls({ program, next, bodyBytes, seconds, connections = 32, warmUpSeconds = 0.2 }) {
  let calls = 0
  let failure
  let running = true
  let end
  const sockets = []
  for (let i = 0; i < connections; i++) {
    const socket = connect(program.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.setNoDelay(true)
    sockets.push(socket)
    const fail = (why) => {
      if (running) failure ??= new Error(why)
    }
    let received = 0
    const reader = new MessageReader({
      onHead: (text) => {
        if (!text.startsWith('HTTP/1.1 200')) fail(`answered ${text.slice(0, text.indexOf('\r\n'))}`)
      },
      onData: (bytes) => (received += bytes.length),
      onEnd: () => {
        if (received !== bodyBytes) fail(`answered ${received} bytes, not ${bodyBytes}`)
        received = 0
        calls++
        if (!running || failure !== undefined) return
        const request = next()
        if (request === undefined) end ??= sample(program.pid, calls)
        else socket.write(request)
      }
    })
    socket.on('data', (chunk) => reader.push(chunk))
    socket.once('error', (error) => fail(error.message))
    socket.once('close', () => fail('the connection was closed'))
  }
  for (const socket of sockets) socket.write(next())
  await sleep(warmUpSeconds * 1000)
  const start = sample(program.pid, calls)
  await sleep(seconds * 1000)
  end ??= sample(program.pid, calls)
  running = false
  for (const socket of sockets) socket.destroy()
  if (failure !== undefined) throw failure
  return perUnit(start, end)
}

export function sample(pid, count) {
  const { user, system } = process.cpuUsage()
  return { count, cpu: cpuSeconds(pid), own: (user + system) / 1e6, machine: machineSeconds(), at: performance.now() }
}

/**
 * CPU time of one unit in microseconds, and units in a second. `busy` is the part of its core that the
 * program used, `others` the cores that neither it nor this bench used: above a few hundredths the
 * figures are of a machine that has other things to do.
 */
export function perUnit(start, end) {
  const [count, cpu, own, machine] = ['count', 'cpu', 'own', 'machine'].map((name) => end[name] - start[name])
  const seconds = (end.at - start.at) / 1000
  if (count === 0) throw new Error('nothing came through')
  return {
    cpuMicroseconds: (cpu / count) * 1e6,
    perSecond: count / seconds,
    busy: cpu / seconds,
    others: Math.max(0, (machine - cpu - own) / seconds)
  }
}

function parseHead(head) {
  const [status, ...lines] = head.split('\r\n')
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    })
  )
  return { status: Number(status.slice(9, 12)), headers }
}
