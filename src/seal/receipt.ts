import { compactVerify, errors, importJWK } from 'jose'
import { decodeBase64Url, encodeBase64Url, utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { keyBytes } from './ehbp.js'
import { SealError } from './errors.js'

/** What the router did with one sealed request (docs/wire-format.md, receipts). It tells nothing of the content. */
export interface Receipt {
  readonly v: 1
  /** `x-confrouter-request-id` of the answer. */
  readonly id: string
  /** Unix seconds by the router's clock. */
  readonly iat: number
  readonly request: {
    readonly method: string
    /** Without query. */
    readonly path: string
    /** Lower-case hex SHA-256 of the sealed body as it came, HTTP's transfer coding removed. */
    readonly sha256: string
    /** Length of that body. */
    readonly bytes: number
  }
  /** `null` if no provider was called. */
  readonly upstream: ReceiptUpstream | null
  readonly model: string | null
  /** Providers that were sent the request before and whose answers the caller did not get, in order; left out if there are none. */
  readonly before?: readonly (ReceiptUpstream & { readonly model: string | null })[] | undefined
  readonly response: {
    readonly status: number
    /** Length of the answer before it was sealed. */
    readonly bytes: number
  }
}

/** A server that was sent the request. */
export interface ReceiptUpstream {
  readonly provider: string
  readonly origin: string
  /** Lower-case hex SHA-256 of the SubjectPublicKeyInfo that the provider showed in TLS; `null` without TLS. */
  readonly spki: string | null
}

/** What says that a JWS is a receipt and no other text that the same key signs. */
export const receiptType = 'confrouter-receipt'
export const receiptAlgorithm = 'EdDSA'
/** Far above any receipt, the longest names included. */
const maximumReceiptLength = 16_384

/**
 * Verifies a receipt against the Ed25519 key of verified evidence, 32 bytes. What it says must
 * still be compared with what was sent.
 *
 * Throws a `SealError`: `bad_receipt` if it is not signed by that key or has another form,
 * `unsupported` if this WebCrypto has no Ed25519, so that nothing is known of the signature.
 */
export async function verifyReceipt(jws: string, ed25519PublicKey: Uint8Array): Promise<Receipt> {
  requireCanonical(jws)
  const key = await importReceiptKey(ed25519PublicKey)
  const { payload, protectedHeader } = await compactVerify(jws, key, { algorithms: [receiptAlgorithm] }).catch(
    (error: unknown) => {
      // jose has one error for a signature that is wrong and one that cannot be computed, but keeps the cause.
      if (error instanceof errors.JOSEError && hasName(error.cause, 'NotSupportedError')) throw unsupported()
      throw badReceipt('is not signed by this router')
    }
  )
  const { alg: _, typ, kid, ...others } = protectedHeader
  if (typ !== receiptType || typeof kid !== 'string' || Object.keys(others).length > 0) {
    throw badReceipt('has another header than receipts have')
  }
  return parseReceipt(payload)
}

/** Three parts in the one spelling of base64url, so that a receipt has one text. */
function requireCanonical(jws: string): void {
  try {
    const parts = jws.length <= maximumReceiptLength ? jws.split('.') : []
    if (parts.length !== 3) throw new TypeError('not a compact JWS')
    for (const part of parts) decodeBase64Url(part, 'the receipt')
  } catch {
    throw badReceipt('is not a compact JWS')
  }
}

async function importReceiptKey(publicKey: Uint8Array): Promise<CryptoKey> {
  if (publicKey.length !== keyBytes) throw new SealError('invalid_key', 'an Ed25519 key has 32 bytes')
  try {
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: encodeBase64Url(publicKey) }
    return (await importJWK(jwk, receiptAlgorithm)) as CryptoKey
  } catch (error) {
    // WebCrypto's word for bytes that are no key; any other failure says that it knows no such keys.
    if (hasName(error, 'DataError')) {
      throw new SealError('invalid_key', 'the bytes are no Ed25519 key')
    }
    throw unsupported()
  }
}

function hasName(error: unknown, name: string): boolean {
  return error instanceof DOMException && error.name === name
}

function parseReceipt(payload: Uint8Array): Receipt {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(payload))
  } catch {
    throw badReceipt('is not JSON')
  }
  if (!isReceipt(value)) throw badReceipt('does not say what receipts say')
  return value
}

/** Exactly the known members, so that a receipt says nothing that nobody reads. */
function isReceipt(value: unknown): value is Receipt {
  if (!isJsonObject(value)) return false
  const { before, ...others } = value
  if (before !== undefined && !isListOfUpstreams(before)) return false
  return hasMembers(others, {
    v: (v) => v === 1,
    id: isText,
    iat: isCount,
    request: (request) =>
      hasMembers(request, {
        method: isText,
        path: (path) => isText(path) && path.startsWith('/'),
        sha256: isSha256,
        bytes: isCount
      }),
    upstream: (upstream) => upstream === null || hasMembers(upstream, upstreamMembers),
    model: isModel,
    response: (response) =>
      hasMembers(response, {
        status: (status) => isCount(status) && status >= 100 && status <= 599,
        bytes: isCount
      })
  })
}

/** Far more than a router tries. */
const maximumUpstreams = 64

function isListOfUpstreams(list: unknown): boolean {
  if (!Array.isArray(list) || list.length === 0 || list.length > maximumUpstreams) return false
  return list.every((upstream: unknown) => hasMembers(upstream, { ...upstreamMembers, model: isModel }))
}

function hasMembers(
  value: unknown,
  members: Readonly<Record<string, (member: unknown) => boolean>>
): value is JsonObject {
  if (!isJsonObject(value) || Object.keys(value).length !== Object.keys(members).length) return false
  return Object.entries(members).every(([name, accepts]) => Object.hasOwn(value, name) && accepts(value[name]))
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.length > 0
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isSha256 = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
const isOrigin = (value: unknown): boolean => typeof value === 'string' && /^https?:\/\/[^/?#@\s]+$/.test(value)

const badReceipt = (problem: string): SealError => new SealError('bad_receipt', `the receipt ${problem}`)

const unsupported = (): SealError =>
  new SealError('unsupported', 'this WebCrypto cannot verify Ed25519, so the receipt was not checked')

const isModel = (model: unknown): boolean => model === null || typeof model === 'string'

const upstreamMembers = {
  provider: isText,
  origin: isOrigin,
  spki: (spki: unknown): boolean => spki === null || isSha256(spki)
}
