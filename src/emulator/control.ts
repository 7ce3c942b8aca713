import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { UserError } from '../base/user-error.js'
import { environmentFile } from './environment.js'
import { type DirectoryLock, findHolder, lockDirectory } from './lock.js'
import { isRunning, type ProcessIdentity } from './process-identity.js'
import { endRecordedProcess } from './services/aci/container-process.js'
import { systemCode } from './system-error.js'

/** An emulator ends its containers first, which may take their whole grace of 35 s. */
const defaultPatienceMs = 45_000
const pollMs = 20

/**
 * Ends the emulator of a directory and every container process that it, or one that was killed
 * before it, has left. The state stays. Nothing happens where there is no emulator. Throws a
 * `UserError` `emulator.not-stopped` for one that does not end in time.
 */
export async function stopEmulator(directory: string, patienceMs = defaultPatienceMs): Promise<void> {
  await (await takeOver(directory, patienceMs))?.release()
}

/** Like `stopEmulator`, and deletes the directory. Nothing is deleted before the emulator has ended. */
export async function resetEmulator(directory: string, patienceMs = defaultPatienceMs): Promise<void> {
  const lock = await takeOver(directory, patienceMs)
  if (lock === undefined) return
  try {
    const names = (await readdir(directory)).filter((name) => name !== 'lock' && !name.startsWith('lock.'))
    await Promise.all(names.map((name) => rm(join(directory, name), { recursive: true, force: true })))
  } finally {
    await lock.release()
  }
  await removeEmpty(directory)
}

/** Undefined where there is no directory. */
async function takeOver(directory: string, patienceMs: number): Promise<DirectoryLock | undefined> {
  if (!(await exists(directory))) return undefined
  const lock = await lockAfterEnd(directory, Date.now() + patienceMs)
  try {
    await endContainers(directory)
    await rm(environmentFile(directory), { force: true })
    return lock
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** The lock names the process, whether it answers or not; another one may take it while this one waits. */
async function lockAfterEnd(directory: string, deadline: number): Promise<DirectoryLock> {
  for (;;) {
    const holder = await findHolder(directory)
    if (holder !== undefined) await endProcess(holder, deadline)
    try {
      return await lockDirectory(directory)
    } catch (error) {
      const taken = error instanceof UserError && error.code === 'emulator.already-running'
      if (!taken || Date.now() > deadline) throw error
    }
  }
}

async function endProcess(holder: ProcessIdentity, deadline: number): Promise<void> {
  // An emulator inside this very process is its owner's to close.
  if (holder.pid === process.pid) throw notStopped(holder.pid)
  try {
    process.kill(holder.pid, 'SIGTERM')
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw notStopped(holder.pid, error)
  }
  while (isRunning(holder)) {
    if (Date.now() > deadline) throw notStopped(holder.pid)
    await sleep(pollMs)
  }
}

/** What an emulator that was killed could not end: each container's process has its record beside its files. */
async function endContainers(directory: string): Promise<void> {
  const groups = join(directory, 'groups')
  for (const group of await namesIn(groups)) {
    const containers = await namesIn(join(groups, group))
    await Promise.all(containers.map((name) => endRecordedProcess(join(groups, group, name, 'process.json'))))
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

async function exists(directory: string): Promise<boolean> {
  try {
    await readdir(directory)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

/** An emulator that starts at this moment has its files in it again, and keeps them. */
async function removeEmpty(directory: string): Promise<void> {
  await rmdir(directory).catch((error: unknown) => {
    const code = systemCode(error)
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error
  })
}

function notStopped(pid: number, cause?: unknown): UserError {
  return new UserError('machine', 'emulator.not-stopped', `the emulator (process ${pid}) does not end`, {
    why: systemCode(cause) === 'EPERM' ? 'it belongs to another user' : undefined,
    next: [`kill -9 ${pid}`],
    cause
  })
}
