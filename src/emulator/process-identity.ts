import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** A process, and when it began: a number alone may by now belong to another process. */
export interface ProcessIdentity {
  readonly pid: number
  /** Opaque; equal for as long as it is the same process. */
  readonly started: string
}

/** Undefined if no process has this number. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const started = process.platform === 'linux' ? startedLinux(pid) : startedElsewhere(pid)
  return started === undefined ? undefined : { pid, started }
}

export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.started === identity.started
}

/** Boot id and field 22 of /proc/PID/stat, the start in clock ticks since boot (proc(5)). */
function startedLinux(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in parentheses and may itself hold any character.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state] = fields
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return state === 'Z' || state === 'X' ? undefined : `${boot}:${fields[19] ?? ''}`
  } catch {
    return undefined
  }
}

function startedElsewhere(pid: number): string | undefined {
  try {
    const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' }).trim()
    return text === '' ? undefined : text
  } catch {
    // `ps` says by its exit code that there is no such process.
    return undefined
  }
}
