import { spawn, spawnSync } from 'node:child_process'

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly ended: Promise<Ended>
  /** What it has written so far. */
  readonly stdout: () => string
  readonly stop: () => void
}

/** Whether this machine has a program, by a call that must succeed. */
export const hasProgram = (name: string, ...asked: readonly string[]): boolean =>
  spawnSync(name, asked, { timeout: 10_000 }).status === 0

/** Runs a program with no environment but the path; `input` goes to its stdin. */
export function runProgram(name: string, parameters: readonly string[], input = ''): Running {
  const child = spawn(name, parameters, { env: { PATH: process.env.PATH }, stdio: 'pipe' })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('latin1')))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('latin1')))
  // It may end before it has read everything.
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  return {
    ended: new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => resolve({ code, stdout, stderr }))
    }),
    stdout: () => stdout,
    stop: () => void child.kill()
  }
}
