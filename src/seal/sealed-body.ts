import { concatBytes } from '../base/bytes.js'
import { encodeHex } from '../base/encoding.js'
import { frameKind, lengthBytes, tagBytes } from './ehbp.js'
import { pad } from './padding.js'
import { pulledStream } from './pulled-stream.js'
import { Sha256 } from './sha256.js'

/** Seals one message after another under the context of a request. */
export type SealNext = (plaintext: Uint8Array, additionalData: Uint8Array) => Promise<Uint8Array>

/** What the extension adds: the hash that frames are bound to, and whether data is padded. */
export interface RequestBinding {
  readonly contextHash: Uint8Array
  readonly pad: boolean
}

export interface SealedBody<Body> {
  readonly body: Body
  /** Lower-case hex SHA-256 of the sealed body, once all of it was taken; rejects if it never is. */
  readonly sha256: Promise<string>
}

/** Longest piece in one frame, since the receiver holds a frame until it is whole. Padded it fills its bucket. */
const longestPiece = 1024 ** 2 - 1

/** Seals a whole body; without `binding` in plain EHBP. An empty one is sealed too, so that it is authentic. */
export async function sealBytes(
  body: Uint8Array,
  seal: SealNext,
  binding: RequestBinding | undefined
): Promise<SealedBody<Uint8Array<ArrayBuffer>>> {
  const frames: Uint8Array[] = []
  for (const piece of piecesOf(body)) frames.push(await dataFrame(piece, seal, binding))
  if (binding !== undefined) frames.push(await endFrame(seal, binding))
  else if (frames.length === 0) frames.push(await dataFrame(body, seal, binding))
  const whole = concatBytes(...frames)
  return {
    body: whole,
    sha256: crypto.subtle.digest('SHA-256', whole).then((digest) => encodeHex(new Uint8Array(digest)))
  }
}

/**
 * Seals a body as it comes: one frame is made when one is asked for, and nothing waits in between.
 * Whoever cancels it cancels the body.
 */
export function sealStream(
  body: ReadableStream<Uint8Array>,
  seal: SealNext,
  binding: RequestBinding | undefined
): SealedBody<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const hash = new Sha256()
  const { stream, outcome } = pulledStream(body, async function* (reader) {
    for await (const frame of framesOf(reader, seal, binding)) {
      hash.update(frame)
      yield frame
    }
    return encodeHex(hash.digest())
  })
  return { body: stream, sha256: outcome }
}

async function* framesOf(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  seal: SealNext,
  binding: RequestBinding | undefined
): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
  let isEmpty = true
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    if (!(value instanceof Uint8Array)) throw new TypeError('a body is a stream of Uint8Array')
    for (const piece of piecesOf(value)) {
      isEmpty = false
      yield dataFrame(piece, seal, binding)
    }
  }
  if (binding !== undefined) yield endFrame(seal, binding)
  else if (isEmpty) yield dataFrame(new Uint8Array(), seal, binding)
}

function dataFrame(
  plaintext: Uint8Array,
  seal: SealNext,
  binding: RequestBinding | undefined
): Promise<Uint8Array<ArrayBuffer>> {
  if (binding?.pad === true) return frame(frameKind.padded, pad(plaintext), seal, binding)
  return frame(frameKind.data, plaintext, seal, binding)
}

/** It says nothing by its length, which is always the same, so it needs no padding. */
function endFrame(seal: SealNext, binding: RequestBinding): Promise<Uint8Array<ArrayBuffer>> {
  return frame(frameKind.end, new Uint8Array(), seal, binding)
}

async function frame(
  kind: number,
  plaintext: Uint8Array,
  seal: SealNext,
  binding: RequestBinding | undefined
): Promise<Uint8Array<ArrayBuffer>> {
  const kindBytes = binding === undefined ? new Uint8Array() : Uint8Array.of(kind)
  const length = new Uint8Array(lengthBytes)
  new DataView(length.buffer).setUint32(0, kindBytes.length + plaintext.length + tagBytes)
  const additionalData = binding === undefined ? kindBytes : concatBytes(kindBytes, binding.contextHash)
  return concatBytes(length, kindBytes, await seal(plaintext, additionalData))
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array, undefined> {
  for (let offset = 0; offset < bytes.length; offset += longestPiece) {
    yield bytes.subarray(offset, offset + longestPiece)
  }
}
