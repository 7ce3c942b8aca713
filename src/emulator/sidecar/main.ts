/**
 * The Secure Key Release sidecar as a program of its own: what the emulated container group runs in
 * the place of mcr.microsoft.com/aci/skr. It shares nothing with the services that it calls but
 * `base` and the check of who calls, and reaches them over sockets only.
 */
import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { sidecarApi } from './api.js'
import { createAttestor, fetchHostCertificates, thimUrl } from './attestation.js'
import { createDownstream, type Downstream } from './downstream.js'
import type { HostCertificates } from './host-certificates.js'
import { fetchIdentityToken } from './identity-token.js'
import { parseSidecarOptions, type LogLevel } from './options.js'
import { releaseKey } from './release.js'
import { readSecurityContext } from './security-context.js'

async function main(environment: NodeJS.ProcessEnv): Promise<void> {
  const options = parseSidecarOptions(environment)
  const { device, uvmEndorsements, hostCertificates } = await readSecurityContext(environment)
  const imdsEndpoint = (environment['IMDS_ENDPOINT'] ?? 'http://169.254.169.254').replace(/\/$/, '')
  const downstream = createDownstream(device.ca)
  const attestor = createAttestor({
    device,
    uvmEndorsements,
    hostCertificates: hostCertificates ?? (await askHost(downstream, thimUrl(imdsEndpoint))),
    certificateCache: options.certificateCache,
    imdsEndpoint,
    downstream
  })
  const identity = { imdsEndpoint, clientId: options.identityClientId, downstream }
  const means = {
    attestor,
    downstream,
    identityToken: (endpoint: string) => fetchIdentityToken(endpoint, identity),
    releaseRoot: device.releaseRoot
  }
  const log = logger(options.logLevel)
  const server = createServer(sidecarApi({ attestor, release: (request) => releaseKey(request, means), log }))
  server.on('error', fail)
  // The real sidecar binds "localhost", which is 127.0.0.1 and not ::1.
  server.listen(options.port, '127.0.0.1', () => {
    const address = server.address()
    log('info', `listening on 127.0.0.1:${typeof address === 'object' ? address?.port : ''}`)
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      server.close(() => process.exit(0))
      server.closeAllConnections()
    })
  }
}

/** The host may need a moment; the real sidecar tries for 100 seconds before it gives up. */
async function askHost(downstream: Downstream, url: string): Promise<HostCertificates> {
  for (const delayMs of [100, 500, 2000, 5000]) {
    try {
      return await fetchHostCertificates(downstream, url)
    } catch {
      await setTimeout(delayMs)
    }
  }
  return fetchHostCertificates(downstream, url)
}

const weights = { error: 0, warning: 1, info: 2 } as const

/** Lines carry method, path and status: no level prints bodies, tokens or keys. */
function logger(level: LogLevel): (lineLevel: 'warning' | 'info', line: string) => void {
  return (lineLevel, line) => {
    if (weights[lineLevel] <= weights[level]) process.stderr.write(`level=${lineLevel} msg=${JSON.stringify(line)}\n`)
  }
}

function fail(error: unknown): void {
  process.stderr.write(`level=fatal msg=${JSON.stringify(error instanceof Error ? error.message : 'unknown error')}\n`)
  process.exit(1)
}

main(process.env).catch(fail)
