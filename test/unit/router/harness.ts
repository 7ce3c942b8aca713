import { createHash, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { encodeBase64, utf8 } from '../../../src/base/encoding.js'
import type { RouterContext } from '../../../src/router/context.js'
import { type ControlPlane, createControlPlane } from '../../../src/router/control-plane.js'
import { createEvidenceSource } from '../../../src/router/evidence.js'
import { createLocalGuards, systemClocks } from '../../../src/router/guards.js'
import { renderReports } from '../../../src/router/process-metrics.js'
import { createLog } from '../../../src/router/request-log.js'
import { createState } from '../../../src/router/router-state.js'
import { createTlsIdentity } from '../../../src/router/self-signed.js'
import { createServing } from '../../../src/router/serving.js'
import { type Environment, parseSettings } from '../../../src/router/settings.js'
import { createSidecar } from '../../../src/router/sidecar.js'
import { usualPace } from '../../../src/router/startup.js'
import { expectedOfTests } from '../seal/signed-bundle.js'
import { vectorKey } from '../seal/test-keys.js'

export const ccePolicy = utf8.encode('package policy\n')

/** Things to close, last opened first. */
export class Cleanup {
  readonly #closers: (() => Promise<unknown>)[] = []

  add(close: () => Promise<unknown>): void {
    this.#closers.unshift(close)
  }

  async run(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close()
  }
}

/** Serves on a free port of 127.0.0.1; gives the origin. */
export async function serve(cleanup: Cleanup, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  return listen(cleanup, server)
}

async function listen(cleanup: Cleanup, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** One exchange of the real sidecar, by the number in its file name (test/vectors/skr). */
export function golden(name: string): { status: number; contentType: string; body: string } {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'vectors', 'skr', `client-${name}.http`), 'utf8')
  const answer = text.slice(text.indexOf('HTTP/1.1 ')).replaceAll('\r\n', '\n')
  const end = answer.indexOf('\n\n')
  return {
    status: Number(answer.slice(9, 12)),
    contentType: /^content-type: (.*)$/im.exec(answer.slice(0, end))?.[1] ?? '',
    body: answer.slice(end + 2).trimEnd()
  }
}

export interface FakeSidecar {
  readonly url: string
  /** What the sidecar was asked, in order. */
  readonly requests: { path: string; body: Record<string, string> }[]
  /** Answers with the exchanges of these names first, one for each call of the path. */
  readonly failures: Record<string, string[]>
  key: KeyObject
}

/** Answers as the real sidecar did, with a key and a REPORT_DATA of this run. */
export async function fakeSidecar(cleanup: Cleanup): Promise<FakeSidecar> {
  const sidecar = { url: '', requests: [], failures: {}, key: (await vectorKey()).privateKey } as {
    -readonly [Name in keyof FakeSidecar]: FakeSidecar[Name]
  }
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? ''
    const text = (await readAll(request)).toString()
    const body = text === '' ? {} : JSON.parse(text)
    sidecar.requests.push({ path, body })
    const failure = sidecar.failures[path]?.shift()
    const { status, contentType, body: good } = golden(failure ?? usual[path] ?? '28-unknown-path')
    response.writeHead(status, { 'content-type': contentType })
    response.end(failure === undefined ? adapt(path, good, body) : good)
  }
  const adapt = (path: string, good: string, body: Record<string, string>): string => {
    if (path === '/key/release') {
      const { d, dp, dq, e, n, p, q, qi } = sidecar.key.export({ format: 'jwk' })
      return JSON.stringify({ key: JSON.stringify({ d, dp, dq, e, key_ops: ['encrypt'], kty: 'RSA', n, p, q, qi }) })
    }
    if (path !== '/attest/combined') return good
    const parts = JSON.parse(good)
    const report = Buffer.from(parts.evidence, 'base64')
    report.fill(0, 80, 144)
    createHash('sha256')
      .update(Buffer.from(body.runtime_data ?? '', 'base64'))
      .digest()
      .copy(report, 80)
    return JSON.stringify({ ...parts, evidence: encodeBase64(report) })
  }
  sidecar.url = await serve(cleanup, (request, response) => void answer(request, response))
  return sidecar
}

const usual: Record<string, string> = {
  '/status': '01-status',
  '/key/release': '13-release-ok-rsa2048-msi',
  '/attest/maa': '08-maa-ok',
  '/attest/combined': '07-combined-ok'
}

