import { createHash, generateKeyPair, type KeyObject } from 'node:crypto'
import { utf8 } from '../../base/encoding.js'
import { isJsonObject, type JsonObject } from '../../base/json.js'
import type { Attestor } from './attestation.js'
import type { Downstream } from './downstream.js'
import { during, SidecarFailure } from './failure.js'
import { openReleaseResponse } from './release-response.js'

export interface ReleaseRequest {
  readonly maaEndpoint: string
  readonly akvEndpoint: string
  /** `name` or `name/version`. */
  readonly kid: string
  /** A token for the vault; without it the group's identity gets one. */
  readonly accessToken: string | undefined
}

export interface ReleaseMeans {
  readonly attestor: Attestor
  readonly downstream: Downstream
  readonly identityToken: (keyVaultEndpoint: string) => Promise<string>
  readonly releaseRoot: string
}

/**
 * Secure Key Release from the inside of the group. Nothing is kept: each call makes a wrapping key,
 * attests to it, gets an identity token and asks the vault, in this order.
 */
export async function releaseKey(request: ReleaseRequest, means: ReleaseMeans): Promise<JsonObject> {
  const wrapping = await makeWrappingKey()
  const target = await during('attestation failed', () =>
    means.attestor.token(request.maaEndpoint, releaseRuntimeData(wrapping.publicKey))
  )
  const accessToken =
    request.accessToken ??
    (await during('retrieving authentication token failed', () => means.identityToken(request.akvEndpoint)))
  return during(`releasing the key ${request.kid} failed`, async () => {
    const answer = await means.downstream(
      {
        method: 'POST',
        url: `https://${request.akvEndpoint}/keys/${request.kid}/release?api-version=7.4`,
        headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({ target })
      },
      { send: 'AKV post request failed', read: 'pulling AKV response body failed' }
    )
    return openReleaseResponse(valueOf(answer), wrapping.privateKey, {
      // The real sidecar compares with the endpoint as given, port and all; here a port is allowed.
      host: new URL(`https://${request.akvEndpoint}`).hostname,
      roots: means.releaseRoot,
      now: new Date()
    })
  })
}

function makeWrappingKey(): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  return new Promise((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength: 2048 }, (error, publicKey, privateKey) =>
      error ? reject(error) : resolve({ publicKey, privateKey })
    )
  })
}

/** The wrapping key as the vault looks for it in `x-ms-runtime`; its kid is the RFC 7638 thumbprint. */
function releaseRuntimeData(publicKey: KeyObject): Uint8Array {
  const { e, n } = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256')
    .update(JSON.stringify({ e, kty: 'RSA', n }))
    .digest('base64url')
  return utf8.encode(JSON.stringify({ keys: [{ e, key_ops: ['encrypt'], kid, kty: 'RSA', n }] }))
}

function valueOf(answer: string): string {
  try {
    const body: unknown = JSON.parse(answer)
    const value = isJsonObject(body) ? body['value'] : undefined
    if (typeof value === 'string') return value
  } catch {
    // Reported below.
  }
  throw new SidecarFailure('unmarshalling AKV response body failed')
}
