import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { identifyProcess, isRunning, type ProcessIdentity } from '../../process-identity.js'
import type { HostCommand } from './command.js'
import type { ContainerLog } from './container-log.js'

export interface ProcessOptions {
  readonly command: HostCommand
  /** The whole environment: nothing of the host's is added. */
  readonly env: Readonly<Record<string, string>>
  /** Undefined drops the output: the policy does not allow access to it. */
  readonly log: ContainerLog | undefined
  /** Where the process is recorded while it runs, so that an emulator that was killed finds it again. */
  readonly recordFile: string
}

export interface ContainerProcess {
  readonly pid: number
  /** 0–255; 128 and the signal's number for a process that a signal ended, 137 for SIGKILL. */
  readonly exited: Promise<number>
  /** SIGTERM, and SIGKILL for the whole process group when the time is over. Resolves after the exit. */
  stop(graceMs: number): Promise<void>
}

/** How long what a container wrote last may take to arrive after its end. */
const drainMs = 1000

/** Starts a container's process in a process group of its own. Rejects when the system cannot execute it. */
export async function startProcess({ command, env, log, recordFile }: ProcessOptions): Promise<ContainerProcess> {
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env,
    detached: true,
    stdio: ['ignore', log ? 'pipe' : 'ignore', log ? 'pipe' : 'ignore']
  })
  const exit = new Promise<number>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? (constants.signals[signal] ?? 0) : 0)))
  })
  const { pid } = child
  // At once and synchronously: a kill of the emulator in between would leave a process that nobody knows.
  if (pid !== undefined) record(pid, recordFile)
  await spawned(child)
  if (pid === undefined) throw new Error('the process has no number')
  const output = log ? Promise.all([copy(child.stdout, log), copy(child.stderr, log)]) : undefined
  const exited = exit.then(async (code) => {
    // The end of a container's first process ends the container: nothing of its group may live on.
    killGroup(pid, 'SIGKILL')
    // A process that left the group may hold the pipes for as long as it likes.
    await Promise.race([output, sleep(drainMs, undefined, { ref: false })])
    child.stdout?.destroy()
    child.stderr?.destroy()
    rmSync(recordFile, { force: true })
    return code
  })
  return {
    pid,
    exited,
    stop: async (graceMs) => {
      killGroup(pid, 'SIGTERM')
      const timer = setTimeout(() => killGroup(pid, 'SIGKILL'), graceMs)
      await exited
      clearTimeout(timer)
    }
  }
}

/** Ends the process that an earlier emulator recorded, if it is still that one. Returns whether it was. */
export async function endRecordedProcess(recordFile: string): Promise<boolean> {
  const identity = readRecord(recordFile)
  const alive = identity !== undefined && isRunning(identity)
  if (alive) {
    killGroup(identity.pid, 'SIGKILL')
    await ended(identity)
  }
  rmSync(recordFile, { force: true })
  return alive
}

/** A process in the middle of a system call may take a moment; one that never ends is not waited for. */
async function ended(identity: ProcessIdentity): Promise<void> {
  for (let tries = 0; tries < 1000 && isRunning(identity); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function readRecord(recordFile: string): ProcessIdentity | undefined {
  try {
    const record = JSON.parse(readFileSync(recordFile, 'utf8')) as Partial<ProcessIdentity>
    const { pid, started } = record
    return Number.isInteger(pid) && pid !== undefined && pid > 1 && typeof started === 'string'
      ? { pid, started }
      : undefined
  } catch {
    // No record, or one that a kill cut short: there is nothing that could safely be ended.
    return undefined
  }
}

function record(pid: number, recordFile: string): void {
  try {
    const identity = identifyProcess(pid)
    if (identity) writeFileSync(recordFile, JSON.stringify(identity), { mode: 0o600 })
  } catch (error) {
    // One that could not be found again must not run.
    killGroup(pid, 'SIGKILL')
    throw error
  }
}

function spawned(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
}

async function copy(output: Readable | null, log: ContainerLog): Promise<void> {
  if (!output) return
  try {
    await log.copy(output)
  } catch {
    // A log that cannot be written, on a full disk for example, must not end the container; the rest is dropped.
    output.resume()
  }
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: it has ended by itself.
  }
}
