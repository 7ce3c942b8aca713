import { readCcePolicy } from './cce-policy.js'
import { createEvidenceSource, type EvidenceSource } from './evidence.js'
import type { TlsIdentity } from './self-signed.js'
import type { Settings } from './settings.js'
import { createSidecar, type Sidecar } from './sidecar.js'

/** The sidecar and what it gives, as every process of a router uses them. */
export function createServices(
  settings: Settings,
  tls: TlsIdentity | undefined
): { readonly sidecar: Sidecar; readonly evidence: EvidenceSource } {
  const { maaHost, vaultHost, keyName, simulated } = settings
  const sidecar = createSidecar({ url: settings.sidecarUrl, maaHost, vaultHost, keyName })
  const evidence = createEvidenceSource({
    sidecar,
    maaHost,
    readPolicy: () => readCcePolicy(settings.securityContextDirectory),
    simulated,
    tls: tls?.spkiSha256,
    now: () => new Date()
  })
  return { sidecar, evidence }
}
