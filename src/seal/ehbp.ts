import { concatBytes } from '../base/bytes.js'
import { encodeBase64Url } from '../base/encoding.js'
import { badSealedRequest, SealError } from './errors.js'

/**
 * What both halves of EHBP and of its extension agree on (docs/wire-format.md, EHBP and extension).
 * Names of headers are in lower case, as Node and `Headers` give them.
 */
export const sealHeaders = {
  encapsulatedKey: 'ehbp-encapsulated-key',
  responseNonce: 'ehbp-response-nonce',
  seal: 'confrouter-seal',
  receipt: 'confrouter-receipt'
} as const

/** The two forms differ in these, so that whoever removes the header of the extension gets no EHBP. */
export const ehbpLabels = {
  plain: { info: 'ehbp request', export: 'ehbp response' },
  extension: { info: 'confrouter seal v1', export: 'confrouter seal v1 response' }
} as const

/** How the keys of an answer are expanded. */
export const responseLabels = {
  key: 'key',
  nonce: 'nonce',
  receiptKey: 'confrouter receipt key',
  receiptNonce: 'confrouter receipt nonce'
} as const

/** Bits of a frame's kind, which only the extension has. */
export const frameKind = { data: 0, end: 1, padded: 2 } as const
/** Kinds are below this. */
export const frameKinds = 4

/** Length of a frame's length field, in bytes, big-endian. */
export const lengthBytes = 4
/** Of AES-256-GCM, in bytes. */
export const tagBytes = 16
/** Of the answer's nonce, of an X25519 key and of an AES-256 key. */
export const keyBytes = 32
/** Of AES-GCM. */
export const nonceBytes = 12

/** A frame of an answer has at most so many bytes behind its length field; a caller refuses longer ones. */
export const maximumAnswerFrameBytes = 64 * 1024 ** 2

/** Longest value of `Confrouter-Receipt` that a caller looks at. */
export const maximumReceiptHeaderLength = 32_768

/** What `Confrouter-Seal` says. */
export interface SealExtension {
  /** The whole header value, which is bound as it stands. */
  readonly text: string
  /** `hpkeKeyId` of the key to which the request is sealed. */
  readonly kid: string
  /** When it was sealed by the caller's clock, Unix milliseconds. */
  readonly timeMs: number
  /** Lower-case names of the headers that are bound. */
  readonly covered: readonly string[]
  /** The caller asks for padded frames. */
  readonly pad: boolean
}

/** Throws a `SealError` with code `bad_sealed_request` for any but the one spelling. */
export function parseSealExtension(text: string): SealExtension {
  const match = text.length <= maximumExtensionLength ? extensionPattern.exec(text) : null
  if (match === null) throw badSealedRequest()
  const [, kid = '', time = '', names = '', padding] = match
  const covered = names === '' ? [] : names.split('+')
  if (covered.length > maximumCoveredHeaders || new Set(covered).size !== covered.length) throw badSealedRequest()
  return { text, kid, timeMs: Number(time), covered, pad: padding !== undefined }
}

/** Throws a `SealError` with code `invalid_request` for values that the header cannot say. */
export function formatSealExtension({
  kid,
  timeMs,
  covered,
  pad
}: Pick<SealExtension, 'kid' | 'timeMs' | 'covered' | 'pad'>): string {
  const time = Number.isSafeInteger(timeMs) ? String(timeMs).padStart(13, '0') : ''
  const text = `v=1;kid=${kid};t=${time};h=${covered.join('+')}${pad ? ';pad=1' : ''}`
  if (!says(text, covered, pad)) {
    throw new SealError(
      'invalid_request',
      `a seal needs a key id, a time in Unix milliseconds, and at most ${maximumCoveredHeaders} different header names in lower case`
    )
  }
  return text
}

/** Whether the text is read as it was meant: a name must not be able to end the list. */
function says(text: string, covered: readonly string[], pad: boolean): boolean {
  try {
    const parsed = parseSealExtension(text)
    return parsed.pad === pad && parsed.covered.length === covered.length
  } catch {
    return false
  }
}

const maximumExtensionLength = 512
const maximumCoveredHeaders = 16
const extensionPattern = /^v=1;kid=([A-Za-z0-9_-]{16});t=([0-9]{13});h=((?:[a-z0-9-]+(?:\+[a-z0-9-]+)*)?)(;pad=1)?$/

/**
 * What every frame of an extension's request is bound to. `header` gives the value of a header, or
 * `undefined` if the request has none of that name. Throws a `SealError` with code
 * `bad_sealed_request` if a value could pass for more than one line.
 */
export function requestContext({
  method,
  path,
  encapsulatedKeyHex,
  extension,
  header
}: {
  readonly method: string
  /** Path with query as in the request line. */
  readonly path: string
  readonly encapsulatedKeyHex: string
  readonly extension: Pick<SealExtension, 'text' | 'covered'>
  header(this: void, name: string): string | undefined
}): string {
  return lines([
    ehbpLabels.extension.info,
    method,
    path,
    extension.text,
    encapsulatedKeyHex,
    ...extension.covered.map((name) => `${name}: ${header(name) ?? ''}`)
  ])
}

/** What every frame of an extension's answer is bound to; `contentType` is empty if the answer has none. */
export function responseContext(status: number, contentType: string): string {
  return lines([ehbpLabels.extension.export, String(status), contentType])
}

function lines(values: readonly string[]): string {
  if (values.some((value) => value.includes('\n'))) throw badSealedRequest()
  return values.join('\n')
}

/** First 12 bytes of SHA-256 of the router's public HPKE key, base64url: 16 characters. */
export async function hpkeKeyId(publicKey: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', concatBytes(publicKey))
  return encodeBase64Url(new Uint8Array(digest).subarray(0, keyIdBytes))
}

export const keyIdBytes = 12

/**
 * RFC 9458 section 3.1 without a length in front, as EHBP wants it: one key, X25519 with
 * HKDF-SHA256 and AES-256-GCM, 41 bytes. Throws a `SealError` with code `invalid_key`.
 */
export function encodeKeyConfiguration(publicKey: Uint8Array): Uint8Array<ArrayBuffer> {
  if (publicKey.length !== keyBytes) throw invalidKeyConfiguration()
  return concatBytes(configurationHead, publicKey, configurationTail)
}

/**
 * The public key in a key configuration. Nothing vouches for it there: compare it with the one of
 * verified evidence. Throws a `SealError` with code `invalid_key` for any other suite or form.
 */
export function parseKeyConfiguration(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const publicKey = bytes.slice(configurationHead.length, configurationHead.length + keyBytes)
  const expected = publicKey.length === keyBytes ? encodeKeyConfiguration(publicKey) : undefined
  if (expected?.length !== bytes.length || expected.some((byte, index) => byte !== bytes[index])) {
    throw invalidKeyConfiguration()
  }
  return concatBytes(publicKey)
}

const configurationHead = Uint8Array.of(0x00, 0x00, 0x20)
const configurationTail = Uint8Array.of(0x00, 0x04, 0x00, 0x01, 0x00, 0x02)

const invalidKeyConfiguration = (): SealError =>
  new SealError('invalid_key', 'the key configuration is not one X25519 key for HKDF-SHA256 and AES-256-GCM')
