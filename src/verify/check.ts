/** Names of all claims, in the order in which every verdict lists them. Scripts rely on names and order. */
export const claims = [
  'report.format',
  'report.signature',
  'vcek.chain',
  'ark.pinned',
  'vcek.hwid',
  'vcek.tcb',
  'tcb.minimum',
  'guest.debug',
  'guest.migration',
  'guest.vmpl',
  'uvm.signature',
  'uvm.issuer',
  'uvm.feed',
  'uvm.svn',
  'uvm.measurement',
  'hostData',
  'ccePolicy.digest',
  'reportData',
  'runtimeData.keys',
  'nonce',
  'maa.signature',
  'maa.issuer',
  'maa.time',
  'maa.type',
  'maa.compliance',
  'maa.hostData',
  'maa.debug',
  'maa.vmpl',
  'maa.measurement',
  'maa.reportData',
  'maa.runtime'
] as const

export type Claim = (typeof claims)[number]
type ClaimUnder<P extends string> = Extract<Claim, `${P}.${string}`>

/** The claims whose names begin with `prefix` and a dot, in their order. */
export function claimsUnder<P extends string>(prefix: P): readonly ClaimUnder<P>[] {
  return claims.filter((claim): claim is ClaimUnder<P> => claim.startsWith(`${prefix}.`))
}

/**
 * What was compared, and with what outcome. `expected` and `actual` are texts for people: printable ASCII, hex in lower
 * case. `warning`: the claim holds, and still somebody should read this.
 */
export type Outcome =
  | { readonly outcome: 'match'; readonly expected: string; readonly actual: string; readonly warning?: string }
  | { readonly outcome: 'mismatch'; readonly expected: string; readonly actual: string }
  | { readonly outcome: 'not-required'; readonly reason: string }

export type Check = { readonly claim: Claim } & Outcome

/** Outcomes of some claims. The type makes the compiler ask for each of them. */
export type Outcomes<C extends Claim = Claim> = { readonly [K in C]: Outcome }

/** A part of the evidence after an attempt to read it; `problem` is fit to be shown to a person. */
export type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string }

export function mismatch(expected: string, actual: string): Outcome {
  return compared(false, expected, actual)
}

export function notRequired(reason: string): Outcome {
  return { outcome: 'not-required', reason }
}

export function compared(holds: boolean, expected: string, actual: string): Outcome {
  return { outcome: holds ? 'match' : 'mismatch', expected, actual }
}

export function equal(expected: string, actual: string): Outcome {
  return compared(expected === actual, expected, actual)
}

/** A match with `actual` if nothing is wrong, else one mismatch that names everything that is. */
export function noProblems(expected: string, actual: string, problems: readonly string[]): Outcome {
  return problems.length === 0 ? compared(true, expected, actual) : mismatch(expected, problems.join('; '))
}

/** Several values of a trust policy, each of which would do. Somebody has to read them: at most ten are written out. */
export function anyOf(values: readonly string[]): string {
  const more = values.length - maximumShown
  return values.slice(0, maximumShown).join(' or ') + (more > 0 ? ` or one of ${more} more` : '')
}

const maximumShown = 10

/** The same kind of outcome for several claims: not required, or not to be decided because their evidence cannot be read. */
export function all<C extends Claim>(names: readonly C[], outcome: (claim: C) => Outcome): Outcomes<C> {
  return Object.fromEntries(names.map((name) => [name, outcome(name)])) as Outcomes<C>
}

/**
 * Runs a reader of outside data. Every exception becomes a problem, also one that is not ours: the
 * readers hand hostile bytes to libraries and to WebCrypto, whose exceptions have no common class,
 * and a part that cannot be read is a mismatch in any case.
 */
export async function attempt<T>(read: () => T | Promise<T>): Promise<Read<T>> {
  try {
    return { ok: true, value: await read() }
  } catch (error) {
    return failure(error)
  }
}

/** Like {@link attempt}, for a reader that does not wait. */
export function attemptSync<T>(read: () => T): Read<T> {
  try {
    return { ok: true, value: read() }
  } catch (error) {
    return failure(error)
  }
}

/** A value from the evidence, as JSON, in a form fit for a terminal and a log; see {@link printable}. */
export function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${value}`
  return value === undefined ? 'missing' : printable(JSON.stringify(value) ?? typeof value)
}

/**
 * Printable ASCII of at most 160 characters, so that text from the evidence cannot move a cursor,
 * turn the direction of writing or flood a log.
 */
export function printable(text: string): string {
  const escaped = text.replace(/[^\x20-\x7e]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
  return escaped.length > 160 ? `${escaped.slice(0, 160)}...` : escaped
}

function failure(error: unknown): Read<never> {
  return { ok: false, problem: error instanceof Error ? printable(error.message) : 'cannot be read' }
}
