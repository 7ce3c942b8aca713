import type { KeyObject } from 'node:crypto'
import { compactDecrypt, type CompactJWEHeaderParameters, decodeProtectedHeader } from 'jose'
import { badEncryptedPayload } from '../errors.js'
import { jweContentAlgorithm, jweKeyAlgorithm } from '../jwe.js'

/** The router's private key with its RFC 7638 thumbprint. */
export interface OpeningKey {
  readonly kid: string
  readonly privateKey: KeyObject
}

/** Header parameters that a JWE of ours may have; anything else could change what it means. */
const knownParameters = new Set(['alg', 'enc', 'typ', 'kid', 'cty', 'response_key'])

/**
 * Opens a compact JWE of one of the given types; `undefined` among them allows a JWE without `typ`.
 * `parameters` are those that its header may have beyond the common ones.
 * Every failure is the same `SealError` with code `bad_encrypted_payload`.
 */
export async function openJwe(
  jwe: string,
  key: OpeningKey,
  types: readonly (string | undefined)[],
  parameters: readonly string[] = []
): Promise<{ plaintext: Uint8Array; header: CompactJWEHeaderParameters }> {
  try {
    const claimed = decodeProtectedHeader(jwe)
    if (!types.includes(claimed.typ)) throw new TypeError('typ')
    if (claimed.kid !== undefined && claimed.kid !== key.kid) throw new TypeError('kid')
    if (Object.keys(claimed).some((name) => !knownParameters.has(name) && !parameters.includes(name))) {
      throw new TypeError('header')
    }
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, key.privateKey, {
      keyManagementAlgorithms: [jweKeyAlgorithm],
      contentEncryptionAlgorithms: [jweContentAlgorithm]
    })
    return { plaintext, header: protectedHeader }
  } catch {
    // Deliberately without a cause: which check failed must not be observable.
    throw badEncryptedPayload()
  }
}
