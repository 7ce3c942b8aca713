import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256, NotSupportedError } from 'hpke'
import { concatBytes } from '../base/bytes.js'
import { decodeBase64Url, decodeHex, encodeHex, utf8 } from '../base/encoding.js'
import {
  ehbpLabels,
  formatSealExtension,
  hpkeKeyId,
  keyBytes,
  maximumReceiptHeaderLength,
  requestContext,
  responseContext,
  sealHeaders
} from './ehbp.js'
import { badSealedAnswer, SealError } from './errors.js'
import { decodeReceipt, openFrames } from './opened-body.js'
import { pulledStream } from './pulled-stream.js'
import { deriveResponseKeys, type ResponseKeys } from './response-keys.js'
import { type RequestBinding, sealBytes, sealStream } from './sealed-body.js'

export interface EhbpRequest {
  /** The router's public HPKE key of verified evidence, 32 bytes. */
  readonly recipient: Uint8Array
  /** As it will stand in the request line, in capitals. */
  readonly method: string
  /** Path with query as it will stand in the request line. */
  readonly path: string
  /** What will be sent beside the headers of sealing; only those that `cover` names matter here. */
  readonly headers: Readonly<Record<string, string>>
  /** `undefined` seals an empty body. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | undefined
  /** Without it the request is plain EHBP. */
  readonly extension?: EhbpExtension | undefined
}

export interface EhbpExtension {
  /** The caller's clock, Unix milliseconds. */
  readonly timeMs: number
  /** Names of the headers to be bound, in any case; the router acts on no others. */
  readonly cover: readonly string[]
  /** Pads the frames of the request, and asks the router to pad those of the answer. */
  readonly pad?: boolean | undefined
}

export interface SealedEhbpRequest {
  /** To be sent beside the others. */
  readonly headers: Readonly<Record<string, string>>
  /** A stream if the body was one. */
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>
  /** Lower-case hex SHA-256 of the sealed body, for the receipt; of a stream once all of it was read. */
  readonly sha256: Promise<string>
  /** Opens the answer, whatever its status. */
  openResponse(this: void, response: EhbpResponse): OpenedEhbpResponse
}

/** What `fetch` gives. */
export interface EhbpResponse {
  readonly status: number
  readonly headers: Headers
  readonly body: ReadableStream<Uint8Array> | null
}

export interface OpenedEhbpResponse {
  /**
   * Fails with a `SealError`: `unsealed_answer` if the answer is in the open, so that nothing is known of
   * who wrote it, `bad_sealed_answer` if it was altered, `truncated_answer` if its end is missing. What
   * came before a failure is authentic.
   */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  /**
   * The JWS of the end frame, once the body was read to its end; `undefined` if there is none, and
   * always in plain EHBP. Fails as the body does, or with the reason if it is cancelled.
   */
  readonly receipt: Promise<string | undefined>
  /** Opens the value of the header or trailer `Confrouter-Receipt` of plain EHBP. Fails like the body. */
  openReceiptHeader(this: void, value: string): Promise<string>
}

/**
 * Seals a request by EHBP or its extension (docs/wire-format.md). Nothing but the body is hidden.
 *
 * Throws a `SealError`: `invalid_key` if nothing can be sealed to the recipient, `invalid_request` if
 * the extension cannot bind what is given, `unsupported` if this WebCrypto has no X25519.
 */
export async function sealEhbp(request: EhbpRequest): Promise<SealedEhbpRequest> {
  const form = request.extension === undefined ? 'plain' : 'extension'
  return sealFor(await setUpSender(request.recipient, form), request)
}

/** HPKE's context of a sender, RFC 9180 section 5.2 and 5.3, with the key that it sends along. */
export interface HpkeSender {
  readonly encapsulatedKey: Uint8Array
  seal(this: void, plaintext: Uint8Array, additionalData: Uint8Array): Promise<Uint8Array>
  export(this: void, context: Uint8Array, length: number): Promise<Uint8Array>
}

/** `sealEhbp` under a given context, which serves for one request. */
export async function sealFor(sender: HpkeSender, request: EhbpRequest): Promise<SealedEhbpRequest> {
  const encapsulatedKeyHex = encodeHex(sender.encapsulatedKey)
  const seal = request.extension && (await bind(request, request.extension, encapsulatedKeyHex))
  const { body = new Uint8Array() } = request
  const sealed =
    body instanceof Uint8Array
      ? await sealBytes(body, sender.seal, seal?.binding)
      : sealStream(body, sender.seal, seal?.binding)
  return {
    headers: {
      [sealHeaders.encapsulatedKey]: encapsulatedKeyHex,
      ...(seal && { [sealHeaders.seal]: seal.text })
    },
    body: sealed.body,
    sha256: sealed.sha256,
    openResponse: (response) => openResponse(sender, seal !== undefined, response)
  }
}

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)

