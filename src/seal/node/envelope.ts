import {
  constants,
  createCipheriv,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes
} from 'node:crypto'
import { decodeBase64Url, encodeBase64Url, utf8 } from '../../base/encoding.js'
import { isJsonObject, type JsonObject } from '../../base/json.js'
import { badEncryptedPayload, SealError } from '../errors.js'
import { envelopeReceiptLabel, jweContentAlgorithm, jweTypes, responseKeyParameter } from '../jwe.js'
import { parseRsaPublicJwk, rsaThumbprint } from '../rsa-key.js'
import { openJwe, type OpeningKey } from './open-jwe.js'

/** The key to which an answer is sealed. */
export interface ResponseKey {
  readonly publicKey: KeyObject
  /** The `kid` that the caller's JWK has, given back in the answer. */
  readonly kid: string | undefined
}

export interface OpenedEnvelope {
  /** The request's JSON text as the caller wrote it. */
  readonly plaintext: Uint8Array
  readonly request: JsonObject
  readonly responseKey: ResponseKey
}

/**
 * Opens a sealed request (docs/wire-format.md, envelope). `body` is the parsed body of the call.
 *
 * Throws a `SealError`: `invalid_envelope` for other members than the two, `invalid_response_key`
 * for a public key to which nothing can be sealed, and for all else `bad_encrypted_payload`.
 */
export async function openEnvelope(body: JsonObject, key: OpeningKey): Promise<OpenedEnvelope> {
  const { encrypted_payload: payload, encode_response_pub: responsePublic, ...others } = body
  if (typeof payload !== 'string' || Object.keys(others).length > 0) {
    throw new SealError(
      'invalid_envelope',
      'a sealed request has the members "encrypted_payload" (a text) and "encode_response_pub" and no other'
    )
  }
  const responseKey = parseResponseKey(responsePublic)
  const plaintext = payload.includes('.')
    ? await openRequestJwe(payload, key, responseKey)
    : openRawPayload(payload, key.privateKey)
  return { plaintext, request: parseRequest(plaintext), responseKey }
}

export interface SealedAnswer {
  readonly answer: JsonObject
  /** For the header `Confrouter-Receipt` beside the answer. */
  sealReceipt(this: void, receipt: string): string
}

/**
 * Seals the JSON text of an answer: a fresh 256-bit key under RSA-OAEP with SHA-256, the text under
 * AES-256-GCM with that key. `alg` says "RSA-OAEP" because existing clients expect that word.
 */
export function sealResponse(answer: Uint8Array, { publicKey, kid }: ResponseKey): SealedAnswer {
  const contentKey = randomBytes(32)
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', contentKey, iv)
  const ciphertext = Buffer.concat([cipher.update(answer), cipher.final()])
  return {
    answer: {
      alg: 'RSA-OAEP',
      enc: jweContentAlgorithm,
      ek: encodeBase64Url(publicEncrypt({ key: publicKey, ...oaepSha256 }, contentKey)),
      iv: encodeBase64Url(iv),
      tag: encodeBase64Url(cipher.getAuthTag()),
      ciphertext: ciphertext.toString('base64url'),
      ...(kid === undefined ? {} : { kid })
    },
    sealReceipt: (receipt) => sealReceipt(receipt, contentKey)
  }
}

/** Under the key of the answer, told apart from an answer by the additional data. */
function sealReceipt(receipt: string, contentKey: Uint8Array): string {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', contentKey, iv).setAAD(utf8.encode(envelopeReceiptLabel))
  return Buffer.concat([iv, cipher.update(receipt, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

const oaepSha256 = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' } as const

function parseResponseKey(value: unknown): ResponseKey & { readonly thumbprintOf: () => Promise<string> } {
  try {
    const { publicKey, kid } = importResponseKey(value)
    const { kty, n, e } = publicKey.export({ format: 'jwk' })
    const jwk = parseRsaPublicJwk({ kty, n, e }, 'encode_response_pub')
    // What cannot be sealed to is found here, where it can still be said, and not with the answer.
    publicEncrypt({ key: publicKey, ...oaepSha256 }, randomBytes(32))
    return { publicKey, kid, thumbprintOf: () => rsaThumbprint(jwk) }
  } catch {
    throw new SealError(
      'invalid_response_key',
      '"encode_response_pub" must be a public RSA key of 2048 to 4096 bits, as PEM or JWK'
    )
  }
}

function importResponseKey(value: unknown): ResponseKey {
  if (typeof value === 'string' && value.length > 8192) throw new TypeError('too long')
  if (typeof value === 'string' && !value.trimStart().startsWith('{')) {
    // `createPublicKey` would also take a private key or a certificate and use the public half.
    if (!/^-----BEGIN (RSA )?PUBLIC KEY-----\r?\n/.test(value.trimStart())) throw new TypeError('not a public key')
    return { publicKey: createPublicKey(value), kid: undefined }
  }
  const jwk = parseRsaPublicJwk(typeof value === 'string' ? JSON.parse(value) : value, 'encode_response_pub')
  return { publicKey: createPublicKey({ key: { kty: jwk.kty, n: jwk.n, e: jwk.e }, format: 'jwk' }), kid: jwk.kid }
}

async function openRequestJwe(
  jwe: string,
  key: OpeningKey,
  responseKey: { readonly thumbprintOf: () => Promise<string> }
): Promise<Uint8Array> {
  // Existing clients set no `typ`. Any other type was sealed for another purpose.
  const { plaintext, header } = await openJwe(jwe, key, [jweTypes.request, undefined])
  const expected = header[responseKeyParameter]
  if (expected !== undefined && expected !== (await responseKey.thumbprintOf())) throw badEncryptedPayload()
  return plaintext
}

/** The form of existing clients: RSA-OAEP with SHA-256 of the JSON text, so at most 190 bytes for RSA-2048. */
function openRawPayload(payload: string, privateKey: KeyObject): Uint8Array {
  try {
    return privateDecrypt({ key: privateKey, ...oaepSha256 }, decodeEitherBase64(payload))
  } catch {
    throw badEncryptedPayload()
  }
}

/** Either alphabet, with or without padding, because clients in several languages differ in both. */
function decodeEitherBase64(text: string): Uint8Array {
  if (text.length > 1024) throw new TypeError('longer than any RSA ciphertext')
  const unpadded = text.length % 4 === 0 ? text.replace(/={1,2}$/, '') : text
  if (/[+/]/.test(unpadded) && /[-_]/.test(unpadded)) throw new TypeError('two alphabets in one text')
  return decodeBase64Url(unpadded.replaceAll('+', '-').replaceAll('/', '_'), 'encrypted_payload')
}

function parseRequest(plaintext: Uint8Array): JsonObject {
  let request: unknown
  try {
    request = JSON.parse(utf8.decode(plaintext))
  } catch {
    throw badEncryptedPayload()
  }
  if (!isJsonObject(request)) throw badEncryptedPayload()
  return request
}
