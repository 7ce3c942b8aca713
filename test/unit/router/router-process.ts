import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { build } from 'esbuild'
import { type Answer, type Cleanup, ccePolicy, requiredEnvironment, until } from './harness.js'

/** The router as the image has it: one file. The same options as scripts/build.js. */
export async function bundleRouter(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: join(import.meta.dirname, '..', '..', '..'),
    entryPoints: ['src/router/main.ts'],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    legalComments: 'eof',
    charset: 'utf8',
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
}

/** Starts the bundle in an empty folder with exactly this environment and a security context. */
export async function startProcess(
  cleanup: Cleanup,
  bundle: string,
  environment: Record<string, string>
): Promise<RouterProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'confrouter-'))
  cleanup.add(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'router.cjs'), bundle)
  await writeFile(join(folder, 'security-policy-base64'), Buffer.from(ccePolicy).toString('base64'))
  const child = spawn(process.execPath, ['router.cjs'], {
    cwd: folder,
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
  return {
    child,
    output: () => text,
    lines,
    exit,
    url: async () => {
      await until(() => text.includes('"listening"'), 10_000)
      return `http://127.0.0.1:${lines().find(({ msg }) => msg === 'listening').port}`
    }
  }
}
