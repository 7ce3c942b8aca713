import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { encodeBase64, utf8 } from '../../src/base/encoding.js'
import type { TrustPolicy } from '../../src/verify/trust-policy.js'
import { sendJson, serveTls, type TlsLoopback } from '../unit/client/loopback.js'
import { ccePolicy, type Cleanup, readAll, type RunningRouter, serve, startRouter } from '../unit/router/harness.js'
import { vectorKey } from '../unit/seal/test-keys.js'
import { type Changes, createWorld, forge, type Forged, maaKeySet, type Members, put } from '../unit/verify/forge.js'

/** A router of this process on forged hardware: real signatures over a chain that ends in a root of this test. */
export interface AttestedRouter {
  readonly router: RunningRouter
  readonly trust: TrustPolicy
  /** Trusts the certificate of the attestation provider. */
  readonly fetch: typeof globalThis.fetch
  readonly attestationProvider: TlsLoopback
  /** Breaks the evidence that is given out from now on; `{}` mends it. */
  breakEvidence(changes: Changes): void
}

export async function startAttestedRouter(
  cleanup: Cleanup,
  providers: Readonly<Record<string, object>>,
  environment: Readonly<Record<string, string>> = {}
): Promise<AttestedRouter> {
  const world = await createWorld()
  const attestationProvider = await serveTls(async (_, __, response) => {
    sendJson(response, 200, (await maaKeySet(world.maa)).jwks)
  })
  cleanup.add(() => attestationProvider.close())
  const { origin } = attestationProvider
  let broken: Changes = {}
  const hostData = createHash('sha256').update(ccePolicy).digest()
  const make = (runtimeData: Uint8Array): Promise<Forged> =>
    forge(world, {
      ...broken,
      runtimeData: (value) => broken.runtimeData?.(value) ?? runtimeData,
      report: (view) => {
        view.set(192, hostData)
        broken.report?.(view)
      },
      claims: (claims) => {
        const seconds = Math.floor(Date.now() / 1000)
        Object.assign(claims, { iss: origin, iat: seconds - 5, nbf: seconds - 5, exp: seconds + 28_795 })
        broken.claims?.(claims)
      },
      trust: (trust) => {
        put([hostData.toString('hex')], 'hostData')(trust)
        put([origin], 'maa', 'endpoints')(trust)
      }
    })
  const key = (await vectorKey()).privateKey.export({ format: 'jwk' })
  const sidecar = await serve(cleanup, (request, response) => {
    void (async () => {
      const text = (await readAll(request)).toString()
      const body = text === '' ? {} : JSON.parse(text)
      if (request.url === '/status') response.end('{"message":"Status OK"}')
      else if (request.url === '/key/release') sendJson(response, 200, { key: JSON.stringify(key) })
      else {
        const { document } = await make(Buffer.from(body.runtime_data, 'base64'))
        const { maa, snp } = document as { maa: Members; snp: Members }
        if (request.url === '/attest/maa') sendJson(response, 200, { token: maa.token })
        else {
          sendJson(response, 200, {
            evidence: snp.report,
            endorsements: encodeBase64(utf8.encode(String(snp.certificates))),
            uvm_endorsements: snp.uvmEndorsements
          })
        }
      }
    })()
  })
  const router = await startRouter(
    cleanup,
    {
      SKR_URL: sidecar,
      MAA_ENDPOINT: origin,
      CONFROUTER_PROVIDERS: JSON.stringify(providers),
      RATE_LIMIT_PER_MINUTE: '100000',
      CONFROUTER_CALLS_PER_MINUTE: '100000',
      ...environment
    },
    { now: () => new Date() }
  )
  const { trust } = await make(new Uint8Array())
  return {
    router,
    trust,
    fetch: attestationProvider.fetch,
    attestationProvider,
    breakEvidence: (changes) => (broken = changes)
  }
}

/** What stands between a caller and a router: it sees every byte, and can change what goes back. */
export interface Wire {
  readonly origin: string
  /** All that callers have sent, over all connections. */
  readonly sent: () => string
  readonly received: () => string
  /** Changes what comes from the router, piece by piece; an empty piece ends the connection. */
  alter(change: ((piece: Buffer) => Buffer | undefined) | undefined): void
}

export async function startWire(cleanup: Cleanup, router: string): Promise<Wire> {
  const { port } = new URL(router)
  const sent: Buffer[] = []
  const received: Buffer[] = []
  const open = new Set<Socket>()
  let change: ((piece: Buffer) => Buffer | undefined) | undefined
  const server = createServer((caller) => {
    const callee = connect(Number(port), '127.0.0.1')
    for (const [socket, other] of [
      [caller, callee],
      [callee, caller]
    ] as const) {
      open.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
    caller.on('data', (piece) => {
      sent.push(piece)
      callee.write(piece)
    })
    callee.on('data', (piece) => {
      received.push(piece)
      const passed = change === undefined ? piece : change(piece)
      if (passed === undefined) caller.end()
      else caller.write(passed)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    for (const socket of open) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent: () => Buffer.concat(sent).toString('latin1'),
    received: () => Buffer.concat(received).toString('latin1'),
    alter: (to) => (change = to)
  }
}
