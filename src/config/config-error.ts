import { UserError } from '../base/user-error.js'

/** Where a value comes from. `place` is for people: `confrouter.yaml:3:7`, a variable, a flag. */
export interface Origin {
  readonly source: 'flag' | 'environment' | 'file' | 'default'
  readonly place: string
  /** Line and column of a file, both from 1. */
  readonly line?: number | undefined
  readonly column?: number | undefined
}

/** One thing that is wrong, as data. Values that may be secrets are never in it. */
export interface ConfigProblem extends Origin {
  /** Dotted path such as `containerGroup.port`; empty when the whole file is meant. */
  readonly path: string
  /** Begins in lower case or with the path, has no full stop, and stands alone. */
  readonly message: string
  /** The wrong value as JSON, cut to a readable length; absent when there is none or it may be a secret. */
  readonly value?: string | undefined
  readonly expected?: string | undefined
  /** What was probably meant. */
  readonly suggestion?: string | undefined
}

/** `config.invalid`, with every problem at once. */
export class ConfigError extends UserError {
  readonly problems: readonly ConfigProblem[]

  /** @param hasFile false where there is no file: then what is said to stand in it could only stand there */
  constructor(fileName: string, problems: readonly ConfigProblem[], hasFile = true) {
    const sorted = [...problems].sort(byPlace)
    const count = sorted.length === 1 ? 'a problem' : `${sorted.length} problems`
    const inFile = sorted.some((problem) => problem.source === 'file')
    const isMissing = !hasFile && inFile
    const problem = isMissing
      ? `there is no ${fileName}, and the configuration without it has ${count}`
      : `the configuration ${inFile ? `in ${fileName} ` : ''}has ${count}`
    super('config', 'config.invalid', problem, {
      why: sorted.map(({ place, message }) => `${place}: ${message}`).join('\n'),
      next: isMissing ? firstSteps : []
    })
    this.problems = sorted
  }
}

/** Advice for whoever has no file yet, or forgot `--local`. */
const firstSteps = [
  'confrouter init   (writes a commented confrouter.yaml)',
  'confrouter up --local   (runs here, with no Azure account and no configuration; every other command takes --local too)'
]

/** What is missing has no line and comes after what is wrong. */
const lastLine = Number.MAX_SAFE_INTEGER

const sourceOrder = { file: 0, environment: 1, flag: 2, default: 3 } as const

function byPlace(a: ConfigProblem, b: ConfigProblem): number {
  return (
    sourceOrder[a.source] - sourceOrder[b.source] ||
    (a.line ?? lastLine) - (b.line ?? lastLine) ||
    (a.column ?? 0) - (b.column ?? 0) ||
    (a.place < b.place ? -1 : a.place > b.place ? 1 : 0)
  )
}