export const requiredEnvironment = {
  MAA_ENDPOINT: 'https://sharedweu.weu.attest.azure.net',
  AKV_ENDPOINT: 'https://conftest.vault.azure.net',
  KID: 'default',
  ACCESS_MODE: '',
  ACCESS_TOKENS: '',
  RATE_LIMIT_PER_MINUTE: '',
  ENCRYPTION: '',
  CONFROUTER_PROVIDERS: '',
  CONFROUTER_SECRETS_SIGNER: expectedOfTests.signer,
  CONFROUTER_DEPLOYMENT: expectedOfTests.deployment
}

/** Enables one provider, the default one, whose server is `origin`. */
export const oneProvider = (origin: string, settings: object = {}): string =>
  JSON.stringify({ test: { baseUrl: `${origin}/base`, allowPrivate: true, ...settings } })

export interface RunningRouter {
  readonly url: string
  /** Of the listener with TLS, if CONFROUTER_TLS_PORT is set. */
  readonly tlsUrl: string
  readonly context: RouterContext
  readonly server: Server
  readonly servers: readonly Server[]
  readonly control: ControlPlane
  /** All log lines so far. */
  readonly logText: () => string
  readonly requestLines: () => Record<string, unknown>[]
}

/** The same composition as the program, in this process; limits may be finer than the environment allows. */
export async function startRouter(
  cleanup: Cleanup,
  environment: Environment,
  {
    limits = {},
    untilReady = true,
    pace = {},
    clocks = systemClocks,
    now = () => new Date('2026-11-22T09:15:23.000Z')
  }: {
    limits?: Partial<RouterContext['settings']['limits']>
    untilReady?: boolean
    pace?: Partial<typeof usualPace>
    clocks?: typeof systemClocks
    now?: () => Date
  } = {}
): Promise<RunningRouter> {
  const parsed = parseSettings({ ...requiredEnvironment, HOST: '127.0.0.1', PORT: '0', ...environment })
  const settings = { ...parsed, limits: { ...parsed.limits, ...limits } }
  const lines: string[] = []
  const log = createLog({ write: (line) => void lines.push(line) })
  const tls = settings.tlsPort === undefined ? undefined : createTlsIdentity(new Date())
  const sidecar = createSidecar({ url: settings.sidecarUrl, ...settings, timeoutMs: 2000 })
  const evidence = createEvidenceSource({
    sidecar,
    maaHost: settings.maaHost,
    readPolicy: async () => ccePolicy,
    simulated: settings.simulated,
    tls: tls?.spkiSha256,
    now
  })
  const state = createState()
  const control = createControlPlane({
    settings,
    sidecar,
    evidence,
    state,
    log,
    pace: { ...usualPace, shortestMs: 5, longestMs: 20, refusedMs: 40, ...pace },
    steadyMs: clocks.steadyMs
  })
  const shared = createLocalGuards(settings.limits, clocks)
  const renderMetrics = () => renderReports([control.report(), serving.report()])
  const serving = createServing({ settings, state, evidence, shared, tls, log, renderMetrics })
  const { port, tlsPort } = await serving.listen()
  cleanup.add(async () => {
    serving.context.connections.closeAll()
    await Promise.all(serving.servers.map((server) => new Promise((resolve) => server.close(resolve))))
  })
  const stop = new AbortController()
  const started = control.start(stop.signal)
  const fresh = started
    .then(() => control.keepFresh(stop.signal))
    .catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    })
  cleanup.add(async () => {
    stop.abort()
    await fresh
    await Promise.all([serving.context.egress.close(), sidecar.close()])
  })
  if (untilReady) await started
  const [server] = serving.servers
  if (server === undefined) throw new Error('there is no server')
  return {
    url: `http://127.0.0.1:${port}`,
    tlsUrl: `https://127.0.0.1:${tlsPort}`,
    context: serving.context,
    server,
    servers: serving.servers,
    control,
    logText: () => lines.join(''),
    requestLines: () => lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request')
  }
}

/** An answer whose shape the assertions check. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- it is read member by member in assertions
export type Answer = any

/** POSTs JSON; gives the status, the headers and the parsed answer. */
export async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {}
): Promise<{ status: number; headers: Headers; json: Answer }> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body)
  })
  return { status: answer.status, headers: answer.headers, json: await answer.json() }
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('the condition did not come true in time')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
