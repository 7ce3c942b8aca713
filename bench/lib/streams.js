// Load of event streams. Both ends are in this process, so it can write an event at the upstream and
// see it at the caller, on the same clock.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { perUnit, sample } from './calls.js'
import { MessageReader } from './message-reader.js'
import { event } from './upstream.js'

/**
 * Opens streams one after the other. Each is `{ writeEvent, onEvent, close }`: `onEvent` is called
 * for every event that has come through. `next` gives the next request; with `framed` the body is
 * frames of EHBP, each of which is one event.
 */
export async function openStreams({ port, upstream, next, framed, count }) {
  const streams = []
  for (let i = 0; i < count; i++) streams.push(await openStream({ port, upstream, request: next(), framed }))
  return streams
}

async function openStream({ port, upstream, request, framed }) {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.setNoDelay(true)
  const stream = { onEvent: () => undefined, failure: undefined, close: () => undefined }
  const fail = (why) => {
    stream.failure ??= new Error(why)
  }
  const counter = framed ? countFrames : countEvents
  const onData = counter(() => stream.onEvent())
  const asked = upstream.nextStream()
  const head = new Promise((resolve) => {
    const reader = new MessageReader({
      onHead: (text) => {
        if (!text.startsWith('HTTP/1.1 200')) fail(`answered ${text.slice(0, text.indexOf('\r\n'))}`)
        resolve()
      },
      onData,
      onEnd: () => fail('the stream ended')
    })
    socket.on('data', (chunk) => reader.push(chunk))
    socket.once('error', (error) => fail(error.message))
    socket.once('close', () => {
      fail('the connection was closed')
      resolve()
    })
  })
  socket.write(request)
  const source = await Promise.race([asked, head])
  if (stream.failure !== undefined) throw stream.failure
  stream.writeEvent = (source ?? (await asked)).writeEvent
  stream.close = () => socket.destroy()
  const first = new Promise((resolve) => (stream.onEvent = () => resolve(true)))
  stream.writeEvent()
  if (!(await inTime(first))) fail('the first event did not come through')
  if (stream.failure !== undefined) throw stream.failure
  return stream
}

/** Writes each stream's next event when the last one has come through: no two of them in one read. */
export async function measureEvents({ program, streams, seconds, warmUpSeconds = 0.2 }) {
  let events = 0
  let running = true
  for (const stream of streams) {
    stream.onEvent = () => {
      events++
      if (running) stream.writeEvent()
    }
    stream.writeEvent()
  }
  await sleep(warmUpSeconds * 1000)
  const start = sample(program.pid, events)
  await sleep(seconds * 1000)
  const end = sample(program.pid, events)
  running = false
  await sleep(50)
  requireWhole(streams)
  return perUnit(start, end)
}

/**
 * Milliseconds from the write of an event to its receipt, one event at a time and each lane in its turn,
 * so that whatever holds this machine up for some milliseconds does it to all of them. Gives lane name
 * to `count` delays.
 */
export async function measureDelays(lanes, count) {
  const delays = Object.fromEntries(lanes.map(({ name }) => [name, []]))
  for (let i = 0; i < count; i++) {
    for (const { name, streams } of lanes) {
      const stream = streams[i % streams.length]
      await sleep(1)
      const writtenAt = performance.now()
      const came = new Promise((resolve) => {
        stream.onEvent = () => resolve(performance.now() - writtenAt)
      })
      stream.writeEvent()
      delays[name].push((await inTime(came)) ?? Number.POSITIVE_INFINITY)
    }
  }
  for (const { streams } of lanes) requireWhole(streams)
  return delays
}

export function closeStreams(streams) {
  for (const stream of streams) stream.close()
}

/** `undefined` if nothing comes within 2 s. */
async function inTime(coming) {
  const waited = new AbortController()
  const late = sleep(2000, undefined, { signal: waited.signal }).catch(() => undefined)
  try {
    return await Promise.race([coming, late])
  } finally {
    waited.abort()
  }
}

function requireWhole(streams) {
  const failed = streams.find(({ failure }) => failure !== undefined)
  if (failed !== undefined) throw failed.failure
}

function countEvents(onEvent) {
  let bytes = 0
  return (piece) => {
    bytes += piece.length
    for (; bytes >= event.length; bytes -= event.length) onEvent()
  }
}

/** Each frame is its length in four bytes, then as many bytes. */
function countFrames(onEvent) {
  let missing = 0
  let header = Buffer.alloc(0)
  return (piece) => {
    let at = 0
    while (at < piece.length) {
      if (missing === 0) {
        const taken = piece.subarray(at, at + 4 - header.length)
        header = header.length === 0 ? taken : Buffer.concat([header, taken])
        at += taken.length
        if (header.length < 4) return
        missing = header.readUInt32BE()
        header = Buffer.alloc(0)
        continue
      }
      const taken = Math.min(missing, piece.length - at)
      missing -= taken
      at += taken
      if (missing === 0) onEvent()
    }
  }
}
