import { equalBytes } from '../base/bytes.js'
import { type Certificate, isSignedBy } from './certificate.js'
import { derTag, readBitString, readBoolean, readDer, readOid, readSequence, readSmallUnsigned } from './der.js'
import { attempt } from './check.js'

const basicConstraints = '2.5.29.19'
const keyUsage = '2.5.29.15'
const extendedKeyUsage = '2.5.29.37'
const understoodIfCritical = new Set([basicConstraints, keyUsage, extendedKeyUsage])

/**
 * What is wrong with a chain, leaf first, that ends in the certificate to be trusted (RFC 5280
 * section 6.1, without policies, name constraints and revocation). An empty list means: every
 * certificate is signed by the next one, which has the right to issue it. Whether the last one is to
 * be trusted is the caller's to decide.
 *
 * @param at - instant at which all must be valid; `undefined` leaves dates out
 */
export async function chainProblems(chain: readonly Certificate[], at: Date | undefined): Promise<string[]> {
  const problems: string[] = []
  for (const [i, certificate] of chain.entries()) {
    const place = `certificate ${i + 1}`
    const checked = await attempt(() => certificateProblems(certificate, i, at))
    problems.push(...(checked.ok ? checked.value : [checked.problem]).map((problem) => `${place}: ${problem}`))
    const issuer = chain[i + 1]
    if (issuer === undefined) continue
    if (!equalBytes(certificate.issuer, issuer.subject)) problems.push(`${place}: issuer is not certificate ${i + 2}`)
    const signed = await attempt(() => isSignedBy(certificate, issuer))
    if (!signed.ok || !signed.value) problems.push(`${place}: signature does not verify under certificate ${i + 2}`)
  }
  return problems
}

/** Whether basicConstraints says that it is a certification authority. */
export function isAuthority(certificate: Certificate): boolean {
  return readBasicConstraints(certificate).ca
}

/** Object identifiers of the extended key usage; none if there is no such extension. */
export function extendedKeyUsages(certificate: Certificate): string[] {
  const extension = certificate.extensions.get(extendedKeyUsage)
  if (extension === undefined) return []
  const label = 'extended key usage'
  return readSequence(readDer(extension.value, label), label).map((usage) => readOid(usage, label))
}

function certificateProblems(certificate: Certificate, position: number, at: Date | undefined): string[] {
  const problems: string[] = []
  if (at !== undefined && (at < certificate.notBefore || at > certificate.notAfter)) {
    const period = `${certificate.notBefore.toISOString()} to ${certificate.notAfter.toISOString()}`
    problems.push(`valid from ${period}, not at ${at.toISOString()}`)
  }
  const { keyType } = certificate
  if (keyType.type === 'RSA' && keyType.bits < 2048) problems.push(`RSA key of ${keyType.bits} bits is too short`)
  for (const [name, { critical }] of certificate.extensions) {
    if (critical && !understoodIfCritical.has(name)) problems.push(`critical extension ${name} is not understood`)
  }
  if (position > 0) problems.push(...issuerProblems(certificate, position))
  return problems
}

function issuerProblems(certificate: Certificate, position: number): string[] {
  const problems: string[] = []
  const { ca, pathLength } = readBasicConstraints(certificate)
  if (!ca) problems.push('not a certification authority')
  // pathLenConstraint counts the authorities between this certificate and the leaf.
  if (pathLength !== undefined && position - 1 > pathLength) problems.push('more authorities below it than it allows')
  const usage = certificate.extensions.get(keyUsage)
  const keyCertSign = 0x04
  if (usage !== undefined) {
    const [first = 0] = readBitString(readDer(usage.value, 'key usage'), 'key usage').octets
    if ((first & keyCertSign) === 0) problems.push('key usage does not allow signing certificates')
  }
  return problems
}

function readBasicConstraints(certificate: Certificate): { ca: boolean; pathLength: number | undefined } {
  const extension = certificate.extensions.get(basicConstraints)
  const label = 'basic constraints'
  const fields = extension === undefined ? [] : readSequence(readDer(extension.value, label), label)
  const ca = fields[0]?.tag === derTag.boolean && readBoolean(fields[0], label)
  const length = fields.find(({ tag }) => tag === derTag.integer)
  return { ca, pathLength: length && readSmallUnsigned(length, label) }
}
