import { CompactEncrypt, decodeProtectedHeader, importJWK } from 'jose'
import { utf8 } from '../base/encoding.js'
import { canonicalJson, isJsonObject } from '../base/json.js'
import { SealError } from './errors.js'
import { jweContentAlgorithm, jweKeyAlgorithm, jweTypes } from './jwe.js'
import { isProviderKey, isProviderName, maximumKeyLength } from './provider-values.js'
import { parseRsaPublicJwk, rsaThumbprint, type RsaPublicJwk } from './rsa-key.js'

/** A bundle of provider keys. `version` counts up with every change, so that a rollback shows. */
export interface Secrets {
  readonly version: number
  /** Provider name to provider key. */
  readonly values: Readonly<Record<string, string>>
}

const maximumValues = 64

/**
 * Seals provider keys to the router's released key: a compact JWE, which `signSecrets` puts into a bundle
 * (docs/wire-format.md, sealed secrets). `recipient` is the key's public half as read from the
 * vault; the header's `kid` is its thumbprint, whatever name the vault gives it.
 *
 * Throws a `SealError` with code `invalid_secrets` that names the entry, never its value.
 */
export async function sealSecrets({
  values,
  version,
  recipient
}: Secrets & { readonly recipient: RsaPublicJwk }): Promise<string> {
  const router = parseRsaPublicJwk(recipient, 'the key of the router')
  const plaintext = canonicalJson({ v: 1, version, values })
  parseSecrets(plaintext)
  return new CompactEncrypt(utf8.encode(plaintext))
    .setProtectedHeader({
      alg: jweKeyAlgorithm,
      enc: jweContentAlgorithm,
      typ: jweTypes.secrets,
      kid: await rsaThumbprint(router)
    })
    .encrypt(await importJWK({ kty: 'RSA', n: router.n, e: router.e }, jweKeyAlgorithm))
}

/** The `kid` in the header of what `sealSecrets` made, which nothing vouches for here; undefined if it has none. */
export function recipientOf(jwe: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(jwe)
    return typeof kid === 'string' ? kid : undefined
  } catch {
    return undefined
  }
}

/** Reads the plaintext of a sealed bundle; unknown members are errors. */
export function parseSecrets(plaintext: string): Secrets {
  let value: unknown
  try {
    value = JSON.parse(plaintext)
  } catch {
    // The parser's own message quotes the text, and the text is made of keys.
    throw invalid('the plaintext is not JSON')
  }
  if (!isJsonObject(value) || Object.keys(value).sort().join() !== 'v,values,version') {
    throw invalid('the plaintext must have exactly the members "v", "version" and "values"')
  }
  const { v, version, values } = value
  if (v !== 1) throw invalid('"v" must be 1')
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1) {
    throw invalid('"version" must be a whole number from 1')
  }
  if (!isJsonObject(values)) throw invalid('"values" must be an object')
  const entries = Object.entries(values)
  if (entries.length > maximumValues) throw invalid(`at most ${maximumValues} values are allowed`)
  return {
    version,
    values: Object.fromEntries(entries.map(([name, text]) => [parseName(name), parseValue(name, text)]))
  }
}

function parseName(name: string): string {
  if (!isProviderName(name)) {
    throw invalid(`${JSON.stringify(name.slice(0, 40))} is not the name of a provider`)
  }
  return name
}

function parseValue(name: string, value: unknown): string {
  if (!isProviderKey(value)) {
    throw invalid(`the value of "${name}" must be 1 to ${maximumKeyLength} visible ASCII characters`)
  }
  return value
}

const invalid = (message: string): SealError => new SealError('invalid_secrets', `sealed secrets: ${message}`)
