import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, randomUUID } from 'node:crypto'
import { exportJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import type { Principal } from '../../access.js'
import type { Collection, Store } from '../../store.js'

/** What a token is issued to: an application, or the identity that a container group carries. */
interface TokenSubject {
  readonly objectId: string
  readonly clientId: string
  /** ARM id of a managed identity: the claim `xms_mirid`. */
  readonly resourceId?: string | undefined
}

export interface TokenIssuer {
  readonly issuer: string
  readonly jwks: { readonly keys: readonly JWK[] }
  /** An RS256 access token for `audience`, good for `tokenLifetimeSeconds`. */
  issue(subject: TokenSubject, audience: string): Promise<IssuedToken>
  /** The claims of a token that this issuer signed and that is in force, or undefined. */
  verify(token: string): Promise<VerifiedToken | undefined>
}

interface IssuedToken {
  readonly token: string
  readonly expiresOn: Date
}

interface VerifiedToken extends Principal {
  readonly audience: string
}

export const tokenLifetimeSeconds = 3600

interface SigningKey {
  readonly privateKeyPem: string
}

/** Tokens of the emulated directory. The signing key is made once and kept, so tokens outlive a restart. */
export async function openTokenIssuer(options: {
  readonly store: Store
  readonly tenantId: string
  readonly issuer: string
  readonly clock: () => Date
}): Promise<TokenIssuer> {
  const { issuer, tenantId, clock } = options
  const privateKey = await signingKey(options.store.collection<SigningKey>('entra-signing-keys'))
  const publicKey = createPublicKey(privateKey)
  const { n, e } = await exportJWK(publicKey)
  const kid = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url')
  const jwk: JWK = { kty: 'RSA', use: 'sig', kid, alg: 'RS256', ...(n && e ? { n, e } : {}) }

  return {
    issuer,
    jwks: { keys: [jwk] },
    issue: async (subject, audience) => {
      const issuedAt = Math.floor(clock().getTime() / 1000)
      const expiresAt = issuedAt + tokenLifetimeSeconds
      const token = await new SignJWT({
        appid: subject.clientId,
        azp: subject.clientId,
        idtyp: 'app',
        oid: subject.objectId,
        tid: tenantId,
        uti: randomUUID(),
        ver: '2.0',
        ...(subject.resourceId ? { xms_mirid: subject.resourceId } : {})
      })
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject.objectId)
        .setIssuedAt(issuedAt)
        .setNotBefore(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(privateKey)
      return { token, expiresOn: new Date(expiresAt * 1000) }
    },
    verify: async (token) => {
      try {
        const { payload } = await jwtVerify(token, publicKey, {
          algorithms: ['RS256'],
          issuer,
          currentDate: clock(),
          requiredClaims: ['exp', 'aud', 'oid', 'tid', 'appid']
        })
        const { oid, tid, appid, aud } = payload
        if (typeof oid !== 'string' || typeof tid !== 'string' || typeof appid !== 'string') return undefined
        if (typeof aud !== 'string' || tid !== tenantId) return undefined
        return { objectId: oid, tenantId: tid, clientId: appid, audience: aud }
      } catch {
        // Whatever is wrong with a token, its bearer is nobody; the reason is no business of an unknown caller.
        return undefined
      }
    }
  }
}

async function signingKey(keys: Collection<SigningKey>): Promise<KeyObject> {
  const stored = keys.get('current')
  if (stored) return createPrivateKey(stored.privateKeyPem)
  const made = await new Promise<KeyObject>((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength: 2048 }, (error, _publicKey, privateKey) =>
      error ? reject(error) : resolve(privateKey)
    )
  })
  await keys.set('current', { privateKeyPem: made.export({ type: 'pkcs8', format: 'pem' }).toString() })
  return made
}
