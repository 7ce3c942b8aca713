import { utf8 } from '../../base/encoding.js'
import { isJsonObject } from '../../base/json.js'
import { badEncryptedPayload, SealError } from '../errors.js'
import { jweTypes } from '../jwe.js'
import { isExpiry } from '../provider-key.js'
import { isProviderKey, isProviderName } from '../provider-values.js'
import { openJwe, type OpeningKey } from './open-jwe.js'

export interface OpenedProviderKey {
  readonly key: string
  /** The only provider for which it is meant; undefined for any. */
  readonly provider: string | undefined
  /** Lower-case hex of the encapsulated key of the only request for which it is meant; undefined for any. */
  readonly encapsulatedKey: string | undefined
}

/**
 * Opens what `sealProviderKey` made; `nowMs` is the wall clock in Unix milliseconds.
 *
 * Throws a `SealError`: `bad_encrypted_payload` if it was not sealed to this key as a provider key,
 * `invalid_provider_key` if it has expired or says something that it cannot say.
 */
export async function openProviderKey(
  jwe: string,
  openingKey: OpeningKey,
  { nowMs }: { readonly nowMs: number }
): Promise<OpenedProviderKey> {
  const { plaintext, header } = await openJwe(jwe, openingKey, [jweTypes.providerKey], ['exp', 'provider', 'enk'])
  const { kid, exp, provider, enk } = header
  // Without it a key that another router shall use could be tried out here.
  if (kid === undefined) throw badEncryptedPayload()
  if (exp !== undefined && !isExpiry(exp)) throw invalid('"exp" is not a time in Unix seconds')
  if (exp !== undefined && nowMs >= exp * 1000) throw invalid('it has expired')
  if (provider !== undefined && (typeof provider !== 'string' || !isProviderName(provider))) {
    throw invalid('"provider" is not the name of a provider')
  }
  if (enk !== undefined && (typeof enk !== 'string' || !/^[0-9a-f]{64}$/.test(enk))) {
    throw invalid('"enk" is not an encapsulated key in lower-case hex')
  }
  const key = decode(plaintext)
  if (!isProviderKey(key)) throw invalid('its content is not a key')
  return { key, provider, encapsulatedKey: enk }
}

/** Longest text that is looked at: a key of 4096 characters under an RSA key of 4096 bits has 6.5 KB. */
const maximumLength = 8192
const maximumHeaderLength = 1024

/**
 * True for a credential that is to be opened by `openProviderKey`: five parts of a JWE, whose
 * header says the type. Nothing is verified. Never throws, and costs the same for any other credential.
 */
export function looksLikeSealedKey(text: string): boolean {
  if (text.length > maximumLength || !/^[\w-]+(?:\.[\w-]+){4}$/.test(text)) return false
  const header = text.slice(0, text.indexOf('.'))
  if (header.length > maximumHeaderLength) return false
  try {
    const value: unknown = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'))
    return isJsonObject(value) && value.typ === jweTypes.providerKey
  } catch {
    return false
  }
}

function decode(plaintext: Uint8Array): string | undefined {
  try {
    return utf8.decode(plaintext)
  } catch {
    return undefined
  }
}

const invalid = (problem: string): SealError => new SealError('invalid_provider_key', `sealed provider key: ${problem}`)
