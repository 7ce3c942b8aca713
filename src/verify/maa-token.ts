import { decodeBase64, decodeBase64Url, utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { parseCertificate } from './certificate.js'
import { attempt, attemptSync, type Read, shown } from './check.js'
import { parseStrictJson } from './strict-json.js'
import { sha256Hex, verifySignature } from './web-crypto.js'

/** Signing keys of an attestation provider, as its `/certs` serves them, and the origin that they were fetched from. */
export interface MaaKeySet {
  readonly endpoint: string
  /** `{"keys":[{"kid","kty","x5c":[…]}]}`; only `x5c` is read, there is no other form of the key in it. */
  readonly jwks: unknown
}

/** A token of Microsoft Azure Attestation, a compact JWS (RFC 7515 section 7.1): decoded and not verified. */
export interface MaaToken {
  /** What the signature covers: header and payload as they stand in the token. */
  readonly signed: Uint8Array
  readonly signature: Uint8Array
  readonly header: JsonObject
  readonly claims: JsonObject
}

const maximumKeys = 100
/** RFC 7518 section 3.3. */
const minimumKeyBits = 2048

/** Throws a `TypeError` for anything but three canonical base64url parts whose first two are JSON objects. */
export function parseMaaToken(compact: string): MaaToken {
  const [header, payload, signature, ...rest] = compact.split('.')
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) {
    throw new TypeError('token has not three parts')
  }
  return {
    signed: utf8.encode(`${header}.${payload}`),
    signature: decodeBase64Url(signature, 'token signature'),
    header: decodeObject(header, 'token header'),
    claims: decodeObject(payload, 'token payload')
  }
}

/**
 * Who signed it, in words: it must be RS256 by a key of `keys` with the token's `kid`. `jku` is never followed: keys
 * come from the provider that the trust policy names. Extensions that must be understood (RFC 7515 section 4.1.11)
 * are not: there is none in these tokens.
 */
export async function signerOf(token: MaaToken, keys: MaaKeySet | undefined): Promise<Read<string>> {
  const { alg, kid, crit } = token.header
  if (alg !== 'RS256') return failed(`algorithm ${shown(alg)}`)
  if (crit !== undefined) return failed(`critical header parameters ${shown(crit)}`)
  if (typeof kid !== 'string') return failed('no key id')
  if (keys === undefined) return failed('no keys of the attestation provider were given')
  const candidates = attemptSync(() => keysWithId(keys.jwks, kid))
  if (!candidates.ok) return candidates
  if (candidates.value.length === 0) return failed(`the attestation provider has no key ${shown(kid)}`)
  const problems: string[] = []
  for (const jwk of candidates.value) {
    const signer = await attempt(() => verifyWith(jwk, token))
    if (signer.ok) return { ok: true, value: `RS256 by its key ${shown(kid)}, ${signer.value}` }
    problems.push(signer.problem)
  }
  return failed(problems.join('; '))
}

/**
 * Gives the certificate that has the key, in words. Its chain is not followed: what makes the key trusted is the TLS
 * connection over which it came. Throws a `TypeError` unless the key made the signature.
 */
async function verifyWith(jwk: JsonObject, { signed, signature }: MaaToken): Promise<string> {
  const chain: unknown = jwk['x5c']
  const leaf: unknown = Array.isArray(chain) ? chain[0] : undefined
  if (jwk['kty'] !== 'RSA' || typeof leaf !== 'string') throw new TypeError('key has no RSA certificate')
  const label = 'certificate of the attestation provider'
  const { der, publicKey, keyType } = parseCertificate(decodeBase64(leaf, label), label)
  if (keyType.type !== 'RSA') throw new TypeError(`${label} has no RSA key`)
  if (keyType.bits < minimumKeyBits) throw new TypeError(`key has ${keyType.bits} bits, not ${minimumKeyBits}`)
  const scheme = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const
  if (!(await verifySignature(scheme, publicKey, signature, signed))) throw new TypeError('signature does not verify')
  return `certificate with SHA-256 ${await sha256Hex(der)}`
}

const failed = (problem: string): Read<never> => ({ ok: false, problem })

const azureAttestation = /^https:\/\/(?:[a-z0-9-]+\.)+attest\.azure\.(?:net|us|cn)$/

/**
 * Whether a token's issuer is Microsoft's attestation service in one of Azure's clouds: an https origin below
 * `attest.azure.net`, `attest.azure.us` or `attest.azure.cn`, on the default port.
 *
 * A token shows no chain to AMD's roots, so this is all that tells hardware from a simulation: an issuer's keys are
 * fetched over TLS, and only Microsoft gets certificates for these names, so a simulation cannot sign as one of them.
 * It is no reason to trust an issuer: anybody can have an instance there and write its policy.
 */
export function isAzureAttestation(issuer: unknown): boolean {
  return typeof issuer === 'string' && azureAttestation.test(issuer)
}

function decodeObject(part: string, label: string): JsonObject {
  const value = parseStrictJson(utf8.decode(decodeBase64Url(part, label)), label)
  if (!isJsonObject(value)) throw new TypeError(`${label} is not a JSON object`)
  return value
}

function keysWithId(jwks: unknown, kid: string): JsonObject[] {
  const keys: unknown = isJsonObject(jwks) ? jwks['keys'] : undefined
  if (!Array.isArray(keys) || keys.length > maximumKeys) {
    throw new TypeError(`keys of the attestation provider are not a list of at most ${maximumKeys}`)
  }
  return keys.filter(isJsonObject).filter((key) => key['kid'] === kid)
}
