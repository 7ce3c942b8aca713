import { createCipheriv, createHash, createHmac } from 'node:crypto'
import type { HpkeSender } from '../../../src/seal/ehbp-client.js'
import {
  type HpkeKey,
  type OpenedRequest,
  openSealed,
  recognizeSealed,
  type RequestHead
} from '../../../src/seal/node/ehbp.js'
import { curveKeyPair } from '../../../src/seal/node/hpke-kem.js'
import { hpkeSender } from './hpke-sender.js'

/**
 * Sealed requests and answers as docs/wire-format.md describes them, written without the code
 * under test. Everything that can be wrong in one place can be given here.
 */
export const routerKey: HpkeKey = curveKeyPair('X25519', new Uint8Array(32).fill(0x11))

export const timeMs = 1_790_000_000_000
export const maximumFrameBytes = 20 * 1024 ** 2

export interface RawFrame {
  readonly kind?: number
  readonly text: string | Uint8Array
}

export interface RawRequest {
  readonly head: RequestHead
  readonly frames: readonly Buffer[]
  readonly body: Buffer
  readonly sender: HpkeSender
}

export const keyIdOf = (publicKey: Uint8Array): string =>
  createHash('sha256').update(publicKey).digest().subarray(0, 12).toString('base64url')

const headers = { 'content-type': 'application/json', authorization: 'Bearer key', 'x-other': 'open' }

export interface RawOptions {
  readonly recipient?: Uint8Array
  readonly ephemeralSecret?: Uint8Array
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly frames?: readonly RawFrame[]
}

/** A request of the extension; without other options one data frame and the end frame. */
export async function rawExtension({
  recipient = routerKey.publicKey,
  ephemeralSecret = new Uint8Array(32).fill(0x22),
  method = 'POST',
  path = '/v1/chat/completions?x=1',
  headers: given = headers,
  frames = [{ text: '{"model":"m"}' }, { kind: 1, text: '' }],
  seal = `v=1;kid=${keyIdOf(recipient)};t=${timeMs};h=content-type+authorization+x-absent`,
  info = 'confrouter seal v1'
}: RawOptions & { readonly seal?: string; readonly info?: string } = {}): Promise<RawRequest> {
  const sender = hpkeSender({ recipient, ephemeralSecret, info })
  const enc = Buffer.from(sender.encapsulatedKey).toString('hex')
  const names = (/;h=([^;]*)/.exec(seal)?.[1] ?? '').split('+').filter((name) => name !== '')
  const context = ['confrouter seal v1', method, path, seal, enc]
  for (const name of names) context.push(`${name}: ${given[name] ?? ''}`)
  const contextHash = sha256(context.join('\n'))
  const sealed: Buffer[] = []
  for (const { kind = 0, text } of frames) {
    const aad = Buffer.concat([Buffer.of(kind), contextHash])
    sealed.push(framed(Buffer.concat([Buffer.of(kind), await sender.seal(Buffer.from(text), aad)])))
  }
  const head = { method, path, headers: { ...given, 'ehbp-encapsulated-key': enc, 'confrouter-seal': seal } }
  return { head, frames: sealed, body: Buffer.concat(sealed), sender }
}

/** A request of plain EHBP. */
export async function rawPlain({
  recipient = routerKey.publicKey,
  ephemeralSecret = new Uint8Array(32).fill(0x22),
  method = 'POST',
  path = '/v1/chat/completions',
  headers: given = headers,
  frames = [{ text: '{"model":"m"}' }]
}: RawOptions = {}): Promise<RawRequest> {
  const sender = hpkeSender({ recipient, ephemeralSecret, info: 'ehbp request' })
  const sealed: Buffer[] = []
  for (const { text } of frames) sealed.push(framed(await sender.seal(Buffer.from(text), Buffer.alloc(0))))
  const enc = Buffer.from(sender.encapsulatedKey).toString('hex')
  const head = { method, path, headers: { ...given, 'ehbp-encapsulated-key': enc } }
  return { head, frames: sealed, body: Buffer.concat(sealed), sender }
}

export interface RawResponse {
  readonly frames: readonly Buffer[]
  readonly body: Buffer
}

/** An answer under the keys of a request; `binding` makes it one of the extension. */
export async function rawResponse(
  sender: HpkeSender,
  nonce: Uint8Array,
  frames: readonly RawFrame[],
  binding?: { readonly status: number; readonly contentType: string }
): Promise<RawResponse> {
  const label = binding === undefined ? 'ehbp response' : 'confrouter seal v1 response'
  const exported = await sender.export(Buffer.from(label), 32)
  const prk = hmac(Buffer.concat([sender.encapsulatedKey, nonce]), exported)
  const key = hmac(prk, 'key\u0001')
  const base = hmac(prk, 'nonce\u0001').subarray(0, 12)
  const contextHash = binding && sha256([label, String(binding.status), binding.contentType].join('\n'))
  const sealed = frames.map(({ kind = 0, text }, index) => {
    const iv = Buffer.from(base)
    iv.writeUInt32BE((iv.readUInt32BE(8) ^ index) >>> 0, 8)
    const head = contextHash === undefined ? Buffer.alloc(0) : Buffer.of(kind)
    const cipher = createCipheriv('aes-256-gcm', key, iv)
    if (contextHash !== undefined) cipher.setAAD(Buffer.concat([head, contextHash]))
    return framed(Buffer.concat([head, cipher.update(Buffer.from(text)), cipher.final(), cipher.getAuthTag()]))
  })
  return { frames: sealed, body: Buffer.concat(sealed) }
}

export function framed(content: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}

/** Data, the mark, zeros up to `length`. */
export function padded(data: string | Uint8Array, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  bytes.set(Buffer.from(data))
  bytes[Buffer.from(data).length] = 0x80
  return bytes
}

/** The router's half from head to opened request. */
export function begin(head: RequestHead, limit = maximumFrameBytes): OpenedRequest {
  const sealed = recognizeSealed(head)
  if (sealed === undefined) throw new Error('the request is not sealed')
  return openSealed(head, sealed, routerKey, { maximumFrameBytes: limit })
}

/** The text of a whole request. */
export function openWhole(head: RequestHead, body: Uint8Array): string {
  const opened = begin(head)
  const plaintexts = opened.push(body)
  opened.end()
  return Buffer.concat(plaintexts).toString()
}

export function flipped(bytes: Uint8Array, bit: number): Buffer {
  const altered = Buffer.from(bytes)
  altered[bit >> 3]! ^= 1 << (bit & 7)
  return altered
}

/** The code of the error that is thrown, or a word for none. */
export async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act()
    return 'no error'
  } catch (error) {
    return (error as { name?: string }).name === 'SealError'
      ? (error as { code: string }).code
      : `another error: ${String(error)}`
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
const hmac = (key: Uint8Array, data: string | Uint8Array): Buffer => createHmac('sha256', key).update(data).digest()
