import { createHash } from 'node:crypto'
import { equalBytes } from '../base/bytes.js'
import type { Sha256Hex } from '../base/digest.js'
import { encodeBase64, utf8 } from '../base/encoding.js'
import { encodeRuntimeData } from '../seal/runtime-data.js'
import type { RouterKeys } from './released-key.js'
import { SidecarError } from './sidecar-error.js'
import type { Sidecar } from './sidecar.js'

/** The evidence document of docs/wire-format.md. */
export interface EvidenceDocument {
  readonly version: 1
  readonly runtimeData: string
  readonly maa: { readonly endpoint: string; readonly token: string }
  readonly snp: { readonly report: string; readonly certificates: string; readonly uvmEndorsements: string }
  readonly ccePolicy: string
  readonly createdAt: string
  readonly simulated: boolean
}

export interface EvidenceSource {
  /** Evidence that binds the keys and, if there is one, `nonce` (1 to 64 bytes). Throws a `SidecarError`. */
  collect(keys: RouterKeys, nonce: Uint8Array | undefined): Promise<EvidenceDocument>
  /** The token of the attestation service alone, with the runtime data that it binds. */
  attest(keys: RouterKeys, nonce: Uint8Array): Promise<{ token: string; runtimeData: Uint8Array }>
}

export function createEvidenceSource({
  sidecar,
  maaHost,
  readPolicy,
  simulated,
  tls,
  now
}: {
  readonly sidecar: Sidecar
  readonly maaHost: string
  readonly readPolicy: () => Promise<Uint8Array>
  readonly simulated: boolean
  /** SHA-256 of the key of the TLS listener, if there is one. */
  readonly tls: Sha256Hex | undefined
  readonly now: () => Date
}): EvidenceSource {
  const encode = (keys: RouterKeys, nonce: Uint8Array | undefined): Uint8Array =>
    encodeRuntimeData({
      keys: { rsa: keys.publicJwk, hpke: keys.hpke.publicKey, ed25519: keys.ed25519.publicKey },
      nonce,
      tls
    })
  return {
    async collect(keys, nonce) {
      const runtimeData = encode(keys, nonce)
      const createdAt = now()
      const [token, hardware, policy] = await Promise.all([
        sidecar.attest(runtimeData),
        sidecar.collect(runtimeData),
        readPolicy()
      ])
      requireBinding(hardware.report, runtimeData)
      return {
        version: 1,
        runtimeData: encodeBase64(runtimeData),
        maa: { endpoint: `https://${maaHost}`, token },
        snp: {
          report: encodeBase64(hardware.report),
          certificates: utf8.decode(hardware.certificates),
          uvmEndorsements: encodeBase64(hardware.uvmEndorsements)
        },
        ccePolicy: encodeBase64(policy),
        createdAt: createdAt.toISOString(),
        simulated
      }
    },

    async attest(keys, nonce) {
      const runtimeData = encode(keys, nonce)
      return { token: await sidecar.attest(runtimeData), runtimeData }
    }
  }
}

/**
 * REPORT_DATA is at byte 80 (AMD SEV-SNP ABI, ATTESTATION_REPORT). Callers check this too; a report
 * for other data is found here, where the operator can see it, and not by every caller.
 */
function requireBinding(report: Uint8Array, runtimeData: Uint8Array): void {
  const digest = createHash('sha256').update(runtimeData).digest()
  if (!equalBytes(report.subarray(80, 112), digest) || report.subarray(112, 144).some((byte) => byte !== 0)) {
    throw new SidecarError('attest.failed', 'the sidecar gave a report for other runtime data', { final: false })
  }
}
