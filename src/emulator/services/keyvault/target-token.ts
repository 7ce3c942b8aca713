import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import { compactVerify } from 'jose'
import { decodeBase64, decodeBase64Url, utf8 } from '../../../base/encoding.js'
import { isJsonObject, type JsonObject } from '../../../base/json.js'

/** GETs a JSON document; rejects when there is none. */
export type FetchJson = (url: string) => Promise<unknown>

const maximumLength = 128 * 1024
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']

export interface TargetStatement {
  readonly issuer: string
  readonly claims: JsonObject
}

/**
 * Verifies the attestation token of a release request. Its issuer must be an authority of the release
 * policy; the keys come from that authority by OIDC discovery, never from where the token points
 * (`jku`). Rejects with a `TypeError`, or with what `fetchJson` rejects with.
 */
export async function verifyTargetToken(
  token: string,
  authorities: readonly string[],
  fetchJson: FetchJson,
  now: Date
): Promise<TargetStatement> {
  if (token.length > maximumLength) throw new TypeError('token is too long')
  const [head, body] = token.split('.')
  const header = parseObject(head)
  const claims = parseObject(body)
  const issuer = claims['iss']
  const authority = authorities.find(
    (name) => typeof issuer === 'string' && withoutSlash(name) === withoutSlash(issuer)
  )
  if (authority === undefined || typeof issuer !== 'string')
    throw new TypeError('token is not by an authority of the policy')
  const key = await authorityKey(withoutSlash(authority), header['kid'], fetchJson)
  await compactVerify(token, key, { algorithms })
  requireInForce(claims, now)
  return { issuer, claims }
}

async function authorityKey(authority: string, kid: unknown, fetchJson: FetchJson): Promise<KeyObject> {
  const configuration = await fetchJson(`${authority}/.well-known/openid-configuration`)
  if (!isJsonObject(configuration)) throw new TypeError('discovery document is not an object')
  const { issuer, jwks_uri: jwksUri } = configuration
  if (typeof issuer !== 'string' || withoutSlash(issuer) !== authority)
    throw new TypeError('discovery names another issuer')
  if (typeof jwksUri !== 'string' || !jwksUri.startsWith('https://')) throw new TypeError('discovery names no keys')
  const set = await fetchJson(jwksUri)
  const keys: unknown = isJsonObject(set) ? set['keys'] : undefined
  const found = (Array.isArray(keys) ? (keys as unknown[]) : []).find((key) => isJsonObject(key) && key['kid'] === kid)
  if (!isJsonObject(found) || found['kty'] !== 'RSA') throw new TypeError('authority has no such key')
  return importKey(found)
}

/** Attestation providers publish a certificate and no `n` and `e`; other authorities the reverse. */
function importKey(jwk: JsonObject): KeyObject {
  const { x5c, n, e } = jwk
  if (typeof n === 'string' && typeof e === 'string')
    return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' })
  const [leaf] = Array.isArray(x5c) ? (x5c as unknown[]) : []
  if (typeof leaf !== 'string') throw new TypeError('authority key has neither modulus nor certificate')
  return new X509Certificate(decodeBase64(leaf, 'x5c')).publicKey
}

function requireInForce(claims: JsonObject, now: Date): void {
  const seconds = now.getTime() / 1000
  const { exp, nbf } = claims
  if (typeof exp !== 'number' || seconds >= exp) throw new TypeError('token has expired')
  if (nbf !== undefined && (typeof nbf !== 'number' || seconds < nbf)) throw new TypeError('token is not yet valid')
}

function parseObject(part: string | undefined): JsonObject {
  const value: unknown = JSON.parse(utf8.decode(decodeBase64Url(part ?? '', 'token')))
  if (!isJsonObject(value)) throw new TypeError('token part is not an object')
  return value
}

/** Microsoft's own policies end the authority with a slash, and tokens do not. */
function withoutSlash(url: string): string {
  return url.replace(/\/$/, '')
}
