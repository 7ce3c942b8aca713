import { createHash, type Hash, randomBytes } from 'node:crypto'
import { utf8 } from '../../base/encoding.js'
import {
  ehbpLabels,
  keyBytes,
  keyIdBytes,
  parseSealExtension,
  requestContext,
  responseContext,
  type SealExtension,
  sealHeaders
} from '../ehbp.js'
import { badSealedRequest, staleKey } from '../errors.js'
import { FrameOpener } from './frame-opener.js'
import { type HpkeReceiver, hpkeReceiver } from './hpke.js'
import type { CurveKeyPair } from './hpke-kem.js'
import { sealedResponse, type SealedResponse } from './sealed-response.js'

export type { SealExtension } from '../ehbp.js'
export type { SealedResponse } from './sealed-response.js'

/** What a request says before its body, as Node's HTTP server gives it. */
export interface RequestHead {
  readonly method: string
  /** Path with query as in the request line. */
  readonly path: string
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** The router's X25519 pair. */
export type HpkeKey = CurveKeyPair

export interface SealedHead {
  readonly encapsulatedKey: Uint8Array
  /** Undefined in plain EHBP. */
  readonly extension: SealExtension | undefined
}

export interface OpenedRequest {
  /**
   * Takes bytes of the body and gives the plaintexts that became whole, in order, each authentic.
   *
   * Throws a `SealError`: `stale_key` if the first frame of plain EHBP does not open, since nothing
   * tells a stale key from a forgery there, and for all else `bad_sealed_request`.
   */
  push(chunk: Uint8Array): Uint8Array[]
  /** Throws `bad_sealed_request` if the body is not whole, as far as its form can tell. */
  end(): void
  /** True once one frame was authenticated. */
  readonly authenticated: boolean
  /** Bytes taken in of a frame that is not whole yet. */
  readonly held: number
  /** Bytes of the body so far. */
  readonly sealedBytes: number
  /** Lower-case hex SHA-256 of the body so far. */
  sha256(): string
  /**
   * The answer, with a nonce of its own; once for each request. In the extension its frames are bound to
   * `status` and `contentType`: the exact value of that header, or an empty text if there is none.
   */
  startResponse(status: number, contentType: string): SealedResponse
}

/**
 * Reads the headers of sealing, without any cryptography: `undefined` if the request is not sealed.
 * Throws a `SealError` with code `bad_sealed_request` if they are malformed, or if the extension's
 * header stands there without a key.
 */
export function recognizeSealed({ headers }: RequestHead): SealedHead | undefined {
  const encapsulatedKey = headers[sealHeaders.encapsulatedKey]
  const seal = headers[sealHeaders.seal]
  if (encapsulatedKey === undefined && seal === undefined) return undefined
  if (typeof encapsulatedKey !== 'string' || !/^[0-9a-f]{64}$/.test(encapsulatedKey)) throw badSealedRequest()
  if (typeof seal === 'object') throw badSealedRequest()
  return {
    encapsulatedKey: Buffer.from(encapsulatedKey, 'hex'),
    extension: seal === undefined ? undefined : parseSealExtension(seal)
  }
}

/**
 * Sets up the opening of a body. Throws a `SealError`: `stale_key` if the extension names another
 * key, `bad_sealed_request` if the encapsulated key gives no secret or a bound header is no single
 * line. A frame whose length field is above `maximumFrameBytes` is refused before it is read.
 */
export function openSealed(
  head: RequestHead,
  { encapsulatedKey, extension }: SealedHead,
  key: HpkeKey,
  { maximumFrameBytes }: { readonly maximumFrameBytes: number }
): OpenedRequest {
  if (extension !== undefined && extension.kid !== keyId(key.publicKey)) throw staleKey()
  const contextHash = extension && requestContextHash(head, encapsulatedKey, extension)
  const receiver = receive(encapsulatedKey, key, extension === undefined ? receivers.plain : receivers.extension)
  const frames = new FrameOpener(receiver, contextHash, maximumFrameBytes)
  return new Opened(frames, receiver, encapsulatedKey, extension)
}

const receivers = {
  plain: hpkeReceiver(utf8.encode(ehbpLabels.plain.info)),
  extension: hpkeReceiver(utf8.encode(ehbpLabels.extension.info))
}
const exportLabels = {
  plain: utf8.encode(ehbpLabels.plain.export),
  extension: utf8.encode(ehbpLabels.extension.export)
}

function receive(encapsulatedKey: Uint8Array, key: HpkeKey, setUp: ReturnType<typeof hpkeReceiver>): HpkeReceiver {
  try {
    return setUp(encapsulatedKey, key)
  } catch {
    // Without a cause, like every failure to open.
    throw badSealedRequest()
  }
}

function requestContextHash(
  { method, path, headers }: RequestHead,
  encapsulatedKey: Uint8Array,
  extension: SealExtension
): Uint8Array {
  const context = requestContext({
    method,
    path,
    encapsulatedKeyHex: Buffer.from(encapsulatedKey).toString('hex'),
    extension,
    header: (name) => {
      const value = Object.hasOwn(headers, name) ? headers[name] : undefined
      // More than one line has no one value that both sides would bind.
      if (typeof value === 'object') throw badSealedRequest()
      return value
    }
  })
  return sha256(context)
}

const sha256 = (text: string): Uint8Array => createHash('sha256').update(text, 'utf8').digest()

/** `hpkeKeyId`, worked out once for each key. */
function keyId(publicKey: Uint8Array): string {
  const known = keyIds.get(publicKey)
  if (known !== undefined) return known
  const id = createHash('sha256').update(publicKey).digest().subarray(0, keyIdBytes).toString('base64url')
  keyIds.set(publicKey, id)
  return id
}

const keyIds = new WeakMap<Uint8Array, string>()

const nonces = { pool: Buffer.alloc(0), at: 0 }

/** 32 random bytes out of a pool: to ask for them one by one costs ten times as much. */
function randomNonce(): Uint8Array {
  if (nonces.at === nonces.pool.length) Object.assign(nonces, { pool: randomBytes(128 * keyBytes), at: 0 })
  const nonce = nonces.pool.subarray(nonces.at, nonces.at + keyBytes)
  nonces.at += keyBytes
  return nonce
}

/** An answer may take an hour, so whatever is not needed any more is let go. */
class Opened implements OpenedRequest {
  #frames: FrameOpener | undefined
  #receiver: HpkeReceiver | undefined
  #hash: Hash | undefined = createHash('sha256')
  #digest = ''
  #sealedBytes = 0

