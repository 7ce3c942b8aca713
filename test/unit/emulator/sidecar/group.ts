import { type ChildProcess, spawn } from 'node:child_process'
import { request as httpsRequest } from 'node:https'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { sha256Hex } from '../../../../src/base/digest.js'
import { createHardware, type SimulatedHardware } from '../../../../src/emulator/hardware/simulated-hardware.js'
import type { Handler } from '../../../../src/emulator/http.js'
import { type RunningServer, serve } from '../../../../src/emulator/server.js'
import { attestationHandler } from '../../../../src/emulator/services/attestation/handler.js'
import { type Instance, instanceHandler } from '../../../../src/emulator/services/instance/handler.js'
import { keyVaultHandler } from '../../../../src/emulator/services/keyvault/handler.js'
import { releaseRootPem } from '../../../../src/emulator/services/keyvault/release-signer.js'
import { openStore, type Store } from '../../../../src/emulator/store.js'
import { openTlsIdentity, type TlsIdentity } from '../../../../src/emulator/tls.js'
import type { Loose } from '../hardware/requests.js'
import { testAccess, vault } from '../keyvault/vault-harness.js'

/** The text of the CCE policy that the test group was started with. */
export const ccePolicy = 'package policy'

/** The services that a container group meets, each behind its own socket, and a folder for state. */
export class TestGroup {
  readonly #servers: RunningServer[] = []
  readonly #processes: ChildProcess[] = []
  attestation = ''
  keyVault = ''
  instances = ''
  readonly access = testAccess()
  readonly identities: Instance['identities'][number][] = [
    { clientId: 'identity', principalId: 'releaser', resourceId: '/subscriptions/s/id1' }
  ]
  /** What reports say when a test wants them to say something else than good. */
  reportChange: Partial<Parameters<SimulatedHardware['report']>[0]> = {}

  private constructor(
    readonly directory: string,
    readonly tls: TlsIdentity,
    readonly store: Store,
    readonly hardware: SimulatedHardware
  ) {}

  static async start(): Promise<TestGroup> {
    const directory = await mkdtemp(join(tmpdir(), 'sidecar-'))
    const [tls, store] = await Promise.all([
      openTlsIdentity(join(directory, 'tls')),
      openStore(join(directory, 'state'))
    ])
    const group = new TestGroup(directory, tls, store, await createHardware({ store }))
    await group.#startServices()
    return group
  }

  /** A TLS server that the group trusts; its host and port. */
  async serveTls(handler: Handler): Promise<string> {
    const server = await serve({ handler, port: 0, tls: this.tls })
    this.#servers.push(server)
    return server.origin.replace('https://', '')
  }

  async servePlain(handler: Handler): Promise<string> {
    const server = await serve({ handler, port: 0 })
    this.#servers.push(server)
    return server.origin
  }

  /** The files that the platform puts into a container. */
  async writeContext(change: { device?: object; certificates?: string } = {}): Promise<string> {
    const directory = await mkdtemp(join(this.directory, 'security-context-'))
    const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString('base64')
    const device = {
      reportUrl: `${this.instances}/instances/s3cret/snp-report`,
      ca: this.tls.ca,
      releaseRoot: await releaseRootPem(this.store, new Date()),
      ...change.device
    }
    await Promise.all([
      writeFile(join(directory, 'security-policy-base64'), base64(ccePolicy)),
      writeFile(join(directory, 'reference-info-base64'), base64(this.hardware.uvmEndorsements)),
      writeFile(join(directory, 'host-amd-cert-base64'), base64(change.certificates ?? this.hardware.thimJson)),
      writeFile(join(directory, 'emulated-device.json'), JSON.stringify(device))
    ])
    return directory
  }

  /** The environment of the sidecar container. */
  environment(contextDirectory: string): Record<string, string> {
    return {
      Port: '0',
      LogLevel: 'info',
      UVM_SECURITY_CONTEXT_DIR: contextDirectory,
      IMDS_ENDPOINT: `${this.instances}/instances/s3cret`
    }
  }

  /** Bundles the program as the build does and runs it; resolves with its origin. */
  async spawnSidecar(environment: Record<string, string>): Promise<string> {
    const child = spawn(process.execPath, [await this.#bundle()], {
      env: environment,
      stdio: ['ignore', 'ignore', 'pipe']
    })
    this.#processes.push(child)
    return new Promise((resolve, reject) => {
      let output = ''
      child.stderr.on('data', (data: Buffer) => {
        output += data.toString()
        const port = /listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1]
        if (port !== undefined) resolve(`http://127.0.0.1:${port}`)
      })
      child.once('exit', (code) => reject(new Error(`sidecar ended with ${code}: ${output}`)))
    })
  }

  async fetchJson(url: string): Promise<unknown> {
    return JSON.parse((await get(url, this.tls.ca)).toString()) as unknown
  }

  async close(): Promise<void> {
    for (const child of this.#processes) if (child.exitCode === null) child.kill('SIGTERM')
    await Promise.all(this.#servers.map((server) => server.close()))
    await rm(this.directory, { recursive: true, force: true })
  }

  async #startServices(): Promise<void> {
    const { store, hardware, access } = this
    const clock = (): Date => new Date()
    let issuer = ''
    let provider: Handler | undefined
    this.attestation = await this.serveTls(async (request) => {
      provider ??= await attestationHandler({ store, name: 'att1', issuer, roots: hardware.trust, clock })
      return provider(request)
    })
    issuer = `https://${this.attestation}`
    let data: Handler | undefined
    this.keyVault = await this.serveTls((request) => {
      const here = { ...vault, vaultUri: `https://${this.keyVault}/` }
      const fetchJson = (url: string): Promise<unknown> => this.fetchJson(url)
      data ??= keyVaultHandler({ store, access, vault: here, fetchJson, clock, authorityHost: 'https://login.test' })
      return data(request)
    })
    const device: SimulatedHardware = {
      ...hardware,
      report: (request) => hardware.report({ ...request, ...this.reportChange })
    }
    const instance: Instance = { hostData: sha256Hex(ccePolicy), identities: this.identities }
    this.instances = await this.servePlain(
      instanceHandler({
        hardware: device,
        instances: (secret) => (secret === 's3cret' ? instance : undefined),
        issueToken: async ({ principal }) => ({
          token: principal.objectId,
          expiresOn: new Date(Date.now() + 3600_000)
        }),
        clock
      })
    )
  }

  async #bundle(): Promise<string> {
    const outfile = join(this.directory, 'bundle', 'sidecar.cjs')
    await mkdir(join(this.directory, 'bundle'), { recursive: true })
    const entryPoints = ['src/emulator/sidecar/main.ts']
    await build({ entryPoints, outfile, bundle: true, platform: 'node', target: 'node20', format: 'cjs' })
    return outfile
  }
}

export interface SidecarAnswer {
  readonly status: number
  readonly contentType: string | null
  readonly text: string
}

export async function ask(origin: string, path: string, body?: object | string): Promise<SidecarAnswer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const response = await fetch(origin + path, body === undefined ? {} : { method: 'POST', body: text })
  return { status: response.status, contentType: response.headers.get('content-type'), text: await response.text() }
}

export async function askJson(origin: string, path: string, body: object): Promise<Loose> {
  const { status, text } = await ask(origin, path, body)
  if (status !== 200) throw new Error(`${status} ${text}`)
  return JSON.parse(text)
}

function get(url: string, ca: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    httpsRequest(url, { ca }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve(Buffer.concat(chunks)))
    })
      .on('error', reject)
      .end()
  })
}
