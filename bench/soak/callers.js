// What callers do to a router, well and badly. Each kind of caller is a function that makes one call
// and returns when that is over; it throws if the router did anything but what it should.
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { CompactEncrypt, exportJWK, generateKeyPair, importJWK } from 'jose'
import { Agent, request } from 'undici'
import { callOnce, serialise } from '../lib/calls.js'
import { completion, question } from '../lib/upstream.js'

/** Gives kind of caller to how many of them there are at a time, and a function that makes one call. */
export async function createCallers({ port, sender, forms }) {
  const agent = new Agent({ connections: 64 })
  const origin = `http://127.0.0.1:${port}`
  const envelope = await createEnvelope(origin)

  const post = (model, { stream = false, signal } = {}) =>
    request(`${origin}/v1/chat/completions`, {
      method: 'POST',
      dispatcher: agent,
      signal,
      headers: {
        'content-type': 'application/json',
        accept: stream ? 'text/event-stream' : 'application/json',
        authorization: 'Bearer sk-proj-5f0fQ1yQ7xkqXo1uTn3c9m'
      },
      body: bodyFor(model)
    })

  const callers = {
    'plain call': [4, () => expectAnswer(post('answer'), 200, completion.length)],
    'large answer': [1, () => expectAnswer(post('large'), 200, 2 ** 20)],
    'call in an envelope': [1, async () => expectAnswer(envelope(agent), 200, completion.length)],
    stream: [8, () => expectAnswer(post('events', { stream: true }), 200, 20 * 250)],
    'stream that the caller leaves': [4, () => leaveStream(post)],
    'call that the caller gives up': [2, () => giveUp(post)],
    'upload that the caller gives up': [2, () => giveUpUpload(port)],
    'slow reader': [2, () => readSlowly(port)],
    'reader that stalls': [2, () => stall(port)],
    'failing provider': [1, () => expectAnswer(post('fail'), 500, 1)],
    'busy provider': [1, () => expectAnswer(post('busy'), 429, 1)],
    'provider that resets': [1, () => expectAnswer(post('reset'), 502, 1)],
    'provider that is not there': [1, () => expectAnswer(post('closed:answer'), 502, 1)],
    'provider that breaks off': [2, () => expectBreak(post('break', { stream: true }))],
    'malformed request': [1, () => expectMalformed(port)],
    'evidence and health': [1, () => look(origin, agent)]
  }
  for (const { name, form } of forms) {
    callers[`${name}: call`] = [2, () => expectSealed(port, sender, form, 'answer', completion.length)]
    callers[`${name}: stream`] = [2, () => expectSealed(port, sender, form, 'events', 20 * 250)]
    callers[`${name}: stream that the caller leaves`] = [2, () => leaveSealed(port, sender, form)]
  }
  return { callers, close: () => agent.destroy() }
}

/** The model's name says how the upstream behaves. */
export const bodyFor = (model) => Buffer.from(JSON.stringify({ ...JSON.parse(question.toString()), model }))

async function expectAnswer(answering, status, leastBytes) {
  const { statusCode, body } = await answering
  const bytes = (await body.arrayBuffer()).byteLength
  if (statusCode !== status || bytes < leastBytes) throw new Error(`status ${statusCode} with ${bytes} bytes`)
}

async function expectBreak(answering) {
  const { body } = await answering
  try {
    await body.arrayBuffer()
  } catch {
    return
  }
  throw new Error('an answer that broke off had a clean end')
}

async function leaveStream(post) {
  const { statusCode, body } = await post('endless', { stream: true })
  if (statusCode !== 200) throw new Error(`status ${statusCode}`)
  body.on('error', () => undefined)
  let events = 0
  for await (const _ of body) if (++events === 3) break
}

async function giveUp(post) {
  const patience = AbortSignal.timeout(100)
  try {
    await post('silent', { signal: patience })
  } catch {
    if (patience.aborted) return
  }
  throw new Error('a provider that is silent gave an answer')
}

async function giveUpUpload(port) {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(serialise(Buffer.alloc(100_000, 0x20)).subarray(0, 50_000))
  await sleep(100)
  socket.destroy()
}

/** Reads some of a flood in small steps, then goes. */
async function readSlowly(port) {
  const socket = connect(port, '127.0.0.1')
  let bytes = 0
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    bytes += chunk.length
    socket.pause()
  })
  socket.write(serialise(bodyFor('flood'), { accept: 'text/event-stream' }))
  for (let i = 0; i < 40; i++) {
    await sleep(50)
    socket.resume()
  }
  socket.destroy()
  if (bytes < 100_000) throw new Error(`only ${bytes} bytes of a flood came through`)
}

/** Reads nothing: the router has to break the connection itself. */
async function stall(port) {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.once('readable', () => undefined)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(serialise(bodyFor('flood'), { accept: 'text/event-stream' }))
  // Node notices the end of a connection that it does not read when it writes.
  const probe = setInterval(() => socket.write('\r\n'), 500)
  const inTime = await Promise.race([closed.then(() => true), sleep(30_000).then(() => false)])
  clearInterval(probe)
  socket.destroy()
  if (!inTime) throw new Error('a reader that stalled was kept for 30 s')
}

async function expectMalformed(port) {
  const { status } = await callOnce(port, Buffer.from('GET  / HTTP/1.1\r\nbad header\r\n\r\n'))
  if (status !== 400) throw new Error(`status ${status}`)
  await sleep(20)
}

async function look(origin, agent) {
  for (const path of ['/healthz', '/readyz', '/.well-known/confrouter', '/v1/crypto/jwk']) {
    await expectAnswer(request(`${origin}${path}`, { dispatcher: agent }), 200, 1)
  }
  await expectAnswer(request(`${origin}/nothing`, { dispatcher: agent }), 404, 1)
  await sleep(50)
}

async function expectSealed(port, sender, form, model, length) {
  const accept = model === 'events' ? 'text/event-stream' : 'application/json'
  const { bytes, open } = await sender[form](bodyFor(model), { accept })
  const opened = await open(await callOnce(port, bytes))
  if (opened.length !== length) throw new Error(`opened ${opened.length} bytes`)
}

async function leaveSealed(port, sender, form) {
  const { bytes } = await sender[form](bodyFor('endless'), { accept: 'text/event-stream' })
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  try {
    await new Promise((resolve, reject) => {
      let received = 0
      socket.on('data', (chunk) => {
        received += chunk.length
        if (received > 3 * 250) resolve()
      })
      socket.once('close', () => reject(new Error('the stream was closed')))
      socket.write(bytes)
    })
  } finally {
    socket.destroy()
  }
}

/** Requests to the router's RSA key, with answers to a key of this run. */
async function createEnvelope(origin) {
  const jwk = await (await fetch(`${origin}/v1/crypto/jwk`)).json()
  const recipient = await importJWK(jwk, 'RSA-OAEP-256')
  const { publicKey } = await generateKeyPair('RSA-OAEP-256', { extractable: true })
  const own = await exportJWK(publicKey)
  return async (dispatcher) => {
    const payload = await new CompactEncrypt(bodyFor('answer'))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid: jwk.kid })
      .encrypt(recipient)
    return request(`${origin}/v1/chat/completions`, {
      method: 'POST',
      dispatcher,
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-proj-5f0fQ1yQ7xkqXo1uTn3c9m' },
      body: JSON.stringify({ encrypted_payload: payload, encode_response_pub: own })
    })
  }
}