  constructor(
    frames: FrameOpener,
    receiver: HpkeReceiver,
    private readonly encapsulatedKey: Uint8Array,
    private readonly extension: SealExtension | undefined
  ) {
    this.#frames = frames
    this.#receiver = receiver
  }

  get authenticated(): boolean {
    return this.#frames?.authenticated ?? true
  }

  get held(): number {
    return this.#frames?.held ?? 0
  }

  get sealedBytes(): number {
    return this.#sealedBytes
  }

  push(chunk: Uint8Array): Uint8Array[] {
    // Nothing follows the end of a body.
    if (this.#frames === undefined) throw badSealedRequest()
    this.#sealedBytes += chunk.length
    this.#hash?.update(chunk)
    return this.#frames.push(chunk)
  }

  end(): void {
    this.#frames?.end()
    this.#digest = this.sha256()
    this.#frames = undefined
    this.#hash = undefined
  }

  sha256(): string {
    return this.#hash?.copy().digest('hex') ?? this.#digest
  }

  startResponse(status: number, contentType: string): SealedResponse {
    const { encapsulatedKey, extension } = this
    if (this.#receiver === undefined) throw new Error('the request has its sealed answer already')
    const label = extension === undefined ? exportLabels.plain : exportLabels.extension
    const exported = this.#receiver.export(label, keyBytes)
    this.#receiver = undefined
    return sealedResponse(
      { exported, encapsulatedKey, nonce: randomNonce() },
      extension && { contextHash: sha256(responseContext(status, contentType)), pad: extension.pad }
    )
  }
}
