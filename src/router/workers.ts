import cluster, { type Worker } from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { LocalGuards } from './guards.js'
import { watchHandOver } from './handed-over.js'
import { type MetricsReport, sumReports } from './process-metrics.js'
import { logUnexpected } from './request-log.js'
import type { Ports } from './serving.js'
import type { Answer, Ask, Begin, FromWorker, ToWorker } from './worker-messages.js'

export interface WorkersParts {
  readonly count: number
  /** What a worker is told at its start; made anew for each, with the state of that moment. */
  readonly begin: () => Begin
  readonly guards: LocalGuards
  readonly renderMetrics: () => Promise<string>
  readonly log: Logger
}

/** A worker that lived so long died of something else than its start. */
const soundMs = 60_000
const shortestPauseMs = 100
const longestPauseMs = 5_000

/** A worker that does not say what it has counted is left out, with what it said last. */
const reportMs = 1000

/** What stopping takes beside the calls that are let finish. */
const stoppingMs = 1500

interface Member {
  readonly worker: Worker
  readonly startedAt: number
  readonly exited: Promise<void>
  readonly breakHandedOver: () => void
  /** What it counted, as of the last time that it was asked. */
  report: MetricsReport
}

/** The processes that serve, from the side of the one that does not. There are always as many as there should be. */
export class Workers {
  readonly #members = new Map<number, Member>()
  readonly #reports = new Map<number, (report: MetricsReport) => void>()
  /** What was counted by workers that are gone: a sum that went down would look like a new start. */
  #lost: Promise<MetricsReport> = Promise.resolve([])
  #losses = 0
  #quickLosses = 0
  #lastReport = 0
  #isStopping = false
  #isClean = true
  #onFirst: { readonly resolve: (ports: Ports) => void; readonly reject: (error: Error) => void } | undefined

  constructor(private readonly parts: WorkersParts) {
    // No arguments and the same file: the image has one.
    cluster.setupPrimary({ args: [], serialization: 'json' })
  }

  get running(): number {
    return this.#members.size
  }

  /** Workers that were lost and replaced. */
  get losses(): number {
    return this.#losses
  }

  /**
   * Resolves when the first worker listens. It goes ahead alone, so that a port that cannot be had is
   * found once. Rejects if it ends before that.
   */
  async start(): Promise<Ports> {
    const first = new Promise<Ports>((resolve, reject) => {
      this.#onFirst = { resolve, reject }
    })
    this.#fork()
    const ports = await first
    this.#onFirst = undefined
    for (let more = 1; more < this.parts.count && !this.#isStopping; more++) this.#fork()
    return ports
  }

  broadcast(message: ToWorker): void {
    for (const { worker } of this.#members.values()) send(worker, message)
  }

  /** What all workers have counted, also those that are gone. */
  async reports(): Promise<MetricsReport[]> {
    await Promise.all([...this.#members.values()].map((member) => this.#askForReport(member)))
    const lost = await this.#lost
    // Not those that were asked: one of them may be among the lost by now.
    return [lost, ...[...this.#members.values()].map(({ report }) => report)]
  }

  /** Lets the workers finish what runs, for `graceMs`, and ends them. True if all calls ended by themselves. */
  async stop(graceMs: number): Promise<boolean> {
    this.#isStopping = true
    this.broadcast({ kind: 'stop' })
    // Closes the listeners here and now: a connection taken from them later would find no worker that wants it.
    for (const { worker } of this.#members.values()) worker.disconnect()
    const exited = Promise.all([...this.#members.values()].map((member) => member.exited))
    const late = new AbortController()
    await Promise.race([exited, sleep(graceMs + stoppingMs, undefined, { signal: late.signal })])
    late.abort()
    for (const { worker } of this.#members.values()) {
      this.#isClean = false
      worker.process.kill('SIGKILL')
    }
    await exited
    return this.#isClean
  }

  #fork(): void {
    const worker = cluster.fork()
    const exited = new Promise<void>((resolve) => {
      const exit = (code: number | null, signal: string | null) => {
        this.#onExit(worker, code, signal)
        resolve()
      }
      worker.once('exit', exit)
      worker.on('error', () => {
        // A process that the system did not start; of one that runs the exit is still to come.
        if (worker.process.pid === undefined) exit(null, null)
      })
    })
    const breakHandedOver = watchHandOver(worker)
    this.#members.set(worker.id, { worker, startedAt: performance.now(), exited, breakHandedOver, report: [] })
    worker.on('message', (message: FromWorker) => this.#receive(worker, message))
    send(worker, this.parts.begin())
  }

  #onExit({ id }: Worker, code: number | null, signal: string | null): void {
    const { log, count } = this.parts
    const member = this.#members.get(id)
    this.#members.delete(id)
    if (this.#isStopping) {
      this.#isClean &&= code === 0
      return
    }
    log.error({ worker: id, code, signal }, 'worker lost')
    member?.breakHandedOver()
    if (this.#onFirst !== undefined) {
      this.#onFirst.reject(new FirstWorkerError())
      return
    }
    this.#losses++
    this.#keepCounts(member?.report ?? [])
    const isQuick = member === undefined || performance.now() - member.startedAt < soundMs
    this.#quickLosses = isQuick ? this.#quickLosses + 1 : 1
    const pauseMs = Math.min(longestPauseMs, shortestPauseMs * 2 ** Math.min(this.#quickLosses - 1, 20))
    setTimeout(() => {
      if (!this.#isStopping && this.#members.size < count) this.#fork()
    }, pauseMs)
  }

  #keepCounts(report: MetricsReport): void {
    const counts = report.filter(({ type }) => type !== 'gauge')
    this.#lost = this.#lost.then((lost) =>
      sumReports([lost, counts]).catch((error: unknown) => {
        logUnexpected(this.parts.log, error)
        return lost
      })
    )
  }

  #receive(worker: Worker, message: FromWorker): void {
    switch (message.kind) {
      case 'listening':
        if (this.#isStopping) return
        this.parts.log.info({ worker: worker.id }, 'worker started')
        this.#onFirst?.resolve(message.ports)
        return
      case 'asks':
        send(worker, { kind: 'answers', batch: message.batch, answers: message.asks.map((ask) => this.#answer(ask)) })
        return
      case 'report':
        this.#reports.get(message.id)?.(message.report)
        return
      case 'get-metrics':
        // Without an answer the worker says that it has none.
        this.parts.renderMetrics().then(
          (text) => send(worker, { kind: 'metrics', id: message.id, text }),
          (error: unknown) => logUnexpected(this.parts.log, error)
        )
        return
      default:
        message satisfies never
    }
  }

  #answer(ask: Ask): Answer {
    const { guards } = this.parts
    if ('rate' in ask) return guards[ask.rate].take(ask.caller)
    return guards.replays.check(Buffer.from(ask.encapsulatedKey, 'base64'), ask.timeMs)
  }

  #askForReport(member: Member): Promise<void> {
    const id = this.#lastReport++
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(late)
        this.#reports.delete(id)
        resolve()
      }
      const late = setTimeout(done, reportMs)
      this.#reports.set(id, (report) => {
        member.report = report
        done()
      })
      send(member.worker, { kind: 'get-report', id })
    })
  }
}

/** What was in the way has been logged by the worker. */
class FirstWorkerError extends Error {
  override readonly name = 'FirstWorkerError'

  constructor() {
    super('the first worker ended before it listened')
  }
}

/** To a worker that is gone there is nothing to say; its exit is told elsewhere. */
function send(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, () => undefined)
}
