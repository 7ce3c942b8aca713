import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, fetch as undiciFetch } from 'undici'
import { sha256Hex } from '../../src/base/digest.js'
import {
  createHardware,
  type ReportRequest,
  type SimulatedHardware
} from '../../src/emulator/hardware/simulated-hardware.js'
import type { Handler } from '../../src/emulator/http.js'
import { serve as serveEmulated } from '../../src/emulator/server.js'
import { attestationHandler } from '../../src/emulator/services/attestation/handler.js'
import { type Instance, instanceHandler } from '../../src/emulator/services/instance/handler.js'
import { keyVaultHandler } from '../../src/emulator/services/keyvault/handler.js'
import { releaseRootPem } from '../../src/emulator/services/keyvault/release-signer.js'
import { openTlsIdentity } from '../../src/emulator/tls.js'
import { readTrustPolicy, type TrustPolicy } from '../../src/verify/trust-policy.js'
import { memoryStore } from '../unit/emulator/hardware/memory-store.js'
import { encodePolicy, policyFor, testAccess, vault } from '../unit/emulator/keyvault/vault-harness.js'
import { startInProcess } from '../unit/emulator/sidecar/in-process.js'
import { ccePolicy, type Cleanup, type RunningRouter, startRouter } from '../unit/router/harness.js'

/** Firmware that the trust policy of this file does not accept any more. */
export const oldTcb = { bootloader: 4, tee: 0, snp: 23, microcode: 218 }

/**
 * What a router needs of Azure, as the emulator has it: a chip, the instance that reports come from, an attestation
 * service, a vault that releases a key for its tokens, and the sidecar that asks them all.
 */
export interface EmulatedGroup {
  readonly hardware: SimulatedHardware
  readonly trust: TrustPolicy
  /** Trusts the root of the emulator's certificates. */
  readonly fetch: typeof globalThis.fetch
  /** What reports say from now on in place of what is right; `{}` mends it. */
  changeReports(change: Partial<ReportRequest>): void
  /** How far the clock of the attestation service is behind. */
  slowServiceBy(milliseconds: number): void
  /** A router in this process whose key the vault has released by policy; each `kid` is another key. */
  startRouter(kid: string, providers: Readonly<Record<string, object>>): Promise<RunningRouter>
}

