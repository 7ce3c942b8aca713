import type { Sha256Hex } from '../base/digest.js'
import { parseDidX509 } from './did-x509.js'
import { VerifyError } from './errors.js'
import { attemptSync } from './check.js'
import { isHttpsOrigin } from './https-origin.js'
import { integer, list, object, oneOf, type Reader, text, wordOr } from './shape.js'
import { parseStrictJson } from './strict-json.js'
import type { MinimumTcb, TcbVersion, TurinTcbVersion } from './tcb.js'

/**
 * What a caller demands of a router. Every field must be decided; `'any'` is a decision and stands in
 * the file, so that nothing goes unchecked because somebody forgot it.
 */
export interface TrustPolicy {
  readonly version: 1
  /** SHA-256 of the CCE policies that are accepted. */
  readonly hostData: readonly Sha256Hex[] | 'any'
  /** AMD's three root keys, or others by SHA-256 of the DER; with others every verdict says *simulated*. */
  readonly roots: 'amd' | TrustedRoots
  readonly minimumTcb: MinimumTcb | 'any'
  readonly debug: 'forbidden' | 'any'
  readonly migration: 'forbidden' | 'any'
  readonly vmpl: number | 'any'
  readonly uvm: UvmTrust | 'any'
  /** Attestation providers that are accepted; `'none'` leaves the token out and relies on the report alone. */
  readonly maa: MaaTrust | 'any' | 'none'
  readonly nonce: 'required' | 'any'
  /** Age of the token, the only part with a signed time. */
  readonly maximumAgeSeconds: number | 'any'
}

export interface TrustedRoots {
  readonly arkSha256: readonly Sha256Hex[]
}

/** Who must have signed the measurement of the utility VM, as what, and the least version. */
export interface UvmTrust {
  /** did:x509 with `eku` policies. */
  readonly issuer: string
  readonly feed: string
  readonly minimumSvn: number
}

export interface MaaTrust {
  /** Origins: `https://host` or `https://host:port`, without a trailing slash. */
  readonly endpoints: readonly string[]
}

/** Digests of two policies in wide use in tests that allow everything. */
const openPolicies: readonly string[] = [
  '4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10',
  'cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c'
]

const maximumLength = 64 * 1024

/**
 * Parses a trust policy file (JSON). Throws a {@link VerifyError} with code `trust.invalid` that
 * lists all problems: missing and unknown fields, and values of another form.
 */
export function parseTrustPolicy(json: string): TrustPolicy {
  if (json.length > maximumLength) throw invalid([`it is longer than ${maximumLength} characters`])
  const value = attemptSync(() => parseStrictJson(json, 'it'))
  if (!value.ok) throw invalid([value.problem])
  return readTrustPolicy(value.value)
}

/** Like {@link parseTrustPolicy}, of a value. */
export function readTrustPolicy(value: unknown): TrustPolicy {
  const problems: string[] = []
  const policy = trustPolicy(value, '', problems)
  if (policy === undefined) throw invalid(problems)
  return policy
}

/**
 * Where the token's word is all there is, its issuer must be one that the policy names. Throws a {@link VerifyError}
 * with code `trust.invalid`.
 */
export function requireNamedProviders({ maa }: TrustPolicy): void {
  if (typeof maa !== 'string') return
  throw invalid([`maa is "${maa}", but where only the token is asked for it must name the attestation providers`])
}

/** Whether a digest is that of a well-known policy that allows everything, and so proves nothing. */
export function isOpenPolicy(hostDataHex: string): boolean {
  return openPolicies.includes(hostDataHex)
}

function invalid(problems: readonly string[]): VerifyError {
  return new VerifyError('trust.invalid', 'trust policy is not valid', problems)
}

const sha256: Reader<Sha256Hex> = text('64 lower-case hex characters', 64, (value) =>
  /^[0-9a-f]{64}$/.test(value) ? (value as Sha256Hex) : undefined
)
const level = integer(0, 255)
const tcb = { bootloader: level, tee: level, snp: level, microcode: level }

const endpoint = text('an https origin without path, like "https://sharedeus.eus.attest.azure.net"', 300, (value) =>
  isHttpsOrigin(value) ? value : undefined
)

const trustPolicy: Reader<TrustPolicy> = object<TrustPolicy>({
  version: oneOf(1),
  hostData: wordOr(['any'], list(sha256, 1000)),
  roots: wordOr(['amd'], object<TrustedRoots>({ arkSha256: list(sha256, 100) })),
  minimumTcb: wordOr(
    ['any'],
    object<MinimumTcb>({
      milan: object<TcbVersion>(tcb),
      genoa: object<TcbVersion>(tcb),
      turin: object<TurinTcbVersion>({ fmc: level, ...tcb })
    })
  ),
  debug: oneOf('forbidden', 'any'),
  migration: oneOf('forbidden', 'any'),
  vmpl: wordOr(['any'], integer(0, 3)),
  uvm: wordOr(
    ['any'],
    object<UvmTrust>({
      issuer: text('a did:x509:0 identifier with eku policies', 1000, (value) =>
        parseDidX509(value) === undefined ? undefined : value
      ),
      feed: text('a text', 1000, (value) => (value === '' ? undefined : value)),
      minimumSvn: integer(0, 0xffffffff)
    })
  ),
  maa: wordOr(['any', 'none'], object<MaaTrust>({ endpoints: list(endpoint, 100) })),
  nonce: oneOf('required', 'any'),
  maximumAgeSeconds: wordOr(['any'], integer(1, 365 * 24 * 3600))
})
