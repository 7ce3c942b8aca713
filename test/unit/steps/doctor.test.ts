import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import type { Config } from '../../../src/config/index.js'
import type { AzState } from '../../../src/exec/index.js'
import { type DoctorCheck, type DoctorReport, examine, type Finding, verdictOf } from '../../../src/steps/doctor.js'
import { type Machine, machineChecks, toolChecks } from '../../../src/steps/doctor-machine.js'

const pass: Finding = { outcome: 'pass', detail: 'good' }

function check(id: string, look: DoctorCheck['look'], needs?: readonly string[]): DoctorCheck {
  return { id, title: `title of ${id}`, look, ...(needs === undefined ? {} : { needs }) }
}

function run(checks: readonly DoctorCheck[], limitMs = 5000): Promise<readonly DoctorReport[]> {
  return examine(checks, { limitMs, signal: new AbortController().signal, onDone: () => undefined })
}

const outcomes = (reports: readonly DoctorReport[]) => reports.map(({ id, outcome }) => `${id} ${outcome}`)

describe('examine', () => {
  it('makes the checks side by side and reports them in their order', async () => {
    const started = performance.now()
    const slow = async () => {
      await new Promise((resolve) => setTimeout(resolve, 100))
      return pass
    }
    expect(outcomes(await run([check('a', slow), check('b', slow), check('c', async () => pass)]))).toEqual([
      'a pass',
      'b pass',
      'c pass'
    ])
    expect(performance.now() - started).toBeLessThan(190)
  })

  it('ends a check that gives no answer in time, and does not call that a pass', async () => {
    let aborted = false
    const never = (signal: AbortSignal) =>
      new Promise<Finding>(() => signal.addEventListener('abort', () => (aborted = true)))
    const [report] = await run([check('a', never)], 30)
    expect(report).toMatchObject({ outcome: 'unknown', detail: 'no answer within 0.03 s' })
    expect(aborted).toBe(true)
  })

  it('does not make what stands on something that failed or is unknown, and does not call that a pass', async () => {
    let asked = false
    const fails = async () => ({ outcome: 'fail', detail: 'bad', next: ['x'], fault: 'machine' }) as const
    const second = async () => {
      asked = true
      return pass
    }
    const reports = await run([check('a', fails), check('b', second, ['a']), check('c', second, ['b'])])
    expect(outcomes(reports)).toEqual(['a fail', 'b unknown', 'c unknown'])
    expect(asked).toBe(false)
  })

  it('skips what stands on something that was skipped, for the same reason', async () => {
    const skipped = async () => ({ outcome: 'skipped', detail: 'not running' }) as const
    const [, second] = await run([check('a', skipped), check('b', async () => pass, ['a'])])
    expect(second).toMatchObject({ outcome: 'skipped', detail: 'not running' })
  })

  it.each([
    [new UserError('cloud', 'azure.unreachable', 'x', { next: ['net'] }), 'unknown'],
    [new UserError('cloud', 'azure.error', 'x'), 'unknown'],
    [new Error('getaddrinfo EAI_AGAIN'), 'unknown'],
    [new UserError('cloud', 'azure.forbidden', 'x', { next: ['grant'] }), 'fail'],
    [new UserError('machine', 'auth.not-logged-in', 'x', { next: ['az login'] }), 'fail'],
    [new UserError('config', 'azure.subscription', 'x'), 'fail']
  ])('takes %s for %s', async (error, outcome) => {
    const [report] = await run([check('a', () => Promise.reject(error))])
    expect(report?.outcome).toBe(outcome)
    if (outcome === 'fail') expect(report?.next?.length).toBeGreaterThan(0)
  })

  it('ends with the interruption of the whole', async () => {
    const controller = new AbortController()
    const never = (signal: AbortSignal) =>
      new Promise<Finding>((_, reject) => signal.addEventListener('abort', () => reject(new Error('ended'))))
    const ended = examine([check('a', never)], {
      limitMs: 5000,
      signal: controller.signal,
      onDone: () => undefined
    })
    controller.abort()
    await expect(ended).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('verdictOf', () => {
  const report = (outcome: Finding['outcome'], fault?: Finding['fault']): DoctorReport => ({
    id: outcome,
    title: outcome,
    outcome,
    detail: 'd',
    milliseconds: 0,
    ...(fault === undefined ? {} : { fault, next: [`mend ${fault}`] })
  })

  it('has nothing against passes, warnings and what was skipped', () => {
    expect(verdictOf([report('pass'), report('warn'), report('skipped')], {})).toBeUndefined()
  })

  it.each([
    [[report('unknown')], 'doctor.not-checked', 5],
    [[report('unknown'), report('fail', 'machine')], 'doctor.failed', 4],
    [[report('fail', 'cloud')], 'doctor.failed', 5],
    [[report('fail', 'cloud'), report('fail', 'config')], 'doctor.failed', 3]
  ])('of %j is %s with exit code %i', (reports, code, exitCode) => {
    expect(verdictOf(reports, {})).toMatchObject({ code, exitCode })
  })
})

function machineWith(change: Partial<Machine>): Machine {
  return {
    nodeVersion: '22.1.0',
    routerBundle: import.meta.filename,
    probeEngine: async () => ({ outcome: 'ready', version: '1' }),
    probeAz: async () => ({ outcome: 'missing' }),
    isPortFree: async () => true,
    ...change
  }
}

async function find(
  id: string,
  change: Partial<Machine>,
  config: { image?: object; policy?: object } = {}
): Promise<DoctorReport | undefined> {
  const machine = machineWith(change)
  const resolved = { image: { builder: 'docker' }, policy: { engine: 'auto' }, ...config } as unknown as Config
  const checks = [...machineChecks(machine), check('config', async () => pass), ...toolChecks(machine, () => resolved)]
  return (await run(checks)).find((each) => each.id === id)
}

describe('the checks of the machine', () => {
  it.each([
    ['20.18.0', 'fail'],
    ['20.18.1', 'pass'],
    ['20.9.9', 'fail'],
    ['18.20.0', 'fail'],
    ['22.0.0', 'pass']
  ])('take Node %s for %s', async (nodeVersion, outcome) => {
    expect(await find('node', { nodeVersion })).toMatchObject({ outcome })
  })

  it('miss a program that is not built', async () => {
    expect(await find('program', { routerBundle: '/nowhere/router.cjs' })).toMatchObject({
      outcome: 'fail',
      next: ['npm run build']
    })
  })

  it.each([
    ['missing', /not installed/],
    ['not-running', /does not answer: daemon/]
  ])('say of a builder that is %s what to do', async (outcome, detail) => {
    const report = await find('builder', { probeEngine: async () => ({ outcome, says: 'daemon' }) })
    expect(report).toMatchObject({ outcome: 'fail', fault: 'machine' })
    expect(report?.detail).toMatch(detail)
    expect(report?.next?.at(-1)).toContain('native')
  })

  it('need no builder for the native one, nor for an image that is there', async () => {
    const none = { probeEngine: () => Promise.reject(new Error('must not be asked')) }
    expect(await find('builder', none, { image: { builder: 'native' } })).toMatchObject({ outcome: 'pass' })
    expect(await find('builder', none, { image: { digest: 'sha256:00' } })).toMatchObject({ outcome: 'skipped' })
  })

  const az = { policy: { engine: 'az' } }
  it.each<[AzState, string, RegExp]>([
    [{ outcome: 'missing' }, 'fail', /az is not installed/],
    [{ outcome: 'failed', says: 'boom' }, 'unknown', /boom/],
    [{ outcome: 'ready', version: '2.80.0', confcom: undefined }, 'fail', /no confcom/],
    [{ outcome: 'ready', version: '2.80.0', confcom: '1.2.8' }, 'pass', /confcom 1\.2\.8/]
  ])('take %j for %s', async (state, outcome, detail) => {
    const report = await find('az', { probeAz: async () => state }, az)
    expect(report?.outcome).toBe(outcome)
    expect(report?.detail).toMatch(detail)
  })

  it('ask for no Azure CLI where none is used', async () => {
    expect(await find('az', { probeAz: () => Promise.reject(new Error('x')) })).toMatchObject({ outcome: 'skipped' })
  })
})
