import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { build } from 'esbuild'
import { routerRecipe } from '../../../src/release/bundle-router.js'
import { type Answer, type Cleanup, ccePolicy, requiredEnvironment, until } from './harness.js'

/** The router as the image has it: one file. The same options as scripts/build.js. */
export async function bundleRouter(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: join(import.meta.dirname, '..', '..', '..'),
    ...routerRecipe,
    entryPoints: [...routerRecipe.entryPoints],
    logLevel: 'silent',
    write: false
  })
  return outputFiles[0]?.text ?? ''
}

export interface RouterProcess {
  readonly child: ChildProcess
  /** Everything that it has written so far, to both streams. */
  readonly output: () => string
  readonly lines: () => Answer[]
  readonly exit: Promise<{ code: number | null; signal: string | null }>
  /** The origin, once it listens. */
  readonly url: () => Promise<string>
  /** Of the listener with TLS, once it listens. */
  readonly tlsUrl: () => Promise<string>
  /** Process ids of its children, oldest first. */
  readonly workers: () => Promise<number[]>
  /** Where it runs; files for it may be put there. */
  readonly folder: string
}

export interface ProcessOptions {
  /** As the leader of a process group of its own, so that a signal to the group reaches nothing else. */
  readonly detached?: boolean
  /** An empty folder; made and removed if there is none. */
  readonly folder?: string
}

export async function emptyFolder(cleanup: Cleanup): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'confrouter-'))
  cleanup.add(() => rm(folder, { recursive: true }))
  return folder
}

/** Starts the bundle in an empty folder with exactly this environment and a security context. */
export async function startProcess(
  cleanup: Cleanup,
  bundle: string,
  environment: Record<string, string>,
  options: ProcessOptions = {}
): Promise<RouterProcess> {
  const folder = options.folder ?? (await emptyFolder(cleanup))
  await writeFile(join(folder, 'router.cjs'), bundle)
  await writeFile(join(folder, 'security-policy-base64'), Buffer.from(ccePolicy).toString('base64'))
  const child = spawn(process.execPath, ['router.cjs'], {
    cwd: folder,
    detached: options.detached === true,
    env: { ...requiredEnvironment, HOST: '127.0.0.1', PORT: '0', UVM_SECURITY_CONTEXT_DIR: folder, ...environment }
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const exit = once(child, 'close').then(([code, signal]) => ({ code: code as number, signal: signal as string }))
  cleanup.add(async () => {
    child.kill('SIGKILL')
    await exit
  })
  const lines = () =>
    text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  const portOf = async (name: 'port' | 'tlsPort'): Promise<number> => {
    await until(() => text.includes('"listening"'), 10_000)
    return lines().find(({ msg }) => msg === 'listening')[name]
  }
  return {
    child,
    output: () => text,
    lines,
    exit,
    url: async () => `http://127.0.0.1:${await portOf('port')}`,
    tlsUrl: async () => `https://127.0.0.1:${await portOf('tlsPort')}`,
    workers: async () => {
      const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
      return children.trim().split(/\s+/).filter(Boolean).map(Number)
    },
    folder
  }
}
