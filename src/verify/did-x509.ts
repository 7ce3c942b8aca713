import { encodeBase64Url } from '../base/encoding.js'
import type { Certificate } from './certificate.js'
import { extendedKeyUsages, isAuthority } from './certificate-chain.js'
import { digest, type HashName } from './web-crypto.js'

/** A did:x509 identifier (https://github.com/microsoft/did-x509, version 0) with `eku` policies only. */
export interface DidX509 {
  readonly hash: HashName
  /** Base64url digest of the DER of an authority in the chain. */
  readonly fingerprint: string
  /** Object identifiers that the leaf must have, all of them. */
  readonly extendedKeyUsages: readonly string[]
}

const hashNames: Readonly<Record<string, HashName>> = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' }

/**
 * `undefined` for anything else, also for an identifier without a policy: it would let every leaf
 * under that authority sign.
 */
export function parseDidX509(text: string): DidX509 | undefined {
  const parsed =
    /^did:x509:0:(sha256|sha384|sha512):([A-Za-z0-9_-]{43,86})((?:::eku:[0-2](?:\.\d{1,20}){1,30})+)$/.exec(text)
  const [, hashName = '', fingerprint, policies] = parsed ?? []
  const hash = hashNames[hashName]
  if (hash === undefined || fingerprint === undefined || policies === undefined) return undefined
  return { hash, fingerprint, extendedKeyUsages: policies.split('::eku:').slice(1) }
}

/**
 * Why a chain, leaf first, is not that of the identifier. Says nothing about the chain's signatures:
 * call {@link chainProblems} too.
 */
export async function didX509Problems(did: DidX509, chain: readonly Certificate[]): Promise<string[]> {
  const [leaf, ...authorities] = chain
  const problems: string[] = []
  const fingerprints = await Promise.all(
    authorities.filter(isAuthority).map(async ({ der }) => encodeBase64Url(await digest(did.hash, der)))
  )
  if (!fingerprints.includes(did.fingerprint)) {
    problems.push(`no authority of its chain has that fingerprint, they have ${fingerprints.join(', ') || 'none'}`)
  }
  const usages = leaf === undefined ? [] : extendedKeyUsages(leaf)
  for (const usage of did.extendedKeyUsages) {
    if (!usages.includes(usage)) problems.push(`its leaf certificate lacks the extended key usage ${usage}`)
  }
  return problems
}
