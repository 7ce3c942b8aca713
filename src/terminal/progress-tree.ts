import process from 'node:process'
import type { Writable } from 'node:stream'
import { duration, outcomeLine, type Drawing, type ProgressContext, type TaskRecord } from './progress.js'

const showCursor = '\u001b[?25h'

/**
 * A live tree with one line for each task. listr2 only draws: our steps run by themselves, in an
 * order that the plan gives, so the states of its tasks are set from the records, and its own
 * runner, choice of renderer and signal handler stay unused.
 *
 * When the view closes, the tree is erased and the outcomes are written as plain lines, so what
 * stays on the screen does not depend on whether the tree had been loaded by then.
 */
export function treeDrawing(context: ProgressContext, records: readonly TaskRecord[]): Drawing {
  const { stderr, appearance } = context
  let tree: Tree | undefined
  let closed = false
  openTree(context, records, () => closed).then(
    (opened) => {
      tree = opened
    },
    // Without the tree nothing is lost but the movement: the outcomes are written at the end.
    () => undefined
  )
  return {
    changed: (task) => tree?.refresh(task),
    close: () => {
      closed = true
      tree?.close()
      for (const task of records) stderr.write(`${outcomeLine(task, appearance)}\n`)
    }
  }
}

interface Tree {
  readonly refresh: (task: TaskRecord) => void
  readonly close: () => void
}

/** Undefined when the view has been closed while the tree was loaded: then nothing is drawn. */
async function openTree(
  context: ProgressContext,
  records: readonly TaskRecord[],
  isClosed: () => boolean
): Promise<Tree | undefined> {
  const { stderr, appearance, clock } = context
  const { DefaultRenderer, Listr, ListrDefaultRendererLogLevels, ListrLogger, ListrTaskState, ProcessOutput, Spinner } =
    await import('listr2')
  if (!isTerminal(stderr)) throw new TypeError('a tree needs a terminal')
  const { symbols, dim, green, red, yellow } = appearance
  class OurSpinner extends Spinner {
    protected override readonly spinner = [...symbols.spinner]
  }
  const list = new Listr<object, 'default', 'default'>(
    records.map((record) => ({ title: record.title, task: () => undefined })),
    { exitOnError: false, registerSignalListeners: false }
  )
  const level = ListrDefaultRendererLogLevels
  const renderer = new DefaultRenderer(
    list.tasks,
    {
      // Both of its streams are stderr: stdout belongs to the result.
      logger: new ListrLogger({
        processOutput: new ProcessOutput(stderr, stderr, { leaveEmptyLine: false })
      }),
      spinner: new OurSpinner(),
      clearOutput: true,
      collapseErrors: false,
      icon: {
        [level.PENDING]: '',
        [level.COMPLETED]: symbols.done,
        [level.FAILED]: symbols.failed,
        [level.SKIPPED_WITH_COLLAPSE]: symbols.skipped,
        [level.WAITING]: ' ',
        [level.OUTPUT]: ' '
      },
      color: {
        [level.PENDING]: (text = '') => yellow(text),
        [level.COMPLETED]: (text = '') => green(text),
        [level.FAILED]: (text = '') => red(text),
        [level.SKIPPED_WITH_COLLAPSE]: (text = '') => dim(text),
        [level.WAITING]: (text = '') => text,
        [level.OUTPUT]: (text = '') => text
      }
    },
    list.events
  )
  await Promise.all(list.tasks.map((task) => task.check({})))
  if (isClosed()) return undefined
  await renderer.render()
  if (isClosed()) {
    renderer.end()
    return undefined
  }

  const states = {
    waiting: ListrTaskState.WAITING,
    running: ListrTaskState.STARTED,
    done: ListrTaskState.COMPLETED,
    skipped: ListrTaskState.SKIPPED,
    failed: ListrTaskState.FAILED
  } as const
  const refresh = (record: TaskRecord) => {
    const task = list.tasks[records.indexOf(record)]
    if (task === undefined) return
    // The state first: it brings the sign, and a title without its sign would jump.
    if (task.state !== states[record.state]) task.state$ = states[record.state]
    task.title$ = titleOf(record, clock.now())
  }
  const stopTicking = clock.every(1000, () => records.filter(isRunning).forEach(refresh))
  // A process that exits at once, after a second Ctrl+C, must not leave the cursor hidden.
  const restore = () => stderr.write(showCursor)
  process.once('exit', restore)
  records.forEach(refresh)

  return {
    refresh,
    close: () => {
      stopTicking()
      renderer.end()
      process.removeListener('exit', restore)
    }
  }
}

function titleOf(record: TaskRecord, now: number): string {
  switch (record.state) {
    case 'waiting':
      return record.title
    case 'running': {
      const note = record.text === '' ? '' : `: ${record.text}`
      return `${record.title}${note} (${duration(now - (record.startedAt ?? now))})`
    }
    case 'skipped':
      return `${record.title}: skipped, ${record.text}`
    case 'done':
    case 'failed':
      return `${record.title}: ${record.text}`
  }
}

function isRunning(record: TaskRecord): boolean {
  return record.state === 'running'
}

function isTerminal(stream: Writable): stream is NodeJS.WriteStream {
  return 'isTTY' in stream && stream.isTTY === true
}
