import { CompactEncrypt, importJWK } from 'jose'
import { encodeHex, utf8 } from '../base/encoding.js'
import { SealError } from './errors.js'
import { jweContentAlgorithm, jweKeyAlgorithm, jweTypes } from './jwe.js'
import { isProviderKey, isProviderName, maximumKeyLength } from './provider-values.js'
import { parseRsaPublicJwk, rsaThumbprint, type RsaPublicJwk } from './rsa-key.js'

/**
 * Seals a caller's provider key to the router: a compact JWE that goes into `Authorization` in the
 * key's place (docs/wire-format.md, sealed provider key). `recipient` is the RSA key of verified
 * evidence. With `provider` the router uses it for that provider alone, with `expiresAt` until then, and with
 * `encapsulatedKey` beside the request alone that is sealed by it.
 *
 * Throws a `SealError`: `invalid_provider_key`, which never quotes the key, or `invalid_key`.
 */
export async function sealProviderKey({
  key,
  recipient,
  provider,
  expiresAt,
  encapsulatedKey
}: {
  readonly key: string
  readonly recipient: RsaPublicJwk
  readonly provider?: string | undefined
  readonly expiresAt?: Date | undefined
  /** Of the only request that the key is for, 32 bytes. */
  readonly encapsulatedKey?: Uint8Array | undefined
}): Promise<string> {
  const router = parseRsaPublicJwk(recipient, 'the key of the router')
  if (!isProviderKey(key)) throw invalid(`a key is 1 to ${maximumKeyLength} visible ASCII characters`)
  if (provider !== undefined && !isProviderName(provider)) throw invalid('"provider" is not the name of a provider')
  const exp = expiresAt && Math.floor(expiresAt.getTime() / 1000)
  if (exp !== undefined && !isExpiry(exp)) throw invalid('"expiresAt" is no time after 1970')
  if (encapsulatedKey !== undefined && encapsulatedKey.length !== 32) throw invalid('"encapsulatedKey" is not 32 bytes')
  return new CompactEncrypt(utf8.encode(key))
    .setProtectedHeader({
      alg: jweKeyAlgorithm,
      enc: jweContentAlgorithm,
      typ: jweTypes.providerKey,
      kid: await rsaThumbprint(router),
      ...(exp === undefined ? {} : { exp }),
      ...(provider === undefined ? {} : { provider }),
      ...(encapsulatedKey === undefined ? {} : { enk: encodeHex(encapsulatedKey) })
    })
    .encrypt(await importJWK({ kty: 'RSA', n: router.n, e: router.e }, jweKeyAlgorithm))
}

/** Unix seconds. */
export function isExpiry(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

const invalid = (problem: string): SealError => new SealError('invalid_provider_key', `sealed provider key: ${problem}`)