/** A context for one request: what goes along with it may have to name its encapsulated key. Throws like `sealEhbp`. */
export async function setUpSender(recipient: Uint8Array, form: keyof typeof ehbpLabels): Promise<HpkeSender> {
  const { info } = ehbpLabels[form]
  try {
    const publicKey = await suite.DeserializePublicKey(recipient)
    const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info: utf8.encode(info) })
    return {
      encapsulatedKey: encapsulatedSecret,
      seal: (plaintext, additionalData) => ctx.Seal(plaintext, additionalData),
      export: (context, length) => ctx.Export(context, length)
    }
  } catch (error) {
    if (error instanceof NotSupportedError) {
      throw new SealError('unsupported', 'this WebCrypto has no X25519, so nothing can be sealed')
    }
    throw new SealError('invalid_key', 'the HPKE key of the router is no X25519 key')
  }
}

/** Works out what every frame is bound to. */
async function bind(
  { recipient, method, path, headers }: EhbpRequest,
  { timeMs, cover, pad = false }: EhbpExtension,
  encapsulatedKeyHex: string
): Promise<{ readonly text: string; readonly binding: RequestBinding }> {
  // Another spelling than the one in the request line could not be opened, and only the router would say so.
  if (!/^[A-Z]+(?:-[A-Z]+)*$/.test(method)) throw invalid('the method must be in capitals')
  if (!/^\/[\x21\x22\x24-\x7e]*$/.test(path)) throw invalid('the path must be one of a request line')
  const covered = cover.map((name) => name.toLowerCase())
  const text = formatSealExtension({ kid: await hpkeKeyId(recipient), timeMs, covered, pad })
  const values = valuesByName(headers)
  const context = requestContext({
    method,
    path,
    encapsulatedKeyHex,
    extension: { text, covered },
    header: (name) => values.get(name)
  })
  return { text, binding: { contextHash: await sha256(context), pad } }
}

/** By lower-case name, each value as it arrives: HTTP removes white space around it. */
function valuesByName(headers: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const [name, value] of Object.entries(headers)) {
    const key = name.toLowerCase()
    if (values.has(key)) throw invalid(`the header "${key}" is given twice`)
    const trimmed = value.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '')
    // The first three end a header, the others cannot be in one.
    if (/[\0\n\r]|[^\0-\xff]/.test(trimmed)) throw invalid(`the header "${key}" has a value that no header has`)
    values.set(key, trimmed)
  }
  return values
}

const invalid = (problem: string): SealError =>
  new SealError('invalid_request', `the request cannot be sealed: ${problem}`)

function openResponse(sender: HpkeSender, isExtended: boolean, response: EhbpResponse): OpenedEhbpResponse {
  // Shared, since a header may be opened before the body; the body then fails alike.
  let keys: Promise<ResponseKeys> | undefined
  const deriveOnce = (): Promise<ResponseKeys> => (keys ??= deriveKeys(sender, isExtended, response.headers))
  const source = response.body ?? new Blob().stream()
  const { stream, outcome } = pulledStream(source, async function* (reader) {
    const contextHash = isExtended ? await sha256(contextOf(response)) : undefined
    return yield* openFrames(reader, await deriveOnce(), contextHash)
  })
  return {
    body: stream,
    receipt: outcome,
    openReceiptHeader: async (value) => openReceiptHeader(await deriveOnce(), isExtended, value)
  }
}

const contextOf = ({ status, headers }: EhbpResponse): string =>
  responseContext(status, headers.get('content-type') ?? '')

async function deriveKeys(sender: HpkeSender, isExtended: boolean, headers: Headers): Promise<ResponseKeys> {
  const nonce = headers.get(sealHeaders.responseNonce)
  if (nonce === null) {
    throw new SealError('unsealed_answer', 'the answer is not sealed: nothing shows that the router wrote it')
  }
  if (!/^[0-9a-f]{64}$/.test(nonce)) throw badSealedAnswer()
  const label = isExtended ? ehbpLabels.extension.export : ehbpLabels.plain.export
  return deriveResponseKeys({
    exported: await sender.export(utf8.encode(label), keyBytes),
    encapsulatedKey: sender.encapsulatedKey,
    nonce: decodeHex(nonce, 'the nonce')
  })
}

async function openReceiptHeader(keys: ResponseKeys, isExtended: boolean, value: string): Promise<string> {
  // In the extension the receipt stands in the end frame, so that one in a header is somebody else's.
  if (isExtended || value.length > maximumReceiptHeaderLength) throw badSealedAnswer()
  try {
    return decodeReceipt(await keys.openReceipt(decodeBase64Url(value, 'the receipt')))
  } catch {
    throw badSealedAnswer()
  }
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concatBytes(utf8.encode(text))))
}
