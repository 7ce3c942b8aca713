import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sidecarApi } from '../../../../src/emulator/sidecar/api.js'
import { createAttestor } from '../../../../src/emulator/sidecar/attestation.js'
import { createDownstream } from '../../../../src/emulator/sidecar/downstream.js'
import { parseHostCertificates } from '../../../../src/emulator/sidecar/host-certificates.js'
import { fetchIdentityToken } from '../../../../src/emulator/sidecar/identity-token.js'
import { parseSidecarOptions } from '../../../../src/emulator/sidecar/options.js'
import { releaseKey } from '../../../../src/emulator/sidecar/release.js'
import { readSecurityContext } from '../../../../src/emulator/sidecar/security-context.js'

export interface InProcessSidecar {
  readonly origin: string
  close(): Promise<void>
}

/** The sidecar's modules put together as `main.ts` does, without its process and with short retries. */
export async function startInProcess(environment: Record<string, string>): Promise<InProcessSidecar> {
  const options = parseSidecarOptions(environment)
  const { device, uvmEndorsements, hostCertificates } = await readSecurityContext(environment)
  const imdsEndpoint = environment['IMDS_ENDPOINT'] ?? ''
  const downstream = createDownstream(device.ca)
  const attestor = createAttestor({
    device,
    uvmEndorsements,
    hostCertificates: hostCertificates ?? parseHostCertificates(''),
    certificateCache: options.certificateCache,
    imdsEndpoint,
    downstream
  })
  const identity = { imdsEndpoint, clientId: options.identityClientId, downstream, retryDelays: [1, 1] }
  const means = {
    attestor,
    downstream,
    identityToken: (endpoint: string) => fetchIdentityToken(endpoint, identity),
    releaseRoot: device.releaseRoot
  }
  const server = createServer(
    sidecarApi({ attestor, release: (request) => releaseKey(request, means), log: () => undefined })
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
