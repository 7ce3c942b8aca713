import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../base/user-error.js'

interface Owner {
  readonly pid: number
  readonly host: string
  readonly command: string
  readonly startedAt: string
}

/**
 * Takes the lock of a state directory, so that two runs do not interleave. A lock whose process is
 * gone is taken over with a message; one from another host is never judged dead from here.
 *
 * @returns a function that gives the lock back
 */
export async function takeLock(
  directory: string,
  command: string,
  now: Date,
  say: (message: string) => void
): Promise<() => Promise<void>> {
  await mkdir(directory, { recursive: true })
  const file = join(directory, 'lock')
  const mine: Owner = { pid: process.pid, host: hostname(), command, startedAt: now.toISOString() }
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await createExclusively(file, JSON.stringify(mine))) return () => rm(file, { force: true })
    const holder = await readOwner(file)
    if (holder === undefined) continue
    const { owner } = holder
    if (owner.host !== mine.host || isRunning(owner.pid)) throw held(file, owner, now)
    say(
      `took over the lock of "confrouter ${owner.command}" (process ${owner.pid}, started ${owner.startedAt}), which is gone`
    )
    await removeStale(file, holder.text)
  }
  throw new UserError('machine', 'state.locked', `${file} changes hands faster than it can be taken`, {
    next: ['run the same command again']
  })
}

/** A link appears with its content, so that no reader ever sees a lock without an owner. */
async function createExclusively(file: string, text: string): Promise<boolean> {
  const draft = `${file}.${process.pid}`
  await writeFile(draft, text)
  try {
    await link(draft, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

/** Undefined if the lock has just been given back. */
async function readOwner(file: string): Promise<{ text: string; owner: Owner } | undefined> {
  try {
    const text = await readFile(file, 'utf8')
    return { text, owner: JSON.parse(text) as Owner }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Moves the dead lock aside; if another run took it over in between, its lock is put back. */
async function removeStale(file: string, text: string): Promise<void> {
  const aside = `${file}.stale.${process.pid}`
  try {
    await rename(file, aside)
    if ((await readFile(aside, 'utf8')) !== text) await link(aside, file).catch(() => undefined)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  } finally {
    await rm(aside, { force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function held(file: string, owner: Owner, now: Date): UserError {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(owner.startedAt)) / 1000))
  return new UserError(
    'machine',
    'state.locked',
    `"confrouter ${owner.command}" is running on this state directory (process ${owner.pid} on ${owner.host}, for ${seconds} s)`,
    { next: ['wait for it to end', `rm ${file}   (only if that process is gone)`] }
  )
}
