import { UserError } from '../base/user-error.js'

/**
 * What came of looking at one thing. `warn` is right for now and worth knowing, `unknown` could not be
 * checked, which is never a pass, and `skipped` is not needed or not possible here.
 */
export interface Finding {
  readonly outcome: 'pass' | 'warn' | 'fail' | 'unknown' | 'skipped'
  readonly detail: string
  /** Commands or edits, best first; never empty for `fail`. */
  readonly next?: readonly string[]
  /** Who acts on a failure. */
  readonly fault?: 'config' | 'machine' | 'cloud'
}

export interface DoctorCheck {
  readonly id: string
  readonly title: string
  /** Checks without which this one says nothing; unless they pass, it is unknown. */
  readonly needs?: readonly string[]
  look(signal: AbortSignal): Promise<Finding>
}

export interface DoctorReport extends Finding {
  readonly id: string
  readonly title: string
  readonly milliseconds: number
}

export interface DoctorOptions {
  /** For each check, in milliseconds, counted from when it begins. */
  readonly limitMs: number
  readonly signal: AbortSignal
  readonly onDone: (report: DoctorReport) => void
}

/** Makes all checks side by side, each as soon as what it needs has passed. Reports in the order of the checks. */
export async function examine(
  checks: readonly DoctorCheck[],
  options: DoctorOptions
): Promise<readonly DoctorReport[]> {
  const reports = new Map<string, Promise<DoctorReport>>()
  for (const check of checks) {
    const needs = (check.needs ?? []).map((id) => {
      const needed = reports.get(id)
      if (needed === undefined) throw new Error(`check "${check.id}" needs "${id}", which does not come before it`)
      return needed
    })
    reports.set(check.id, lookAt(check, needs, options))
  }
  const all = await Promise.all(reports.values())
  options.signal.throwIfAborted()
  return all
}

async function lookAt(
  check: DoctorCheck,
  needs: readonly Promise<DoctorReport>[],
  { limitMs, signal, onDone }: DoctorOptions
): Promise<DoctorReport> {
  const missing = (await Promise.all(needs)).find(({ outcome }) => outcome !== 'pass' && outcome !== 'warn')
  const started = performance.now()
  const finding: Finding =
    missing === undefined
      ? await withLimit(check, limitMs, signal)
      : missing.outcome === 'skipped'
        ? { outcome: 'skipped', detail: missing.detail }
        : { outcome: 'unknown', detail: `not without: ${missing.title}` }
  const { id, title } = check
  const report = { id, title, ...finding, milliseconds: Math.round(performance.now() - started) }
  onDone(report)
  return report
}

/** A check that does not answer in time is over, whether it heeds the signal or not. */
async function withLimit(check: DoctorCheck, limitMs: number, signal: AbortSignal): Promise<Finding> {
  const limit = new AbortController()
  const both = AbortSignal.any([signal, limit.signal])
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Finding>((resolve) => {
    timer = setTimeout(() => {
      resolve({
        outcome: 'unknown',
        detail: `no answer within ${limitMs / 1000} s`,
        next: ['confrouter doctor --timeout 60']
      })
      limit.abort()
    }, limitMs)
  })
  try {
    return await Promise.race([check.look(both).catch(findingOf), late])
  } finally {
    clearTimeout(timer)
  }
}

/** What could not be reached was not checked; what answered with a refusal was. */
function findingOf(error: unknown): Finding {
  if (!(error instanceof UserError)) {
    return { outcome: 'unknown', detail: error instanceof Error ? error.message : String(error) }
  }
  const { code, problem, why, next, fault } = error
  const detail = `${problem}${why === undefined ? '' : `: ${why}`} [${code}]`
  const couldNot = ['azure.unreachable', 'azure.throttled', 'azure.unavailable', 'azure.error', 'auth.failed']
  if (couldNot.includes(code) || (fault !== 'config' && fault !== 'machine' && fault !== 'cloud')) {
    return { outcome: 'unknown', detail, next }
  }
  return { outcome: 'fail', detail, next: next.length > 0 ? next : ['confrouter doctor --verbose'], fault }
}

/** The error that stands for what was found; undefined if nothing is in the way. */
export function verdictOf(reports: readonly DoctorReport[], report: object): UserError | undefined {
  const failed = reports.filter(({ outcome }) => outcome === 'fail')
  const unknown = reports.filter(({ outcome }) => outcome === 'unknown')
  const next = [...new Set([...failed, ...unknown].flatMap((each) => each.next ?? []))]
  const names = (list: readonly DoctorReport[]) => list.map(({ title }) => title).join(', ')
  if (failed.length > 0) {
    const faults = ['config', 'machine', 'cloud'] as const
    const fault = faults.find((each) => failed.some((one) => (one.fault ?? 'machine') === each)) ?? 'machine'
    return new UserError(fault, 'doctor.failed', `not ready: ${names(failed)}`, { next, report: { ...report } })
  }
  if (unknown.length === 0) return undefined
  return new UserError('cloud', 'doctor.not-checked', `could not be checked: ${names(unknown)}`, {
    why: 'nothing is known to be wrong with it, and nothing to be right',
    next: next.length > 0 ? next : ['confrouter doctor'],
    report: { ...report }
  })
}
