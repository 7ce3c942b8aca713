import { CompactEncrypt, importJWK } from 'jose'
import { concatBytes } from '../base/bytes.js'
import { decodeBase64Url, utf8 } from '../base/encoding.js'
import { type Json, type JsonObject, isJsonObject } from '../base/json.js'
import { maximumReceiptHeaderLength } from './ehbp.js'
import { badSealedAnswer } from './errors.js'
import { envelopeReceiptLabel, jweContentAlgorithm, jweKeyAlgorithm, jweTypes, responseKeyParameter } from './jwe.js'
import { parseRsaPublicJwk, rsaThumbprint, type RsaPublicJwk } from './rsa-key.js'

export interface SealedRequest {
  /** What to POST in place of the request. */
  readonly body: JsonObject
  /** Opens the answer, whatever its status. Throws a `SealError` with code `bad_sealed_answer`. */
  openResponse(this: void, answer: unknown): Promise<Json>
  /**
   * Opens the header `Confrouter-Receipt` beside that answer: a JWS for `verifyReceipt`. Throws a
   * `SealError` with code `bad_sealed_answer`.
   */
  openReceipt(this: void, answer: unknown, header: string): Promise<string>
}

/**
 * Seals one request in the envelope form (docs/wire-format.md, envelope). The answer is sealed to
 * `responseKey`, a WebCrypto RSA-OAEP/SHA-256 pair; without one a fresh pair is made, which takes
 * some 100 ms, so whoever sends many requests passes one in.
 *
 * The form hides the answer but cannot authenticate its sender: EHBP does both.
 */
export async function sealEnvelopeRequest({
  request,
  recipient,
  responseKey
}: {
  request: Json
  recipient: RsaPublicJwk
  responseKey?: CryptoKeyPair
}): Promise<SealedRequest> {
  const router = parseRsaPublicJwk(recipient, 'the key of the router')
  const pair = responseKey ?? (await generateResponseKey())
  const responsePublic = await exportPublic(pair.publicKey)
  const payload = await new CompactEncrypt(utf8.encode(JSON.stringify(request)))
    .setProtectedHeader({
      alg: jweKeyAlgorithm,
      enc: jweContentAlgorithm,
      typ: jweTypes.request,
      kid: await rsaThumbprint(router),
      [responseKeyParameter]: await rsaThumbprint(responsePublic)
    })
    .encrypt(await importJWK({ kty: 'RSA', n: router.n, e: router.e }, jweKeyAlgorithm))
  return {
    body: { encrypted_payload: payload, encode_response_pub: { ...responsePublic } },
    openResponse: (answer) => openResponse(answer, pair.privateKey),
    openReceipt: (answer, header) => openReceipt(answer, header, pair.privateKey)
  }
}

async function generateResponseKey(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(
    { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    false,
    ['encrypt', 'decrypt']
  )
}

async function exportPublic(key: CryptoKey): Promise<RsaPublicJwk> {
  const { kty, n, e } = await crypto.subtle.exportKey('jwk', key)
  const jwk = parseRsaPublicJwk({ kty, n, e }, 'the response key')
  return { ...jwk, kid: await rsaThumbprint(jwk) }
}

async function openResponse(answer: unknown, privateKey: CryptoKey): Promise<Json> {
  try {
    const { ek, iv, ciphertext, tag } = parseSealedAnswer(answer)
    const key = await openContentKey(ek, privateKey)
    const plaintext = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv, tagLength: 128 },
      key,
      concatBytes(ciphertext, tag)
    )
    return JSON.parse(utf8.decode(new Uint8Array(plaintext))) as Json
  } catch {
    throw badSealedAnswer()
  }
}

async function openReceipt(answer: unknown, header: string, privateKey: CryptoKey): Promise<string> {
  try {
    const key = await openContentKey(parseSealedAnswer(answer).ek, privateKey)
    if (header.length > maximumReceiptHeaderLength) throw new TypeError('too long')
    const bytes = concatBytes(decodeBase64Url(header, 'the receipt'))
    const plaintext = await crypto.subtle.decrypt(
      {
        name: 'AES-GCM',
        iv: bytes.subarray(0, ivBytes),
        additionalData: concatBytes(utf8.encode(envelopeReceiptLabel)),
        tagLength: 128
      },
      key,
      bytes.subarray(ivBytes)
    )
    return utf8.decode(new Uint8Array(plaintext))
  } catch {
    throw badSealedAnswer()
  }
}

const ivBytes = 12
async function openContentKey(ek: Uint8Array<ArrayBuffer>, privateKey: CryptoKey): Promise<CryptoKey> {
  const contentKey = await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, privateKey, ek)
  return crypto.subtle.importKey('raw', contentKey, 'AES-GCM', false, ['decrypt'])
}

function parseSealedAnswer(answer: unknown) {
  if (!isJsonObject(answer) || answer.alg !== 'RSA-OAEP' || answer.enc !== jweContentAlgorithm) {
    throw new TypeError('not a sealed answer')
  }
  const iv = member(answer, 'iv')
  const tag = member(answer, 'tag')
  if (iv.length !== ivBytes || tag.length !== 16) throw new TypeError('not a sealed answer')
  return { ek: member(answer, 'ek'), iv, tag, ciphertext: member(answer, 'ciphertext') }
}

function member(answer: JsonObject, name: string): Uint8Array<ArrayBuffer> {
  const value = answer[name]
  if (typeof value !== 'string') throw new TypeError(`"${name}" is missing`)
  return concatBytes(decodeBase64Url(value, name))
}
