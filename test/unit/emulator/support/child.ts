import { type ChildProcess, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { type EmulatorEnvironment, isAlive, readEnvironment } from '../../../../src/emulator/index.js'
import { eventually, quickTiming } from './emulator.js'

/** The emulator as one file that plain Node runs. */
export async function buildEmulatorProgram(directory: string): Promise<string> {
  const entry = join(directory, 'entry.ts')
  const source = join(import.meta.dirname, '../../../../src/emulator/index.ts')
  await writeFile(
    entry,
    `import { startEmulator } from ${JSON.stringify(source)}
     startEmulator(JSON.parse(process.argv[2] ?? '')).catch((error) => { console.error(error.code, error.message); process.exit(4) })`
  )
  const outfile = join(directory, 'emulator.cjs')
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    logLevel: 'error'
  })
  return outfile
}

export interface ChildEmulator {
  readonly process: ChildProcess
  readonly environment: EmulatorEnvironment
  /** As a crash does: no handler runs. */
  kill(): Promise<void>
}

export async function startChild(program: string, directory: string): Promise<ChildEmulator> {
  const sidecarBundle = join(directory, 'sidecar.cjs')
  await writeFile(sidecarBundle, 'setInterval(() => {}, 1000)\n')
  const options = { directory, port: 0, sidecarBundle, timing: quickTiming }
  const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'inherit'] })
  const environment = await eventually(async () => {
    const found = await readEnvironment(directory)
    return found !== undefined && found.pid === child.pid && (await isAlive(found)) ? found : false
  })
  return {
    process: child,
    environment,
    kill: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGKILL')
      })
  }
}
