import { AsyncLocalStorage } from 'node:async_hooks'
import { UserError } from '../base/user-error.js'
import type { Action, Outputs, Results, Run, Step, StepId } from './run.js'

export interface StepReport {
  readonly id: StepId
  readonly action: Action
  readonly seconds: number
}

/** Where progress is shown. */
export interface Progress {
  start(id: StepId): void
  note(id: StepId, text: string): void
  done(id: StepId, text: string): void
  skip(id: StepId, text: string): void
  fail(id: StepId, problem: string): void
}

export interface GraphOptions {
  readonly progress: Progress
  /** Outputs of steps that ran before, for example in an earlier phase. */
  readonly before?: RunResults | undefined
  /** Steps that are only looked at: one of these that is not up to date stops the run. */
  readonly observeOnly?: ReadonlySet<StepId>
  /** Steps of which what exists is taken as it is, up to date or not; an absent one stops the run. */
  readonly asTheyAre?: ReadonlySet<StepId>
}

/** What a run of steps gave, in the order in which the steps ended. */
export class RunResults implements Results {
  readonly #outputs = new Map<StepId, unknown>()
  readonly reports: StepReport[] = []

  constructor(before?: RunResults) {
    if (before === undefined) return
    for (const [id, output] of before.#outputs) this.#outputs.set(id, output)
    this.reports.push(...before.reports)
  }

  get<Id extends StepId>(id: Id): Outputs[Id] {
    if (!this.#outputs.has(id)) throw new Error(`step "${id}" has no output yet; is it missing in "needs"?`)
    return this.#outputs.get(id) as Outputs[Id]
  }

  has(id: StepId): boolean {
    return this.#outputs.has(id)
  }

  add(id: StepId, output: unknown, report: StepReport): void {
    this.#outputs.set(id, output)
    this.reports.push(report)
  }
}

/**
 * Runs steps as soon as what they need is done, side by side where the graph allows it. After a
 * failure or an interruption no further step starts; those that run are waited for, so that what
 * they were writing is whole, and then the first failure is thrown.
 */
export async function runSteps(run: Run, steps: readonly Step[], options: GraphOptions): Promise<RunResults> {
  const results = new RunResults(options.before)
  const waiting = new Set(steps.filter((step) => !results.has(step.id)))
  const running = new Map<StepId, Promise<void>>()
  let failure: { readonly error: unknown } | undefined

  const startReady = () => {
    if (failure !== undefined || run.signal.aborted) return
    for (const step of waiting) {
      if (!step.needs.every((id) => results.has(id))) continue
      waiting.delete(step)
      const work = runStep(run, step, results, options)
        .catch((error: unknown) => {
          failure ??= { error }
        })
        .finally(() => running.delete(step.id))
      running.set(step.id, work)
    }
  }

  startReady()
  while (running.size > 0) {
    await Promise.race(running.values())
    startReady()
  }
  if (run.signal.aborted) throw interrupted(run)
  if (failure !== undefined) throw failure.error
  if (waiting.size > 0) throw new Error(`steps wait for each other: ${[...waiting].map(({ id }) => id).join(', ')}`)
  return results
}

const currentNote = new AsyncLocalStorage<(text: string) => void>()

/** Shows a wait on the step in whose course it is called; outside of a step nothing happens. */
export function noteToStep(text: string): void {
  currentNote.getStore()?.(text)
}

async function runStep(run: Run, step: Step, results: RunResults, options: GraphOptions): Promise<void> {
  const { progress } = options
  const started = performance.now()
  let said = ''
  const note = (text: string) => {
    // A wait says the same thing again and again; once is enough in a log.
    if (text !== said) progress.note(step.id, text)
    said = text
  }
  progress.start(step.id)
  try {
    const finding = await currentNote.run(note, () => step.observe(run, results, note))
    if (finding.action !== 'none' && options.asTheyAre?.has(step.id) === true && finding.existing !== undefined) {
      results.add(step.id, finding.existing, { id: step.id, action: 'none', seconds: secondsSince(started) })
      progress.skip(step.id, `differs: ${finding.reason}`)
      return
    }
    const onlyLook = options.observeOnly?.has(step.id) === true || options.asTheyAre?.has(step.id) === true
    if (finding.action !== 'none' && onlyLook) throw notReady(step, finding.reason)
    if (finding.action !== 'none') note(finding.reason)
    const output = finding.action === 'none' ? finding.output : await currentNote.run(note, () => finding.apply(note))
    results.add(step.id, output, { id: step.id, action: finding.action, seconds: secondsSince(started) })
    if (finding.action !== 'none') progress.done(step.id, past[finding.action])
    else if (finding.did !== undefined) progress.done(step.id, finding.did)
    else progress.skip(step.id, finding.says ?? 'unchanged')
  } catch (error) {
    progress.fail(step.id, error instanceof Error ? error.message : String(error))
    throw error
  }
}

const past = { create: 'created', update: 'updated', replace: 'replaced' } as const

function secondsSince(started: number): number {
  return Math.round(performance.now() - started) / 1000
}

function notReady(step: Step, reason: string): UserError {
  return new UserError('machine', 'step.not-ready', `${step.title} is not up to date: ${reason}`, {
    why: 'this command does one step and leaves the ones before it alone',
    next: [`confrouter ${verbOf[step.id]}`, 'confrouter up']
  })
}

const verbOf: Readonly<Record<StepId, string>> = {
  image: 'build',
  'resource-group': 'provision',
  attestation: 'provision',
  vault: 'provision',
  identity: 'provision',
  roles: 'provision',
  'signing-key': 'provision',
  policy: 'policy',
  key: 'key',
  deploy: 'deploy',
  smoke: 'smoke'
}

/** Says what Azure goes on doing, as far as it is known, and how to look at it. */
export function interrupted(run?: Run): UserError {
  const { resourceGroup, containerGroup } = run?.config ?? {}
  const left = run?.state.get().deployment
  const goesOn = left !== undefined
  // The group may be called otherwise than in the configuration: after an upgrade it has host data in its name.
  const deployment = left?.name ?? `confrouter-${containerGroup?.name}`
  return new UserError('interrupted', 'interrupted', 'interrupted', {
    why: goesOn
      ? `Azure goes on with deployment "${deployment}"; the state is saved after each step`
      : 'operations that Azure has begun go on; the state is saved after each step',
    next: [
      'run the same command again to continue',
      ...(goesOn ? [`az deployment group show -g ${resourceGroup} -n ${deployment}`] : []),
      'confrouter status'
    ]
  })
}
