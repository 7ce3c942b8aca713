import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../base/user-error.js'
import { makeDirectory } from './state.js'

interface Owner {
  readonly pid: number
  /** When the process began, as its kernel counts; a process id alone is given out again. */
  readonly began: string | undefined
  readonly host: string
  readonly command: string
  readonly startedAt: string
}

/**
 * Takes the lock of a state directory, so that two runs do not interleave. A lock whose process is
 * gone is taken over with a message; one from another host is never judged dead from here.
 *
 * @returns a function that gives the lock back, if it is still this run's
 */
export async function takeLock(
  directory: string,
  command: string,
  now: Date,
  say: (message: string) => void
): Promise<() => Promise<void>> {
  await makeDirectory(directory)
  const file = join(directory, 'lock')
  const mine: Owner = {
    pid: process.pid,
    began: await beginOf(process.pid),
    host: hostname(),
    command,
    startedAt: now.toISOString()
  }
  const text = JSON.stringify(mine)
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await createExclusively(file, text)) return () => removeIf(file, text)
    const holder = await readHolder(file)
    if (holder === undefined) continue
    if (holder.owner !== undefined && (await mayRun(holder.owner, mine))) throw held(file, holder.owner, now)
    say(
      holder.owner === undefined
        ? `took over a lock that cannot be read (${file})`
        : `took over the lock of "confrouter ${holder.owner.command}" (process ${holder.owner.pid}, started ${holder.owner.startedAt}), which is gone`
    )
    await removeIf(file, holder.text)
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

/** Undefined if the lock has just been given back; without `owner` if it is none of ours or was cut short. */
async function readHolder(file: string): Promise<{ text: string; owner: Owner | undefined } | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null
    const isOwner =
      typeof owner?.pid === 'number' && typeof owner.host === 'string' && typeof owner.startedAt === 'string'
    return { text, owner: isOwner ? (owner as Owner) : undefined }
  } catch {
    return { text, owner: undefined }
  }
}

/** Removes the lock if it holds exactly this text; one that another run took in between is put back. */
async function removeIf(file: string, text: string): Promise<void> {
  const aside = `${file}.aside.${process.pid}`
  try {
    await rename(file, aside)
    if ((await readFile(aside, 'utf8')) !== text) await link(aside, file).catch(() => undefined)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  } finally {
    await rm(aside, { force: true })
  }
}

async function mayRun(owner: Owner, mine: Owner): Promise<boolean> {
  if (owner.host !== mine.host) return true
  if (!isRunning(owner.pid)) return false
  const began = await beginOf(owner.pid)
  return owner.began === undefined || began === undefined || owner.began === began
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Boot id and start time in clock ticks (proc_pid_stat(5), field 22); undefined where there is no /proc. */
async function beginOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    // The second field is the program's name and may hold spaces and brackets.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    return ticks === undefined ? undefined : `${boot.trim()} ${ticks}`
  } catch {
    return undefined
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
