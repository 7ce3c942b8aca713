import { createHash, randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeBase64, utf8 } from '../../../base/encoding.js'
import type { SimulatedHardware } from '../../hardware/simulated-hardware.js'

/** What the platform puts around the containers of a group. */
export interface Platform {
  /** Variables that it adds to a container's environment, if the policy lets them through. */
  environment(guest: Guest, container: string): Readonly<Record<string, string>>
  /** Writes what the guest agent shows to each container, and returns the folder. */
  writeSecurityContext(guest: Guest, directory: string): Promise<string>
}

/** One utility VM: a group between its start and its end. */
export interface Guest {
  readonly groupName: string
  readonly secret: string
  readonly hasIdentity: boolean
  readonly ccePolicy: string
}

/** The policy cannot forbid this one: the guest agent adds it after the policy has been asked. */
export const securityContextVariable = 'UVM_SECURITY_CONTEXT_DIR'

export function createPlatform(options: {
  readonly hardware: Pick<SimulatedHardware, 'uvmEndorsements' | 'thimJson'>
  /** `http://127.0.0.1:PORT`, where `/instances/<secret>` is. */
  readonly instanceOrigin: string
  /** PEM of the root of all TLS certificates on this machine. */
  readonly ca: string
  /** PEM of the root under which vaults sign their releases. */
  readonly releaseRoot: string
}): Platform {
  const endpoint = (guest: Guest) => `${options.instanceOrigin}/instances/${guest.secret}`
  return {
    environment: (guest, container) => ({
      HOSTNAME: `SandboxHost-${numberOf(guest.secret)}`,
      Fabric_ApplicationName: `caas-${fingerprint(guest.secret)}`,
      Fabric_CodePackageName: container,
      Fabric_NodeIPOrFQDN: '127.0.0.1',
      FabricPackageFileName: `${guest.groupName}.sfpkg`,
      HostedServiceName: 'fabric:/emulated',
      ...(guest.hasIdentity ? identityVariables(guest, endpoint(guest)) : {})
    }),
    writeSecurityContext: async (guest, directory) => {
      const folder = join(directory, 'security-context')
      await rm(folder, { recursive: true, force: true })
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const files: Readonly<Record<string, string>> = {
        'security-policy-base64': guest.ccePolicy,
        'reference-info-base64': encodeBase64(options.hardware.uvmEndorsements),
        'host-amd-cert-base64': encodeBase64(utf8.encode(options.hardware.thimJson)),
        // Stands for /dev/sev-guest: on real hardware there is no such file.
        'emulated-device.json': JSON.stringify({
          reportUrl: `${endpoint(guest)}/snp-report`,
          ca: options.ca,
          releaseRoot: options.releaseRoot
        })
      }
      for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text, { mode: 0o600 })
      return folder
    }
  }
}

/** 256 bits that stand for being inside the group. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url')
}

/** The last three came in September 2026: policies from before do not list them. */
function identityVariables(guest: Guest, endpoint: string): Record<string, string> {
  return {
    IDENTITY_API_VERSION: '2019-07-01-preview',
    IDENTITY_HEADER: fingerprint(`header ${guest.secret}`),
    IDENTITY_SERVER_THUMBPRINT: fingerprint(`server ${guest.secret}`).toUpperCase(),
    APP_IDENTITY_ENDPOINT: endpoint,
    IDENTITY_ENDPOINT: endpoint,
    IMDS_ENDPOINT: endpoint
  }
}

function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 40)
}

function numberOf(secret: string): string {
  return BigInt(`0x${fingerprint(secret).slice(0, 14)}`).toString()
}
