// The sender's half of sealed bodies, written for this bench from docs/wire-format.md and on the
// `hpke` package: what it seals, and what it opens, it did not learn from the router's own code.
import { createDecipheriv, createHash, createHmac } from 'node:crypto'
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import { serialise } from './calls.js'

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)
const utf8 = new TextEncoder()
const path = '/v1/chat/completions'

/** Headers that the extension covers: what the router is to act on. */
const covered = ['accept', 'authorization', 'content-type']
const headers = {
  accept: 'application/json',
  authorization: 'Bearer sk-proj-5f0fQ1yQ7xkqXo1uTn3c9m',
  'content-type': 'application/json'
}

/** Seals requests to one router, as plain EHBP or with the extension. */
export async function createSender(publicKey) {
  const recipient = await suite.DeserializePublicKey(publicKey)
  const kid = createHash('sha256').update(publicKey).digest().subarray(0, 12).toString('base64url')
  return {
    /** A request that may be sent again: nothing in it is fresh. Gives `{ bytes, open }`. */
    async ehbp(body, extraHeaders = {}) {
      const { encapsulatedSecret, ctx } = await setUp(recipient, 'ehbp request')
      const sealed = Buffer.from(await ctx.Seal(body))
      const enc = Buffer.from(encapsulatedSecret)
      const all = { ...headers, ...extraHeaders, 'ehbp-encapsulated-key': enc.toString('hex') }
      return {
        bytes: serialise(frame(sealed), all),
        open: (answer) => openAnswer(answer, ctx, enc, 'ehbp response')
      }
    },

    /** A request that the router takes once, and only now. Gives `{ bytes, open }`. */
    async extension(body, extraHeaders = {}) {
      const { encapsulatedSecret, ctx } = await setUp(recipient, 'confrouter seal v1')
      const enc = Buffer.from(encapsulatedSecret)
      const seal = `v=1;kid=${kid};t=${Date.now()};h=${covered.join('+')}`
      const all = { ...headers, ...extraHeaders }
      const lines = ['confrouter seal v1', 'POST', path, seal, enc.toString('hex')]
      lines.push(...covered.map((name) => `${name}: ${all[name]}`))
      const contextHash = createHash('sha256').update(lines.join('\n')).digest()
      const frames = []
      for (const [kind, plaintext] of [
        [0, body],
        [1, Buffer.alloc(0)]
      ]) {
        const sealed = await ctx.Seal(plaintext, Buffer.concat([Buffer.of(kind), contextHash]))
        frames.push(frame(Buffer.concat([Buffer.of(kind), sealed])))
      }
      return {
        bytes: serialise(Buffer.concat(frames), {
          ...all,
          'ehbp-encapsulated-key': enc.toString('hex'),
          'confrouter-seal': seal
        }),
        open: (answer) => openAnswer(answer, ctx, enc, 'confrouter seal v1 response')
      }
    }
  }
}

const setUp = (recipient, info) => suite.SetupSender(recipient, { info: utf8.encode(info) })

/** Opens a whole answer. Gives the body; throws if any of it is not what the router has sealed. */
async function openAnswer({ status, headers, body }, context, enc, label) {
  const nonce = headers.get('ehbp-response-nonce')
  if (nonce === undefined) throw new Error('the answer is not sealed')
  const secret = await context.Export(utf8.encode(label), 32)
  const prk = hmac(Buffer.concat([enc, Buffer.from(nonce, 'hex')]), Buffer.from(secret))
  const key = hmac(prk, Buffer.from('key\x01'))
  const baseNonce = hmac(prk, Buffer.from('nonce\x01')).subarray(0, 12)
  const extension = label.startsWith('confrouter')
  const lines = [label, status, headers.get('content-type') ?? '']
  const contextHash = createHash('sha256').update(lines.join('\n')).digest()
  const opened = []
  let sequence = 0
  let ended = false
  for (const sealed of framesOf(body)) {
    const kind = extension ? sealed[0] : 0
    const aad = extension ? Buffer.concat([Buffer.of(kind), contextHash]) : Buffer.alloc(0)
    const plaintext = openFrame(sealed.subarray(extension ? 1 : 0), key, nonceOf(baseNonce, sequence++), aad)
    if (kind === 1) ended = true
    else opened.push(plaintext)
  }
  if (extension && !ended) throw new Error('the answer has no end')
  return Buffer.concat(opened)
}

function* framesOf(body) {
  for (let at = 0; at < body.length;) {
    const length = body.readUInt32BE(at)
    at += 4
    if (length > 0) yield body.subarray(at, at + length)
    at += length
  }
}

function openFrame(sealed, key, nonce, aad) {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce)
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

function nonceOf(base, sequence) {
  const nonce = Buffer.from(base)
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8)
  return nonce
}

function frame(bytes) {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

const hmac = (key, data) => createHmac('sha256', key).update(data).digest()