export async function startGroup(
  cleanup: Cleanup,
  platform: { readonly platformTcb?: typeof oldTcb } = {}
): Promise<EmulatedGroup> {
  const directory = await mkdtemp(join(tmpdir(), 'confrouter-group-'))
  cleanup.add(() => rm(directory, { recursive: true, force: true }))
  const tls = await openTlsIdentity(join(directory, 'tls'))
  const store = memoryStore()
  const hardware = await createHardware({ store, ...platform })
  const hostData = sha256Hex(ccePolicy)
  let reportChange: Partial<ReportRequest> = {}
  let lateMs = 0
  const clock = (): Date => new Date(Date.now() - lateMs)
  const dispatcher = new Agent({ connect: { ca: tls.ca } })
  cleanup.add(() => dispatcher.close())
  const trustingFetch = ((url: string | URL, init: object) =>
    undiciFetch(url, { ...init, dispatcher })) as unknown as typeof globalThis.fetch

  const serve = async (handler: Handler, isTls: boolean): Promise<string> => {
    const server = await serveEmulated({ handler, port: 0, tls: isTls ? tls : undefined })
    cleanup.add(() => server.close())
    return server.origin
  }
  let provider: Handler | undefined
  const issuer: string = await serve(async (request) => {
    provider ??= await attestationHandler({ store, name: 'att1', issuer, roots: hardware.trust, clock })
    return provider(request)
  }, true)
  let keys: Handler | undefined
  const keyVault: string = await serve((request) => {
    keys ??= keyVaultHandler({
      store,
      access: testAccess(),
      vault: { ...vault, vaultUri: `${keyVault}/` },
      fetchJson: async (url) => (await trustingFetch(url)).json(),
      clock: () => new Date(),
      authorityHost: 'https://login.test'
    })
    return keys(request)
  }, true)
  const identities = [{ clientId: 'identity', principalId: 'releaser', resourceId: '/subscriptions/s/id1' }]
  const instance: Instance = { hostData, identities }
  const instances = await serve(
    instanceHandler({
      hardware: { ...hardware, report: (request) => hardware.report({ ...request, ...reportChange }) },
      instances: () => instance,
      issueToken: async ({ principal }) => ({
        token: principal.objectId,
        expiresOn: new Date(Date.now() + 3600_000)
      }),
      clock
    }),
    false
  )
  const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString('base64')
  const context = join(directory, 'tls')
  const device = {
    reportUrl: `${instances}/instances/s3cret/snp-report`,
    ca: tls.ca,
    releaseRoot: await releaseRootPem(store, new Date())
  }
  await Promise.all([
    writeFile(join(context, 'security-policy-base64'), base64(ccePolicy)),
    writeFile(join(context, 'reference-info-base64'), base64(hardware.uvmEndorsements)),
    writeFile(join(context, 'host-amd-cert-base64'), base64(hardware.thimJson)),
    writeFile(join(context, 'emulated-device.json'), JSON.stringify(device))
  ])
  const sidecar = await startInProcess({
    Port: '0',
    LogLevel: 'error',
    UVM_SECURITY_CONTEXT_DIR: context,
    IMDS_ENDPOINT: `${instances}/instances/s3cret`
  })
  cleanup.add(() => sidecar.close())

  async function createKey(kid: string): Promise<void> {
    const policy = policyFor({ 'x-ms-sevsnpvm-hostdata': hostData }, issuer)
    const answer = await trustingFetch(`${keyVault}/keys/${kid}/create?api-version=7.4`, {
      method: 'POST',
      headers: { authorization: 'Bearer officer' },
      body: JSON.stringify({
        kty: 'RSA-HSM',
        attributes: { exportable: true },
        release_policy: { data: encodePolicy(policy) }
      })
    })
    if (answer.status !== 200) throw new Error(`no key was made: ${await answer.text()}`)
  }

  return {
    hardware,
    trust: trustPolicy(hardware, hostData, issuer),
    fetch: trustingFetch,
    changeReports: (change) => (reportChange = change),
    slowServiceBy: (milliseconds) => (lateMs = milliseconds),
    async startRouter(kid, providers) {
      await createKey(kid)
      return startRouter(
        cleanup,
        {
          SKR_URL: sidecar.origin,
          MAA_ENDPOINT: issuer,
          AKV_ENDPOINT: keyVault,
          KID: kid,
          CONFROUTER_PROVIDERS: JSON.stringify(providers),
          ENCRYPTION: 'required',
          RATE_LIMIT_PER_MINUTE: '100000',
          CONFROUTER_CALLS_PER_MINUTE: '100000'
        },
        { now: () => new Date() }
      )
    }
  }
}

function trustPolicy(hardware: SimulatedHardware, hostData: string, issuer: string): TrustPolicy {
  return readTrustPolicy({
    version: 1,
    hostData: [hostData],
    roots: { arkSha256: [hardware.arkSha256] },
    minimumTcb: {
      milan: { bootloader: 4, tee: 0, snp: 24, microcode: 219 },
      genoa: { bootloader: 10, tee: 0, snp: 23, microcode: 84 },
      turin: { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 200 }
    },
    debug: 'forbidden',
    migration: 'forbidden',
    vmpl: 0,
    uvm: { issuer: hardware.uvmIssuer, feed: 'ContainerPlat-AMD-UVM', minimumSvn: 100 },
    maa: { endpoints: [issuer] },
    nonce: 'required',
    maximumAgeSeconds: 300
  })
}
