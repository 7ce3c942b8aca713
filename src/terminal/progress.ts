import type { Writable } from 'node:stream'
import type { Appearance } from './appearance.js'
import { printableLine } from './printable.js'

export interface ProgressTask {
  readonly id: string
  readonly title: string
}

/** Reports of running tasks, by id. Reports after `close` are ignored: an aborted step may still send some. */
export interface ProgressView {
  start(id: string): void
  /** What the task is doing or waiting for. */
  note(id: string, text: string): void
  /** @param text what came of it in a word, such as `created` or `unchanged` */
  done(id: string, text: string): void
  skip(id: string, why: string): void
  fail(id: string, problem: string): void
  close(): void
}

/** Time as a value, so that tests need not wait. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  readonly now: () => number
  /** Calls until the returned function is called; does not keep the process alive. */
  readonly every: (milliseconds: number, callback: () => void) => () => void
}

export interface ProgressContext {
  readonly stderr: Writable
  readonly appearance: Appearance
  readonly clock: Clock
}

/** What is known of one task. */
export interface TaskRecord {
  readonly title: string
  state: 'waiting' | 'running' | 'done' | 'skipped' | 'failed'
  /** The last note while it runs, the outcome afterwards. */
  text: string
  startedAt: number | undefined
  endedAt: number | undefined
}

/** Draws records; `changed` says which one and how. */
export interface Drawing {
  readonly changed: (task: TaskRecord, event: 'start' | 'note' | 'end') => void
  readonly close: () => void
}

const heartbeatMs = 30_000

/** Keeps the records and tells a drawing. The heading, if there is one, is written before anything else is loaded. */
export function openProgress(
  context: ProgressContext,
  title: string | undefined,
  tasks: readonly ProgressTask[],
  draw: (records: readonly TaskRecord[]) => Drawing,
  onClose: () => void
): ProgressView {
  if (title !== undefined) context.stderr.write(`${context.appearance.bold(printableLine(title))}\n`)
  const records = new Map(tasks.map((task) => [task.id, newRecord(task)]))
  const drawing = draw([...records.values()])
  let closed = false

  const change = (
    id: string,
    event: 'start' | 'note' | 'end',
    state: TaskRecord['state'] | undefined,
    text: string
  ) => {
    const record = records.get(id)
    if (record === undefined) throw new TypeError(`progress has no task ${id}`)
    if (closed) return
    if (event === 'start') record.startedAt = context.clock.now()
    if (event === 'end') record.endedAt = context.clock.now()
    if (state !== undefined) record.state = state
    record.text = printableLine(text)
    drawing.changed(record, event)
  }

  return {
    start: (id) => change(id, 'start', 'running', ''),
    note: (id, text) => change(id, 'note', undefined, text),
    done: (id, text) => change(id, 'end', 'done', text),
    skip: (id, why) => change(id, 'end', 'skipped', why),
    fail: (id, problem) => change(id, 'end', 'failed', problem),
    close: () => {
      if (closed) return
      closed = true
      drawing.close()
      onClose()
    }
  }
}

/** One line for each event, and a heartbeat, because pipelines kill jobs that say nothing. */
export function plainDrawing(context: ProgressContext, records: readonly TaskRecord[]): Drawing {
  const { stderr, appearance, clock } = context
  const write = (line: string) => stderr.write(`${line}\n`)
  /** What was written last of each task, without the seconds that are left: the heartbeat says those. */
  const written = new Map<TaskRecord, string>()
  const isRepeated = (task: TaskRecord) => {
    const text = task.text.replace(/\d+ s left/, '')
    const repeated = written.get(task) === text
    written.set(task, text)
    return repeated
  }
  const stopHeartbeat = clock.every(heartbeatMs, () => {
    const running = records.filter((task) => task.state === 'running')
    if (running.length > 0) write(`  still waiting: ${running.map((task) => waitLine(task, clock.now())).join('; ')}`)
  })
  return {
    changed: (task, event) => {
      if (event === 'end') write(outcomeLine(task, appearance))
      else if (event === 'start') write(`  ${task.title}: started`)
      else if (!isRepeated(task)) write(`  ${task.title}: ${task.text}`)
    },
    close: () => {
      stopHeartbeat()
      for (const task of records) if (task.endedAt === undefined) write(outcomeLine(task, appearance))
    }
  }
}

/** Sign, title, outcome and the time it took. */
export function outcomeLine(task: TaskRecord, { symbols, green, red, dim }: Appearance): string {
  const time = task.startedAt === undefined || task.endedAt === undefined ? '' : duration(task.endedAt - task.startedAt)
  const took = time === '' ? '' : ` ${dim(`(${time})`)}`
  switch (task.state) {
    case 'done':
      return `${green(symbols.done)} ${task.title}: ${task.text}${took}`
    case 'failed':
      return `${red(symbols.failed)} ${task.title}: ${task.text}${took}`
    case 'skipped':
      return `${dim(symbols.skipped)} ${task.title}: skipped, ${task.text}`
    case 'running':
      return `${dim(symbols.skipped)} ${task.title}: not finished`
    case 'waiting':
      return `${dim(symbols.skipped)} ${task.title}: not started`
  }
}

/** Milliseconds in words: `0.4 s`, `12 s`, `3 min 05 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 9_950) return `${(milliseconds / 1000).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 60) return `${seconds} s`
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`
}

function waitLine(task: TaskRecord, now: number): string {
  const reason = task.text === '' ? '' : ` (${task.text})`
  return `${task.title}, ${duration(now - (task.startedAt ?? now))}${reason}`
}

function newRecord({ title }: ProgressTask): TaskRecord {
  return { title: printableLine(title), state: 'waiting', text: '', startedAt: undefined, endedAt: undefined }
}
