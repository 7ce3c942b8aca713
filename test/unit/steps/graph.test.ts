import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { interrupted, type Progress, runSteps } from '../../../src/steps/graph.js'
import type { Finding, Run, Step, StepId } from '../../../src/steps/run.js'

/** Steps are driven with plain values: the graph knows only ids, needs and findings. */
function step(id: StepId, needs: StepId[], observe: () => Promise<Finding<unknown>>): Step {
  return { id, title: id, needs, observe } as unknown as Step
}

const done = (output: unknown = 'x'): Finding<unknown> => ({ action: 'none', output })
const create = (apply: () => Promise<unknown>): Finding<unknown> => ({ action: 'create', reason: 'absent', apply })

function recorder() {
  const events: string[] = []
  const progress: Progress = {
    start: (id) => events.push(`start ${id}`),
    note: () => undefined,
    done: (id, text) => events.push(`${text} ${id}`),
    skip: (id, text) => events.push(`${text} ${id}`),
    fail: (id) => events.push(`failed ${id}`)
  }
  return { events, progress }
}

const runWith = (signal = new AbortController().signal) => ({ signal, state: { get: () => ({}) } }) as Run
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('runSteps', () => {
  it('starts what does not depend on each other side by side', async () => {
    const { events, progress } = recorder()
    await runSteps(
      runWith(),
      [
        step('image', [], async () => (await pause(20), done())),
        step('vault', [], async () => (await pause(5), done())),
        step('policy', ['image', 'vault'], async () => done())
      ],
      { progress }
    )
    expect(events).toEqual([
      'start image',
      'start vault',
      'unchanged vault',
      'unchanged image',
      'start policy',
      'unchanged policy'
    ])
  })

  it('starts nothing after a failure, waits for what runs, and throws the first failure', async () => {
    const { events, progress } = recorder()
    const steps = [
      step('image', [], async () => {
        await pause(5)
        throw new Error('no builder')
      }),
      step('vault', [], async () => create(async () => (await pause(30), 'v'))),
      step('policy', ['vault'], async () => done())
    ]
    await expect(runSteps(runWith(), steps, { progress })).rejects.toThrow('no builder')
    expect(events).toEqual(['start image', 'start vault', 'failed image', 'created vault'])
  })

  it('starts no further step after an interruption and ends with 130', async () => {
    const controller = new AbortController()
    const { events, progress } = recorder()
    const steps = [
      step('image', [], async () => (controller.abort(), done())),
      step('policy', ['image'], async () => done())
    ]
    await expect(runSteps(runWith(controller.signal), steps, { progress })).rejects.toMatchObject({ exitCode: 130 })
    expect(events).not.toContain('start policy')
  })

  it('refuses to build on a step that is only looked at and not up to date, naming the verb that mends it', async () => {
    const { progress } = recorder()
    const steps = [
      step('vault', [], async () => create(async () => 'v')),
      step('policy', ['vault'], async () => done())
    ]
    await expect(
      runSteps(runWith(), steps, { progress, observeOnly: new Set<StepId>(['vault']) })
    ).rejects.toMatchObject({
      code: 'step.not-ready',
      next: ['confrouter provision', 'confrouter up']
    })
  })

  it('takes what exists as it is where the caller asks for that', async () => {
    const { progress } = recorder()
    const finding = {
      action: 'update',
      reason: 'differs',
      existing: 'old',
      apply: async () => 'new'
    } as Finding<unknown>
    const results = await runSteps(runWith(), [step('key', [], async () => finding)], {
      progress,
      asTheyAre: new Set<StepId>(['key'])
    })
    expect(results.get('key')).toBe('old')
  })

  it('reports action and time of each step', async () => {
    const { progress } = recorder()
    const results = await runSteps(runWith(), [step('vault', [], async () => create(async () => 'v'))], { progress })
    expect(results.reports).toEqual([{ id: 'vault', action: 'create', seconds: expect.any(Number) }])
  })

  it('calls needs that can never be met a bug', async () => {
    const { progress } = recorder()
    const error = await runSteps(runWith(), [step('policy', ['image'], async () => done())], { progress }).catch(
      (e: unknown) => e
    )
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(UserError)
  })
})

describe('interrupted', () => {
  const next = (deployment: object) => {
    const config = { resourceGroup: 'r', containerGroup: { name: 'g' } }
    return interrupted({ config, state: { get: () => ({ deployment }) } } as unknown as Run).next
  }

  it('names the deployment that Azure goes on with, which is not called like the configuration after an upgrade', () => {
    expect(next({ inputs: 'i', token: 't', name: 'confrouter-g-0123abcd' })).toContain(
      'az deployment group show -g r -n confrouter-g-0123abcd'
    )
    // As older states have it.
    expect(next({ inputs: 'i', token: 't' })).toContain('az deployment group show -g r -n confrouter-g')
  })
})
