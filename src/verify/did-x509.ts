import { decodeBase64Url, encodeBase64Url } from '../base/encoding.js'
import type { Certificate } from './certificate.js'
import { extendedKeyUsages, isAuthority } from './certificate-chain.js'
import { attemptSync } from './check.js'
import { digest, type HashName } from './web-crypto.js'

/** A did:x509 identifier (https://github.com/microsoft/did-x509, version 0) with `eku` policies only. */
export interface DidX509 {
  readonly hash: HashName
  /** Base64url digest of the DER of an authority in the chain. */
  readonly fingerprint: string
  /** Object identifiers that the leaf must have, all of them. */
  readonly extendedKeyUsages: readonly string[]
}

const hashes: Readonly<Record<string, { readonly hash: HashName; readonly length: number }>> = {
  sha256: { hash: 'SHA-256', length: 32 },
  sha384: { hash: 'SHA-384', length: 48 },
  sha512: { hash: 'SHA-512', length: 64 }
}

/**
 * `undefined` for anything else, also for an identifier without a policy: it would let every leaf
 * under that authority sign. A fingerprint that no digest can have is refused here, where somebody reads why.
 */
export function parseDidX509(text: string): DidX509 | undefined {
  const parsed = /^did:x509:0:(sha256|sha384|sha512):([\w-]+)((?:::eku:[0-2](?:\.\d{1,20}){1,30})+)$/.exec(text)
  const [, hashName = '', fingerprint = '', policies = ''] = parsed ?? []
  const known = hashes[hashName]
  const decoded = attemptSync(() => decodeBase64Url(fingerprint, 'fingerprint'))
  if (known === undefined || !decoded.ok || decoded.value.length !== known.length) return undefined
  return { hash: known.hash, fingerprint, extendedKeyUsages: policies.split('::eku:').slice(1) }
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
