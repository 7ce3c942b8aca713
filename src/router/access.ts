import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isIPv6 } from 'node:net'
import { Problem } from './problem.js'
import type { Access } from './settings.js'

/** Who calls, as far as the router wants to know. Nothing of it is logged. */
export interface Caller {
  /** What the rate limit counts by. */
  readonly identity: string
  /** The caller's own provider key; `undefined` means that the router's is to be used. */
  readonly ownKey: Credential | undefined
}

export interface Credential {
  readonly text: string
  /** The only provider that the key is for, where its owner has said so. */
  readonly provider?: string | undefined
}

/**
 * In mode `token` the credential is an access token, and the router's keys are used. In mode `open`
 * it is the caller's own key for the provider; without one the router's keys are used, rate-limited.
 */
export function identifyCaller(
  credential: Credential | undefined,
  address: string | undefined,
  access: Access
): Caller {
  switch (access.mode) {
    case 'open':
      return { identity: addressGroup(address), ownKey: credential }
    case 'token':
      return { identity: requireAccessToken(credential?.text, access.tokenHashes), ownKey: undefined }
    default:
      return access satisfies never
  }
}

/** What the rate limits of endpoints without a credential count by: an address, or an IPv6 network of one customer. */
export function addressGroup(address: string | undefined): string {
  if (address === undefined) return 'unknown'
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address.replace('::ffff:', '')
  const [head = '', tail = ''] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const zeros = address.includes('::') ? Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0') : []
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}

/** Reads the headers in which the SDKs of the providers send a key. Throws a `Problem`. */
export function readCredential(headers: IncomingHttpHeaders): Credential | undefined {
  const { authorization } = headers
  if (authorization !== undefined && authorization !== '') {
    const match = /^(?:bearer|key) +([\x21-\x7e]{1,8192})$/i.exec(authorization)
    if (match?.[1] !== undefined) return { text: match[1] }
    throw new Problem('invalid_authorization', 'the Authorization header must be "Bearer …" or "Key …"')
  }
  for (const name of ['x-api-key', 'api-key']) {
    const value = headers[name]
    if (value === undefined || value === '') continue
    if (typeof value === 'string' && /^[\x21-\x7e]{1,8192}$/.test(value)) return { text: value }
    throw new Problem('invalid_authorization', `the ${name} header must be one key`)
  }
  return undefined
}

function requireAccessToken(token: string | undefined, hashes: readonly string[]): string {
  if (token === undefined) {
    throw new Problem(
      'invalid_access_token',
      'this router asks for an access token: send it as "Authorization: Bearer …"'
    )
  }
  const hash = createHash('sha256').update(token).digest()
  let found = false
  // Every entry is compared, so that the time says nothing about the position of a match.
  for (const allowed of hashes) found = timingSafeEqual(hash, Buffer.from(allowed, 'hex')) || found
  if (!found) throw new Problem('invalid_access_token', 'the access token is not one of this router')
  return hash.toString('hex')
}
