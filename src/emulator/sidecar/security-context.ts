import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeBase64, utf8 } from '../../base/encoding.js'
import { isJsonObject } from '../../base/json.js'
import { type HostCertificates, parseHostCertificates } from './host-certificates.js'

/** What stands in for the SNP device of a utility VM: where reports come from, and whom to trust on the way. */
export interface EmulatedDevice {
  /** POST `{"reportData":"<128 hex>"}` gives `{"report":"<2368 hex>"}`. */
  readonly reportUrl: string
  /** PEM of the root of the emulator's TLS certificates, in the place of the system's pool. */
  readonly ca: string
  /** PEM of the root of vaults' release signatures; the real sidecar takes the system's pool here too. */
  readonly releaseRoot: string
}

export interface SecurityContext {
  /** COSE_Sign1; empty when the host gave none. */
  readonly uvmEndorsements: Uint8Array
  /** Undefined when the host gave none: then THIM has them. */
  readonly hostCertificates: HostCertificates | undefined
  readonly device: EmulatedDevice
}

/**
 * Reads the files that the platform puts into every container. As in the real sidecar, an unreadable
 * folder or an empty reference falls back to the older environment variables. Throws a `TypeError`.
 */
export async function readSecurityContext(
  environment: Readonly<Record<string, string | undefined>>
): Promise<SecurityContext> {
  const directory = environment['UVM_SECURITY_CONTEXT_DIR'] ?? ''
  if (directory === '') throw new TypeError('UVM_SECURITY_CONTEXT_DIR is not set')
  const texts = (await readFiles(directory)) ?? {
    policy: environment['UVM_SECURITY_POLICY'] ?? '',
    reference: environment['UVM_REFERENCE_INFO'] ?? '',
    certificates: environment['UVM_HOST_AMD_CERTIFICATE'] ?? ''
  }
  // The policy is only checked for being base64: HOST_DATA is the platform's word, not this file's.
  decodeBase64(texts.policy, 'security-policy-base64')
  const certificates = utf8.decode(decodeBase64(texts.certificates, 'host-amd-cert-base64'))
  return {
    uvmEndorsements: decodeBase64(texts.reference, 'reference-info-base64'),
    hostCertificates: certificates === '' ? undefined : parseHostCertificates(certificates),
    device: parseDevice(await readFile(join(directory, 'emulated-device.json'), 'utf8'))
  }
}

interface ContextTexts {
  readonly policy: string
  readonly reference: string
  readonly certificates: string
}

async function readFiles(directory: string): Promise<ContextTexts | undefined> {
  const read = async (name: string): Promise<string> => (await readFile(join(directory, name), 'utf8')).trim()
  try {
    const texts = {
      policy: await read('security-policy-base64'),
      reference: await read('reference-info-base64'),
      certificates: await read('host-amd-cert-base64')
    }
    return texts.reference === '' ? undefined : texts
  } catch {
    // The real sidecar falls back in silence, whatever the reason.
    return undefined
  }
}

function parseDevice(text: string): EmulatedDevice {
  const value: unknown = JSON.parse(text)
  const fields = isJsonObject(value) ? value : {}
  const { reportUrl, ca, releaseRoot } = fields
  if (typeof reportUrl !== 'string' || typeof ca !== 'string' || typeof releaseRoot !== 'string') {
    throw new TypeError('emulated-device.json must have reportUrl, ca and releaseRoot')
  }
  return { reportUrl, ca, releaseRoot }
}
