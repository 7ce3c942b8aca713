import { UserError } from '../base/user-error.js'
import { ProgramError, runProgram } from './run-program.js'

/** Programs that build from a Dockerfile. */
const engines = ['docker', 'podman', 'buildah'] as const
export type Engine = (typeof engines)[number]

export type EngineState =
  | { readonly engine: Engine; readonly outcome: 'ready'; readonly version: string }
  | { readonly engine: Engine; readonly outcome: 'missing' }
  /** It is installed, and its daemon or virtual machine does not answer. */
  | { readonly engine: Engine; readonly outcome: 'not-running'; readonly says: string }

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number | undefined
}

const probeTimeoutMs = 15_000

/** Questions that only an engine that can build answers: Docker's client alone knows its own version. */
const probes = {
  docker: ['version', '--format', '{{.Server.Version}}'],
  podman: ['info', '--format', '{{.Version.Version}}'],
  buildah: ['--version']
} as const satisfies Record<Engine, readonly string[]>

const guides = {
  docker: 'https://docs.docker.com/engine/install/',
  podman: 'https://podman.io/docs/installation',
  buildah: 'https://github.com/containers/buildah/blob/main/install.md'
} as const satisfies Record<Engine, string>

/** The first engine that is ready, in the order docker, podman, buildah; undefined when none is. */
export async function findEngine(options: ProbeOptions = {}): Promise<Engine | undefined> {
  for (const engine of engines) {
    if ((await probeEngine(engine, options)).outcome === 'ready') return engine
  }
  return undefined
}

/** Asks an engine whether it could build now. */
export async function probeEngine(engine: Engine, options: ProbeOptions = {}): Promise<EngineState> {
  try {
    const { stdout } = await runProgram(engine, {
      arguments: probes[engine],
      timeoutMs: options.timeoutMs ?? probeTimeoutMs,
      signal: options.signal
    })
    return { engine, outcome: 'ready', version: stdout.trim().replace(/^buildah version /, '') }
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    if (error.failure === 'missing') return { engine, outcome: 'missing' }
    return { engine, outcome: 'not-running', says: lastWords(error) }
  }
}

export function engineMissing(engine: Engine, cause?: unknown): UserError {
  return new UserError('machine', 'builder.missing', `${engine} is not installed`, {
    why: `the configuration names it as image.builder`,
    next: [`install ${engine}: ${guides[engine]}`, 'set image.builder to native, which needs no program'],
    cause
  })
}

export function engineNotRunning(engine: Engine, cause: ProgramError): UserError {
  const start = { docker: 'sudo systemctl start docker', podman: 'podman machine start', buildah: 'buildah info' }
  return new UserError('machine', 'builder.not-running', `${engine} is installed and does not answer`, {
    why: lastWords(cause),
    next: [start[engine], 'set image.builder to native, which needs no program'],
    cause
  })
}

/** The end of a program's output, as one line: programs say last why they stopped. */
export function lastWords({ tail, message }: ProgramError): string {
  const words = tail.map((line) => line.trim()).filter((line) => line !== '')
  return words.length === 0 ? message : words.slice(-3).join(' / ')
}
