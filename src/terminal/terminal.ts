/**
 * The only place that writes to the terminal.
 *
 * - stdout carries the result and nothing else, with --json exactly one JSON document, on success
 *   and on failure. Progress, plan, questions, warnings and errors go to stderr, in CI too.
 * - Something is on the screen within 100 ms.
 * - Colour and live lines only on a stream that is a terminal; the words say the same without.
 * - Questions only when somebody can answer; every question names the flag that answers it; nothing
 *   defaults to yes.
 * - No object is printed, only texts that were meant to be read; what comes from elsewhere is
 *   made printable first. Keys, tokens and contents have no way here.
 * - --quiet leaves results, questions and errors; --verbose adds, and never a body or a token.
 */
import type { Readable, Writable } from 'node:stream'
import { appearanceOf, type Appearance, type Environment } from './appearance.js'
import type { JsonObject } from '../base/json.js'
import { describeFailure, type Failure, failureDocument, renderFailure } from './failure.js'
import { type Annotation, annotationLine, pipelineOf, uploadSummaryLine } from './pipeline.js'
import { printable } from './printable.js'
import { markdownSummary } from './summary.js'
import { treeDrawing } from './progress-tree.js'
import { openProgress, plainDrawing, type Clock, type ProgressTask, type ProgressView } from './progress.js'
import { askText, confirm, type Confirmation, type TextQuestion } from './questions.js'

export interface OutputStream extends Writable {
  readonly isTTY?: boolean | undefined
  /** Width in characters, on a terminal. */
  readonly columns?: number | undefined
}

export interface InputStream extends Readable {
  readonly isTTY?: boolean | undefined
}

export interface TerminalOptions {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly stdin: InputStream
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  /** What a flag says of colour; undefined leaves it to environment and stream. */
  readonly color: boolean | undefined
  /** Whether questions may be asked (--no-input). */
  readonly input: boolean
  readonly environment: Environment
  readonly clock?: Clock | undefined
  /**
   * Puts the Markdown of a result or a failure where the pipeline shows it; gives a file that Azure Pipelines has to be
   * told of. Without it there is no summary.
   */
  readonly summarize?: ((markdown: string, warn: (text: string) => void) => string | undefined) | undefined
}

export interface FailureContext {
  readonly command: string
  /** Flags that chose what the command acted on, with a space before each; proposed commands get them too. */
  readonly flags?: string | undefined
}

export interface CommandResult {
  /** For people; may be styled with `styles.stdout`. */
  readonly human: string
  /** For programs; `schemaVersion` and `ok: true` are added where they are absent. */
  readonly json: object
}

export interface Terminal {
  /** Writes the result, once. */
  result(result: CommandResult): void
  /** Writes an error and returns the exit code. */
  failure(error: unknown, context: FailureContext): number
  /** @param title the heading; undefined where the tasks go on under the one before */
  progress(title: string | undefined, tasks: readonly ProgressTask[]): ProgressView
  warn(text: string): void
  /** A warning that `--quiet` leaves: of a check that was given up. */
  caution(text: string): void
  info(text: string): void
  debug(text: string): void
  confirm(confirmation: Confirmation): Promise<boolean>
  askText(question: TextQuestion): Promise<string>
  /** Characters in a line of stdout; a usual number where it is no terminal. */
  readonly width: number
  /** Looks of the two streams, for text that a command composes. */
  readonly styles: { readonly stdout: Appearance; readonly stderr: Appearance }
}

