import { encodeHex } from '../base/encoding.js'

/** How a signature was made, in the terms of WebCrypto. ECDSA signatures are r ‖ s (IEEE P1363). */
export type SignatureScheme =
  | { readonly name: 'RSA-PSS'; readonly hash: HashName; readonly saltLength: number }
  | { readonly name: 'RSASSA-PKCS1-v1_5'; readonly hash: HashName }
  | { readonly name: 'ECDSA'; readonly hash: HashName; readonly namedCurve: CurveName }

export type HashName = 'SHA-256' | 'SHA-384' | 'SHA-512'
export type CurveName = 'P-256' | 'P-384'

/** Octets of one coordinate, and so of r and of s. */
export const curveSize = { 'P-256': 32, 'P-384': 48 } as const satisfies Record<CurveName, number>

export async function digest(hash: HashName, data: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(hash, owned(data)))
}

export async function sha256(data: Uint8Array): Promise<Uint8Array> {
  return digest('SHA-256', data)
}

export async function sha256Hex(data: Uint8Array): Promise<string> {
  return encodeHex(await sha256(data))
}

/** For people. */
export function describeScheme(scheme: SignatureScheme): string {
  return `${scheme.name}${scheme.name === 'ECDSA' ? ` ${scheme.namedCurve}` : ''} with ${scheme.hash}`
}

/** `publicKey` is a SubjectPublicKeyInfo. Rejects if WebCrypto cannot import it for this scheme. */
export async function verifySignature(
  scheme: SignatureScheme,
  publicKey: Uint8Array,
  signature: Uint8Array,
  data: Uint8Array
): Promise<boolean> {
  const key = await crypto.subtle.importKey('spki', owned(publicKey), scheme, false, ['verify'])
  return crypto.subtle.verify(scheme, key, owned(signature), owned(data))
}

/** WebCrypto's types ask for bytes that no other thread can change under it. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
