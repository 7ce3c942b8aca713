import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '../base/user-error.js'
import { commandsFor } from './command-line.js'
import { identifyProcess, isRunning, type ProcessIdentity } from './process-identity.js'
import { systemCode } from './system-error.js'

export interface DirectoryLock {
  release(): Promise<void>
}

interface Holder extends ProcessIdentity {
  /** Tells two emulators of one process apart. */
  readonly token: string
}

const tokensOfThisProcess = new Set<string>()

/**
 * Lets one emulator at a time have a directory. A lock whose process has ended, or whose number now
 * belongs to another process, is taken over; a lock that cannot be read is as stale as that.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const file = lockFile(directory)
  const self: Holder = { ...identifySelf(), token: randomUUID() }
  const own = `${file}.${self.token}`
  tokensOfThisProcess.add(self.token)
  await writeFile(own, JSON.stringify(self), { mode: 0o600 })
  try {
    // A link appears with its content or not at all, and never replaces another.
    while (!(await tryLink(own, file))) await removeStale(file, directory)
  } catch (error) {
    tokensOfThisProcess.delete(self.token)
    throw error
  } finally {
    await rm(own, { force: true })
  }
  return {
    release: async () => {
      tokensOfThisProcess.delete(self.token)
      if ((await readHolder(file))?.token === self.token) await rm(file, { force: true })
    }
  }
}

/** Whose the directory is: the living process that holds its lock. Undefined when nobody does. */
export async function findHolder(directory: string): Promise<ProcessIdentity | undefined> {
  const holder = await readHolder(lockFile(directory))
  return holder && isHeld(holder) ? { pid: holder.pid, started: holder.started } : undefined
}

function lockFile(directory: string): string {
  return join(directory, 'lock')
}

function identifySelf(): ProcessIdentity {
  const self = identifyProcess(process.pid)
  if (self) return self
  throw new UserError('machine', 'emulator.no-process-table', 'this process cannot be found in the process table', {
    why: 'without it a lock that a killed emulator left could not be told from one in use',
    next: ['make /proc or the command ps available']
  })
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  }
}

/** Throws if the holder lives. Moves the file away first, so that of two takers only one removes it. */
async function removeStale(file: string, directory: string): Promise<void> {
  const holder = await readHolder(file)
  if (holder && isHeld(holder)) throw alreadyRunning(directory, holder.pid)
  const aside = `${file}.stale.${randomUUID()}`
  try {
    await rename(file, aside)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  const moved = await readHolder(aside)
  // Between the look and the move another emulator may have taken the lock: it gets it back.
  if (moved && isHeld(moved)) await tryLink(aside, file)
  await rm(aside, { force: true })
}

function isHeld(holder: Holder): boolean {
  return holder.pid === process.pid && isRunning(holder) ? tokensOfThisProcess.has(holder.token) : isRunning(holder)
}

async function readHolder(file: string): Promise<Holder | undefined> {
  try {
    const { pid, started, token } = JSON.parse(await readFile(file, 'utf8')) as Partial<Holder>
    if (typeof pid !== 'number' || typeof started !== 'string' || typeof token !== 'string') return undefined
    return { pid, started, token }
  } catch {
    return undefined
  }
}

function alreadyRunning(directory: string, pid: number): UserError {
  return new UserError(
    'machine',
    'emulator.already-running',
    `an emulator with process id ${pid} already uses ${directory}`,
    { next: commandsFor(directory, 'status', 'stop') }
  )
}