export function createTerminal(options: TerminalOptions): Terminal {
  const { stdout, stderr, stdin, json, quiet, verbose, environment } = options
  const styles = {
    stdout: appearanceOf(stdout, options.color, environment),
    stderr: appearanceOf(stderr, options.color, environment)
  }
  const clock = options.clock ?? realClock
  const pipeline = pipelineOf(environment)
  const automated = pipeline !== undefined
  const attended = stderr.isTTY === true && !automated
  // A pseudo-terminal that nobody gave a size has no columns, and nothing can be drawn on it.
  const live = attended && environment['TERM'] !== 'dumb' && stderr.columns !== 0
  const prompter = { stdin, stderr, interactive: attended && stdin.isTTY === true && options.input }
  let answered = false
  let open: { readonly view: ProgressView; readonly held: string[] } | undefined
  for (const stream of [stdout, stderr]) stream.on('error', ignoreClosedPipe)

  const closeProgress = () => open?.view.close()
  const say = (line: string) => {
    // A line in the middle of a live tree would tear it.
    if (open === undefined) stderr.write(`${line}\n`)
    else open.held.push(line)
  }

  const annotate = (annotation: Annotation) => {
    const line = annotationLine(pipeline, { ...annotation, text: printable(annotation.text) })
    if (line !== undefined) say(line)
  }
  const summarize = (document: JsonObject) => {
    const file = options.summarize?.(markdownSummary(document), (text) => say(`warning: ${printable(text)}`))
    if (file !== undefined) say(uploadSummaryLine(file))
  }

  const warn = (text: string) => {
    say(`${styles.stderr.yellow('warning:')} ${printable(text)}`)
    annotate({ level: 'warning', text })
  }

  return {
    styles,
    width: stdout.columns === undefined || stdout.columns === 0 ? usualWidth : stdout.columns,
    result: ({ human, json: document }) => {
      if (answered) throw new Error('a command has one result')
      answered = true
      closeProgress()
      if (json) stdout.write(`${JSON.stringify({ schemaVersion: 1, ok: true, ...document })}\n`)
      else if (human !== '') stdout.write(human.endsWith('\n') ? human : `${human}\n`)
      summarize(document as JsonObject)
    },
    failure: (error, { command, flags }) => {
      closeProgress()
      const failure = describeFailure(error, command, flags)
      stderr.write(`${renderFailure(failure, styles.stderr, verbose)}\n`)
      annotate({ level: 'error', code: failure.code, text: annotationText(failure) })
      summarize(failureDocument(failure, command) as JsonObject)
      // A second document would make the first one unreadable.
      if (json && !answered) stdout.write(`${JSON.stringify(failureDocument(failure, command))}\n`)
      answered = true
      return failure.exitCode
    },
    progress: (title, tasks) => {
      if (quiet) return silentView
      closeProgress()
      const context = { stderr, appearance: styles.stderr, clock }
      // With --verbose there are lines between the events, which a live tree cannot show.
      if (!live || verbose) {
        return openProgress(context, title, tasks, (records) => plainDrawing(context, records), ignore)
      }
      const held: string[] = []
      const view = openProgress(
        context,
        title,
        tasks,
        (records) => treeDrawing(context, records),
        () => {
          open = undefined
          for (const line of held) stderr.write(`${line}\n`)
        }
      )
      open = { view, held }
      return view
    },
    warn: (text) => {
      if (!quiet) warn(text)
    },
    caution: warn,
    info: (text) => {
      if (!quiet) say(printable(text))
    },
    debug: (text) => {
      if (verbose && !quiet) say(styles.stderr.dim(printable(text)))
    },
    confirm: async (confirmation) => {
      closeProgress()
      return confirm(prompter, confirmation)
    },
    askText: async (question) => {
      closeProgress()
      return askText(prompter, question)
    }
  }
}

/** Of a file or pipe that the result goes to. */
const usualWidth = 120

const ignore = () => undefined

const silentView: ProgressView = {
  start: ignore,
  note: ignore,
  done: ignore,
  skip: ignore,
  fail: ignore,
  close: ignore
}

const realClock: Clock = {
  now: () => performance.now(),
  every: (milliseconds, callback) => {
    const timer = setInterval(callback, milliseconds)
    timer.unref()
    return () => clearInterval(timer)
  }
}

function annotationText({ problem, why, next }: Failure): string {
  const [first] = next
  return [
    problem,
    ...(why === undefined ? [] : [`why: ${why}`]),
    ...(first === undefined ? [] : [`next: ${first}`])
  ].join('\n')
}

/** `confrouter … | head` closes the pipe when it has read enough; that is no failure of ours. */
function ignoreClosedPipe(error: Error): void {
  if (!('code' in error) || error.code !== 'EPIPE') throw error
}
