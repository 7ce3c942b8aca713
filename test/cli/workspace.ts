import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'

const cli = join(import.meta.dirname, '..', '..', 'bin', 'confrouter.js')

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * A folder of its own with free ports and the real command as a real process. `end` stops the
 * emulator and everything that it runs.
 */
/** A JSON document whose shape the assertions check. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- every member is asserted on, not relied on
export type Document = Record<string, any>

export interface Workspace {
  readonly directory: string
  readonly environment: Readonly<Record<string, string>>
  run(...args: readonly string[]): Promise<Outcome>
  start(...args: readonly string[]): ChildProcess
  /** Runs with `--json` and returns the one document of stdout. */
  json(...args: readonly string[]): Promise<{ readonly code: number | null; readonly document: Document }>
  write(file: string, text: string): Promise<void>
  read(file: string): Promise<string>
  end(): Promise<void>
}

export async function openWorkspace(more: Readonly<Record<string, string>> = {}): Promise<Workspace> {
  const directory = await mkdtemp(join(tmpdir(), 'confrouter-test-'))
  const [group, sidecar, emulator] = await freePorts(3)
  const environment: Record<string, string> = {
    PATH: process.env['PATH'] ?? '',
    HOME: directory,
    CONFROUTER_CONTAINER_GROUP_PORT: String(group),
    CONFROUTER_SIDECAR_PORT: String(sidecar),
    CONFROUTER_EMULATOR_PORT: String(emulator),
    ...more
  }
  const start = (...args: readonly string[]) =>
    spawn(process.execPath, [cli, ...args], { cwd: directory, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  const run = (...args: readonly string[]) => outcome(start(...args))
  return {
    directory,
    environment,
    start,
    run,
    async json(...args) {
      const { code, stdout, stderr } = await run(...args, '--json')
      try {
        return { code, document: JSON.parse(stdout) as Document }
      } catch {
        throw new Error(`${args.join(' ')}: stdout is not one JSON document: ${stdout}\n${stderr}`)
      }
    },
    write: (file, text) => writeFile(join(directory, file), text),
    read: (file) => readFile(join(directory, file), 'utf8'),
    async end() {
      await run('emulator', 'stop')
      await rm(directory, { recursive: true, force: true })
    }
  }
}

/** Whether a document has the published shape, with what is wrong if it has not. */
export async function shapeOf(name: string, document: Document): Promise<readonly unknown[]> {
  const file = join(import.meta.dirname, '../../schema/output', `${name}.schema.json`)
  const validate = new Ajv2020({ strict: true, allErrors: true }).compile(
    JSON.parse(await readFile(file, 'utf8')) as object
  )
  return [validate(document), validate.errors]
}

export function outcome(child: ChildProcess): Promise<Outcome> {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer()
          server.listen(0, '127.0.0.1', () => resolve(server))
        })
    )
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
