import type { JsonObject } from '../base/json.js'
import { UserError, type Fault } from '../base/user-error.js'
import type { Appearance } from './appearance.js'
import { printable, printableLine } from './printable.js'

/** An error, reduced to texts that may be shown. */
export interface Failure {
  readonly exitCode: number
  readonly code: string
  readonly fault: Fault
  readonly problem: string
  /** Each place and what is wrong there, when there are several problems. */
  readonly problems: readonly ProblemLine[]
  readonly why: string | undefined
  readonly next: readonly string[]
  readonly docs: string
  readonly cause: string | undefined
  readonly requestId: string | undefined
  /** Members for the JSON document beside `error`. */
  readonly report: Readonly<Record<string, unknown>>
  /** Only of an error that nobody expected. */
  readonly stack: string | undefined
}

interface ProblemLine {
  readonly place: string
  readonly message: string
  /** All members that are plain values, for `--json`. */
  readonly data: JsonObject
}

const docsPage = 'https://github.com/confrouter/confrouter/blob/main/docs/errors.md'
const reportAddress = 'https://github.com/confrouter/confrouter/issues'

/**
 * Takes from an error what people and programs need. Only named texts are read: an error object as
 * a whole may carry requests, and with them tokens.
 */
export function describeFailure(error: unknown, command: string, flags = ''): Failure {
  if (error instanceof UserError) return describeUserError(error, flags)
  if (isAbort(error)) return describeUserError(new UserError('interrupted', 'interrupted', 'interrupted'), flags)
  return {
    exitCode: 1,
    code: 'bug.unexpected',
    fault: 'bug',
    problem: `confrouter ${command} failed unexpectedly: ${nameAndMessage(error)}`,
    problems: [],
    why: 'this is our bug, not your mistake.',
    next: [`confrouter ${command} --verbose   (shows where)`, `report it: ${reportAddress}`],
    docs: `${docsPage}#bug.unexpected`,
    cause: causeOf(error),
    requestId: undefined,
    report: {},
    stack: isErrorLike(error) && typeof error.stack === 'string' ? printable(error.stack) : undefined
  }
}

/** The layout of an error for people, without a trailing line break. */
export function renderFailure(failure: Failure, appearance: Appearance, verbose: boolean): string {
  const { bold, dim, red } = appearance
  if (isCalm(failure)) return failure.problem
  const lines = [`${red(bold('error:'))} ${failure.problem}  ${dim(`[${failure.code}]`)}`]
  for (const { place, message } of failure.problems) lines.push(`  ${bold(place)}: ${message}`)
  // Where there is a list of problems, `why` is the same list in one text.
  if (failure.why !== undefined && failure.problems.length === 0) lines.push(labelled('why', failure.why))
  for (const next of failure.next) lines.push(labelled('next', next))
  lines.push(dim(labelled('docs', failure.docs)))
  if (failure.cause !== undefined) lines.push(dim(labelled('cause', failure.cause)))
  if (failure.requestId !== undefined) lines.push(dim(labelled('request', failure.requestId)))
  if (verbose && failure.stack !== undefined) lines.push(dim(labelled('stack', failure.stack)))
  return lines.join('\n')
}

/** The `--json` document of a failure. */
export function failureDocument(failure: Failure, command: string): Readonly<Record<string, unknown>> {
  const { code, fault, problem, problems, why, next, docs, cause, requestId } = failure
  return {
    schemaVersion: 1,
    ok: false,
    command,
    ...failure.report,
    error: {
      code,
      fault,
      message: problem,
      ...(why === undefined ? {} : { why }),
      next,
      docs,
      ...(problems.length === 0 ? {} : { problems: problems.map(({ data }) => data) }),
      ...(cause === undefined ? {} : { cause }),
      ...(requestId === undefined ? {} : { requestId })
    }
  }
}

/**
 * A command that is proposed acts on what the failed one acted on: without its flags, pasting the
 * remedy of a try on loopback would change the real cloud.
 */
function withFlags(next: string, flags: string): string {
  const command = aboutDeployment.exec(next)
  if (command === null || flags === '' || next.includes(flags.trim()) || / --(?:local|cloud)\b/.test(next)) return next
  return `${command[1]}${flags}${command[2]}${command[3]}`
}

/** A command of ours that takes the flags of a deployment, perhaps behind variables of its own. */
const aboutDeployment = new RegExp(
  '^((?:[A-Z_]+=\\S+ )*confrouter (?:doctor|build|provision|policy|key|deploy|smoke|up|plan|status|logs|rollback|down|' +
    'secrets (?:set|list|rotate))\\b)([^(]*)(.*)$'
)

function describeUserError(error: UserError, flags: string): Failure {
  return {
    exitCode: error.exitCode,
    code: error.code,
    fault: error.fault,
    problem: printable(error.problem),
    problems: problemLines(error),
    why: error.why === undefined ? undefined : printable(error.why),
    next: error.next.map((text) => printable(withFlags(text, flags))),
    docs: `${docsPage}#${error.code}`,
    cause: causeOf(error),
    requestId: error.requestId === undefined ? undefined : printableLine(error.requestId, 200),
    report: error.report,
    stack: undefined
  }
}

/** A person who declined or pressed Ctrl+C knows why: one line, no layout of an error. */
function isCalm({ fault, why, next, cause }: Failure): boolean {
  const chosen = fault === 'user' || fault === 'interrupted'
  return chosen && why === undefined && next.length === 0 && cause === undefined
}

function isAbort(error: unknown): boolean {
  return isErrorLike(error) && (error.name === 'AbortError' || error.code === 'ABORT_ERR')
}

/** By its members and not by its class: a `DOMException` and an error of another realm count too. */
function isErrorLike(
  value: unknown
): value is { name: string; message: string; code?: unknown; cause?: unknown; stack?: unknown } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    typeof value.name === 'string' &&
    'message' in value &&
    typeof value.message === 'string'
  )
}

/** The list that an error may carry when it stands for several problems, such as those of a file. */
function problemLines(error: UserError): readonly ProblemLine[] {
  const problems: unknown = 'problems' in error ? error.problems : []
  if (!Array.isArray(problems)) return []
  return problems.flatMap((problem: unknown) => {
    if (typeof problem !== 'object' || problem === null || !('place' in problem) || !('message' in problem)) return []
    const { place, message } = problem
    if (typeof place !== 'string' || typeof message !== 'string') return []
    const data: Record<string, string | number> = {}
    for (const [key, value] of Object.entries(problem)) {
      if (typeof value === 'string') data[key] = printable(value)
      else if (typeof value === 'number') data[key] = value
    }
    return [{ place: printable(place), message: printable(message), data }]
  })
}

/** The chain of causes in one line, the nearest first. */
function causeOf(error: unknown): string | undefined {
  const causes: string[] = []
  let current = error
  while (isErrorLike(current) && current.cause !== undefined && causes.length < 4) {
    current = current.cause
    causes.push(nameAndMessage(current))
  }
  return causes.length === 0 ? undefined : causes.join(' ← ')
}

function nameAndMessage(error: unknown): string {
  if (!isErrorLike(error)) return typeof error === 'string' ? printableLine(error) : `a thrown ${typeof error}`
  // An AggregateError of failed connections has a code and no message.
  const code = typeof error.code === 'string' ? error.code : ''
  return printableLine(`${error.name}: ${error.message || code || 'no message'}`)
}

function labelled(label: string, text: string): string {
  const [first = '', ...more] = text.split('\n')
  return [`  ${`${label}:`.padEnd(5)} ${first}`, ...more.map((line) => `        ${line}`)].join('\n')
}
