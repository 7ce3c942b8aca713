import { VerifyError } from './errors.js'
import { isOpenPolicy, readTrustPolicy, type TrustPolicy } from './trust-policy.js'
import type { MinimumTcb } from './tcb.js'

/**
 * Least TCB that the strict policy accepts.
 *
 * - Milan: exactly what a captured report of an Azure container group (Milan, report version 2) states.
 * - Genoa: below what a captured report (Genoa, report version 3: 10, 0, 23, 84) states.
 * - Turin: no report was captured, so nothing is demanded beyond a genuine chain; raise it when one is. Where only
 *   the token is asked for, which does not name the product, Turin is no candidate as long as this is zero.
 *
 * AMD's security bulletins name newer ones; a caller who follows them passes a `minimumTcb`.
 */
export const defaultMinimumTcb: MinimumTcb = {
  milan: { bootloader: 3, tee: 0, snp: 8, microcode: 115 },
  genoa: { bootloader: 7, tee: 0, snp: 14, microcode: 72 },
  turin: { fmc: 0, bootloader: 0, tee: 0, snp: 0, microcode: 0 }
}

/** Microsoft's issuer of utility VM measurements, pinned by the fingerprint of its root. */
export const azureUvmIssuer =
  'did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2'

export interface StrictTrustOptions {
  /** SHA-256 of the CCE policies that are accepted, 64 lower-case hex characters each. */
  readonly hostData: readonly string[]
  /** Origins of the attestation providers, or `'none'` for the hardware path alone. */
  readonly maaEndpoints: readonly string[] | 'none'
  readonly roots?: 'amd' | { readonly arkSha256: readonly string[] }
  readonly uvmIssuer?: string
  readonly uvmFeed?: string
  readonly uvmMinimumSvn?: number
  readonly minimumTcb?: MinimumTcb
  readonly maximumAgeSeconds?: number
}

/**
 * The trust policy that leaves nothing open. Throws a {@link VerifyError} with code `trust.invalid`
 * for values of another form and for host data of a well-known policy that allows everything.
 */
export function strictTrustPolicy(options: StrictTrustOptions): TrustPolicy {
  const open = options.hostData.filter(isOpenPolicy)
  if (open.length > 0) {
    const problems = open.map((digest) => `hostData ${digest} is that of a policy that allows everything`)
    throw new VerifyError('trust.invalid', 'trust policy is not valid', problems)
  }
  return readTrustPolicy({
    version: 1,
    hostData: options.hostData,
    roots: options.roots ?? 'amd',
    minimumTcb: options.minimumTcb ?? defaultMinimumTcb,
    debug: 'forbidden',
    migration: 'forbidden',
    vmpl: 0,
    uvm: {
      issuer: options.uvmIssuer ?? azureUvmIssuer,
      feed: options.uvmFeed ?? 'ContainerPlat-AMD-UVM',
      minimumSvn: options.uvmMinimumSvn ?? 100
    },
    maa: options.maaEndpoints === 'none' ? 'none' : { endpoints: options.maaEndpoints },
    nonce: 'required',
    maximumAgeSeconds: options.maximumAgeSeconds ?? 300
  } satisfies Record<keyof TrustPolicy, unknown>)
}
