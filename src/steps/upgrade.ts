import { setTimeout as sleep } from 'node:timers/promises'
import { deleteContainerGroup, getContainerGroup, restartContainerGroup } from '../azure/container-group.js'
import { getKey, type VaultKey } from '../azure/vault-key.js'
import { UserError } from '../base/user-error.js'
import { startProblem } from './container-start.js'
import { forgetCreated } from './created.js'
import type { WantedUpgrade } from './find-upgrade.js'
import { activeNaming } from './generation.js'
import { type Progress, interrupted, RunResults } from './graph.js'
import { bundleForGroup, deployedBundleText } from './sealed-secrets.js'
import { deployGroup, removeGroup, waitUntilRunning } from './group-deployment.js'
import { hostDataOfGroup, outputOfGroup } from './group-output.js'
import { authorityOfTemplate, hostDataOfTemplate } from './group-template.js'
import { moveLabels } from './move-label.js'
import { requireOwn, requireOwnNames } from './own-groups.js'
import { addressesOf, addressOf, type Address, publish, recordActive, trustInForce, trustOf } from './published.js'
import { type Naming, othersOf, type Place, wantedPlaces } from './places.js'
import { deployReplicas, removeReplicas, replicaOutputs, stopReplicas } from './replicas.js'
import { bindKey, changesBetween, pinsOf, vaultAccess } from './release-key.js'
import type { Note, Outputs, Run } from './run.js'
import { smokeStep } from './smoke-test.js'
import type { UpgradeState } from './state.js'
import { isWithin, releasePolicyFor, waysBeyond, waysOn, widenedPolicy } from './upgrade-window.js'

export type PhaseId =
  'widen' | 'remove-old' | 'deploy' | 'verify' | 'cold-start' | 'move' | 'drain' | 'stop' | 'narrow' | 'remove'

export interface PhaseReport {
  readonly id: PhaseId
  readonly seconds: number
}

/** The order of each strategy. A phase may be repeated after a kill: it looks before it acts. */
const phasesOf: Readonly<Record<WantedUpgrade['strategy'], readonly PhaseId[]>> = {
  'blue-green': ['widen', 'deploy', 'verify', 'cold-start', 'move', 'drain', 'stop', 'narrow', 'remove'],
  replace: ['widen', 'remove-old', 'deploy', 'verify', 'move', 'narrow']
}

const titles: Readonly<Record<PhaseId, string>> = {
  widen: 'release the key to old and new',
  'remove-old': 'delete the old group',
  deploy: 'deploy the new group',
  verify: 'verify the new group live',
  'cold-start': 'start it again, by itself',
  move: 'move the address',
  drain: 'let the old group finish',
  stop: 'stop the old group',
  narrow: 'release the key to the new one only',
  remove: 'delete the old group'
}

/** Whether a phase comes after the one in which callers are sent to the new group. */
export function isAfterMove({ strategy, phase }: Pick<UpgradeState, 'strategy' | 'phase'>): boolean {
  const order: readonly string[] = phasesOf[strategy]
  return order.indexOf(phase) > order.indexOf('move')
}

export function upgradePhases(strategy: WantedUpgrade['strategy']): readonly { id: PhaseId; title: string }[] {
  return phasesOf[strategy].map((id) => ({ id, title: titles[id] }))
}

export interface UpgradeOptions {
  readonly upgrade: WantedUpgrade & { readonly to: NonNullable<WantedUpgrade['to']> }
  readonly direction: 'upgrade' | 'rollback'
  readonly reason?: string | undefined
  /** Where the phases are shown, by their own ids. */
  readonly progress: Progress
}

/** What a phase works with. */
interface Context {
  readonly run: Run
  readonly results: RunResults
  readonly upgrade: UpgradeState
}

/**
 * Moves from one running group to another: widen, deploy, verify, narrow. The key is released to both
 * measurements until the new one was verified live and has obtained the key by itself; only then does the
 * address move, the old group stop, and the key close again. State is written after each phase, and the same
 * call goes on where the last one ended. Needs the outputs of every step up to `policy` and `roles`.
 *
 * @returns the outputs of key, deployment and smoke test, for what comes after
 */
export async function runUpgrade(
  run: Run,
  before: RunResults,
  options: UpgradeOptions
): Promise<{ readonly results: RunResults; readonly phases: readonly PhaseReport[] }> {
  const results = new RunResults(before)
  await open(run, options)
  const started = performance.now()
  const phases: PhaseReport[] = []
  for (;;) {
    const { upgrade } = run.state.get()
    if (upgrade === undefined) break
    if (run.signal.aborted) throw interrupted(run)
    const id = upgrade.phase as PhaseId
    phases.push(await runPhase({ run, results, upgrade }, id, options.progress))
  }
  const seconds = Math.round(performance.now() - started) / 1000
  const opened = run.state.get().history?.at(-1)?.keyOpenedTo
  if (opened !== undefined) throw keyOpened(run, opened)
  return { results: await finished(run, results, seconds), phases }
}

async function open(run: Run, { upgrade, direction, reason }: UpgradeOptions): Promise<void> {
  if (run.state.get().upgrade !== undefined) return
  const { strategy, from, to } = upgrade
  // Before the key is released to anybody else.
  const { regions } = run.config.containerGroup
  const places = wantedPlaces(run, { stem: to.group, home: regions[0] ?? run.config.location })
  await requireOwnNames(run, [from.group, ...places.map(({ name }) => name)])
  const opened: UpgradeState = {
    strategy,
    direction,
    ...(reason === undefined ? {} : { reason }),
    from: await asItIsReached(run, from),
    to: { ...to, regions },
    phase: phasesOf[strategy][0] ?? 'widen',
    openedAt: run.now().toISOString()
  }
  await run.state.update((state) => ({ ...state, upgrade: opened }))
}

/** The group that serves, with where callers reach it. */
export async function asItIsReached(run: Run, from: WantedUpgrade['from']): Promise<UpgradeState['from']> {
  const { endpoint, tlsEndpoint } = run.state.get()
  const [first] = await replicaOutputs(run, [from.group])
  const replicas = await replicaOutputs(run, othersOf(run, from))
  return {
    ...from,
    ...(first === undefined ? {} : { region: first.region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(tlsEndpoint === undefined ? {} : { tlsEndpoint }),
    ...(replicas.length === 0 ? {} : { replicas })
  }
}

async function runPhase(context: Context, id: PhaseId, progress: Progress): Promise<PhaseReport> {
  const { run, upgrade } = context
  const shown = id as unknown as Parameters<Progress['start']>[0]
  const began = performance.now()
  let said = ''
  const note = (text: string) => {
    if (text !== said) progress.note(shown, text)
    said = text
  }
  progress.start(shown)
  try {
    const says = await phases[id](context, note)
    await advance(run, upgrade.strategy, id)
    progress.done(shown, says)
    return { id, seconds: Math.round(performance.now() - began) / 1000 }
  } catch (error) {
    progress.fail(shown, error instanceof Error ? error.message : String(error))
    if (!run.signal.aborted) await noteFailure(run, error)
    throw id === 'verify' || id === 'cold-start' ? notVerified(upgrade, error) : error
  }
}

/** The next phase, or the end: then it is history. */
async function advance(run: Run, strategy: UpgradeState['strategy'], id: PhaseId): Promise<void> {
  const order = phasesOf[strategy]
  const next = order[order.indexOf(id) + 1]
  await run.state.update(({ upgrade, ...state }) => {
    if (upgrade === undefined) return state
    if (next !== undefined) {
      const { failure: _before, ...open } = upgrade
      return { ...state, upgrade: { ...open, phase: next } }
    }
    const { direction, from, to, reason, keyOpenedTo } = upgrade
    const change = {
      at: run.now().toISOString(),
      what: direction,
      from: from.hostData,
      to: to.hostData,
      ...(reason === undefined ? {} : { reason }),
      ...(keyOpenedTo === undefined ? {} : { keyOpenedTo })
    }
    return { ...state, history: [...(state.history ?? []), change].slice(-50) }
  })
}

async function noteFailure(run: Run, error: unknown): Promise<void> {
  const failure = error instanceof Error ? error.message : String(error)
  await run.state.update((state) =>
    state.upgrade === undefined ? state : { ...state, upgrade: { ...state.upgrade, failure } }
  )
}

/** Nothing is undone by itself: the old group goes on serving, and closing the window is a decision. */
function notVerified(upgrade: UpgradeState, error: unknown): unknown {
  if (!(error instanceof UserError) || error.fault === 'interrupted') return error
  const { from, to } = upgrade
  const details = {
    why: [
      error.why,
      `the upgrade window stays open: the key is released to ${from.hostData} and to ${to.hostData}`,
      upgrade.strategy === 'blue-green' ? `group "${from.group}" goes on serving` : undefined
    ]
      .filter((part) => part !== undefined)
      .join('; '),
    next: ['confrouter status --trust', waysOn(upgrade).on, waysOn(upgrade).back],
    cause: error,
    report: { ...error.report, cause: error.code, window: { open: true, from: from.hostData, to: to.hostData } }
  }
  const problem = `the new group "${to.group}" was not verified: ${error.problem}`
  return error.fault === 'evidence'
    ? new UserError('evidence', 'upgrade.rejected', problem, details)
    : new UserError('cloud', 'upgrade.not-verified', problem, details)
}

const phases: Readonly<Record<PhaseId, (context: Context, note: Note) => Promise<string>>> = {
  async widen({ run, results, upgrade }, note) {
    const key = await keyOf(run, results, note)
    const wanted = results.get('policy').releasePolicy
    const open = widenedPolicy(key.releasePolicy, upgrade.from.hostData, wanted)
    // What is approved is where this leads; on the way nobody is let in who was not in before.
    const approve = changesBetween(key.releasePolicy, wanted)
    const { release } = upgrade
    const before = release === undefined ? key.releasePolicy : release.before
    // Of a window that is open already: to another measurement than this one, or to this one by a run that was killed.
    if (release !== undefined) await noteOpened(run, upgrade, key, [release.before, wanted], note)
    await changeOpen(run, {
      release: { ...(before === undefined ? {} : { before }), widened: open, approved: wanted }
    })
    const bound = await bindKey(run, vaultAccess(run, results, note), key, open, approve)
    await publish(run, trustInForce(run, measured(results)), oldAddresses(upgrade))
    return `the key is released to ${pinsOf(bound.releasePolicy ?? '').join(' and ')}`
  },

  async 'remove-old'({ run, upgrade }, note) {
    await removeReplicas(run, othersOf(run, upgrade.from), note)
    await removeGroup(run, upgrade.from.group, note)
    return 'deleted: callers have to wait for the new one'
  },

  async deploy({ run, results, upgrade }, note) {
    requireKey(results, await keyOf(run, results, note))
    const { template, hostData } = results.get('policy')
    const bundle = await bundleForGroup(run, results, await deployedBundleText(run), note)
    const [target, ...others] = newPlaces(run, upgrade).map((place) => ({
      // The labels belong to the old groups until the new ones were verified.
      place: upgrade.strategy === 'blue-green' ? { ...place, label: undefined } : place,
      naming: newNaming(run, upgrade),
      template,
      hostData,
      bundle
    }))
    if (target === undefined) throw new Error('there is a first group')
    if (hostDataOfTemplate(template) !== upgrade.to.hostData) throw new Error('another template than was opened for')
    await removeStranger(run, upgrade, note)
    const starting = deployReplicas(run, results, others, note)
    // What was begun is waited for, whatever becomes of the first one.
    const { generation } = await deployGroup(run, target, note).finally(() => starting)
    const { failure } = await starting
    if (failure !== undefined) throw failure.error
    await changeOpen(run, { built: generation })
    const names = [target, ...others].map(({ place }) => `"${place.name}"`)
    return names.length === 1 ? `${names.join()} runs` : `${names.join(', ')} run`
  },

  async verify(context, note) {
    return verifyNew(context, note)
  },

  async 'cold-start'({ run, results, upgrade }, note) {
    const { resourceGroup } = run.config
    note('starting it again: it has to obtain the key without anybody’s help')
    await restartContainerGroup(run.azure, resourceGroup, upgrade.to.group)
    await waitUntilRunning(run, upgrade.to.group, note)
    const verified = await verifyNew({ run, results, upgrade }, note)
    return `it released the key by itself; ${verified}`
  },

  async move({ run, results, upgrade }, note) {
    requireKey(results, await keyOf(run, results, note))
    const built = requireBuilt(upgrade)
    const generation =
      upgrade.strategy === 'blue-green'
        ? await moveLabels(run, results, { from: upgrade.from, built, places: newPlaces(run, upgrade) }, note)
        : built
    await changeOpen(run, { built: generation })
    const output = await outputOfNew(run, upgrade)
    await recordActive(run, generation, output)
    await publish(run, trustInForce(run, generation), [
      ...addressesOf(generation, output),
      ...(upgrade.strategy === 'blue-green' ? oldAddresses(upgrade) : [])
    ])
    return output.endpoint
  },

  async drain({ run, upgrade }, note) {
    const { drainSeconds } = run.config.upgrade
    note(`callers have ${drainSeconds} s to take the new address; "${upgrade.from.group}" still answers`)
    await drain(run)
    return `${drainSeconds} s`
  },

  async stop({ run, upgrade }) {
    const output = await outputOfNew(run, upgrade)
    // From here on nobody is told of the old address.
    const wanted = requireBuilt(upgrade)
    await publish(run, trustInForce(run, wanted), addressesOf(wanted, output))
    await stopReplicas(run, [upgrade.from.group, ...othersOf(run, upgrade.from)])
    return `"${upgrade.from.group}" is stopped`
  },

  async narrow({ run, results, upgrade }, note) {
    const key = await keyOf(run, results, note)
    const wantedPolicy = approvedPolicy(upgrade, results)
    await noteOpened(run, upgrade, key, [wantedPolicy], note)
    // Closing only takes away. If it does not, somebody has taken the new one off the key: to let it in again is asked.
    if (!isWithin(wantedPolicy, key.releasePolicy)) await approveAgain(run, upgrade, key, wantedPolicy)
    const closed = await bindKey(run, vaultAccess(run, results, note), key, wantedPolicy, [])
    const output = await outputOfNew(run, upgrade)
    const wanted = requireBuilt(upgrade)
    await publish(run, trustOf(run, [wanted]), addressesOf(wanted, output))
    return `the key is released to ${pinsOf(closed.releasePolicy ?? '').join(' and ')} only`
  },

  async remove({ run, upgrade }, note) {
    await removeReplicas(run, othersOf(run, upgrade.from), note)
    await deleteContainerGroup(run.azure, run.config.resourceGroup, upgrade.from.group)
    await forgetCreated(run, upgrade.from.group)
    return `"${upgrade.from.group}" is deleted`
  }
}

/** Records something of the open upgrade. */
async function changeOpen(run: Run, change: Partial<UpgradeState>): Promise<void> {
  await run.state.update((state) =>
    state.upgrade === undefined ? state : { ...state, upgrade: { ...state.upgrade, ...change } }
  )
}

/** What was approved when the window was opened. An older state does not say it: then what was built does. */
function approvedPolicy({ release, built }: UpgradeState, results: RunResults): string {
  return release?.approved ?? releasePolicyFor(built ?? { hostData: undefined }) ?? results.get('policy').releasePolicy
}

/** Whoever else was let in is not only put out again: they may have obtained the key, and that is to be known. */
export async function noteOpened(
  run: Run,
  { release, keyOpenedTo = [] }: UpgradeState,
  key: VaultKey,
  allowed: readonly (string | undefined)[],
  note: Note
): Promise<void> {
  // An older state does not say what was written.
  if (release === undefined) return
  const known = [release.widened, release.approved, ...allowed].filter((each) => each !== undefined)
  const opened = waysBeyond(key.releasePolicy, known)
  if (opened.length === 0) return
  note(`somebody has changed the release policy: the key was also released to ${opened.join('; ')}`)
  await changeOpen(run, { keyOpenedTo: [...new Set([...keyOpenedTo, ...opened])] })
}

async function approveAgain(run: Run, { to }: UpgradeState, key: VaultKey, approved: string): Promise<void> {
  try {
    for (const change of changesBetween(key.releasePolicy, approved)) await run.approveTrust(change)
  } catch (cause) {
    throw new UserError('cloud', 'upgrade.window-gone', `key "${key.name}" does not accept the new group any more`, {
      why: `somebody changed its release policy while the upgrade to ${to.hostData} went on`,
      next: ['confrouter status --trust', `confrouter up --accept-host-data ${to.hostData}`],
      cause
    })
  }
}

/**
 * The key is closed again, and that does not take back what it was released to. Exit code 6: who keeps the key has
 * to look at it before anybody sends data.
 */
export function keyOpened(run: Run, opened: readonly string[]): UserError {
  const { name } = run.config.key
  return new UserError(
    'evidence',
    'upgrade.key-opened',
    `while the window was open somebody else let key "${name}" out to others; it is closed again`,
    {
      why: `its release policy also accepted ${opened.join('; ')}: whoever met it may have the key`,
      next: [
        `look for releases of key "${name}" in the logs of vault "${run.config.keyVault.name}"`,
        'set key.name to another name in confrouter.yaml if there was one   (another key, which callers have to accept)',
        'confrouter status --trust'
      ],
      report: { keyOpenedTo: opened }
    }
  )
}

/** The checks of the smoke test against what runs, with the new host data and nothing else accepted. */
async function verifyNew({ run, results, upgrade }: Context, note: Note): Promise<string> {
  const key = await keyOf(run, results, note)
  const output = await outputOfNew(run, upgrade)
  const seen = new RunResults(results)
  seen.add('key', key, { id: 'key', action: 'none', seconds: 0 })
  seen.add('deploy', output, { id: 'deploy', action: 'none', seconds: 0 })
  const finding = await smokeStep.observe(run, seen, note)
  const group = await requireNew(run, upgrade)
  // "Running" after two starts in a row is no success: it answered between two ends.
  const problem = await startProblem(run, group)
  if (problem !== undefined) throw problem
  return finding.action === 'none' ? (finding.did ?? 'verified') : 'verified'
}

async function drain(run: Run): Promise<void> {
  await sleep(run.config.upgrade.drainSeconds * 1000, undefined, { signal: run.signal })
}

/** The key, which has to be there as long as a group holds it. Throws `upgrade.no-key`. */
export async function keyOf(run: Run, results: RunResults, note: Note): Promise<VaultKey> {
  const key = await getKey(vaultAccess(run, results, note), run.config.key.name)
  if (key !== undefined) return key
  throw new UserError('cloud', 'upgrade.no-key', `key "${run.config.key.name}" is gone`, {
    why: 'the old group still holds it, and would be lost with its next start',
    next: [`az keyvault key recover --vault-name ${run.config.keyVault.name} --name ${run.config.key.name}`]
  })
}

/** For sealing: the deployment takes the key from the results. */
function requireKey(results: RunResults, key: VaultKey): void {
  if (!results.has('key')) results.add('key', key, { id: 'key', action: 'none', seconds: 0 })
}

/** A group of ours that has the new name and another policy is left of something else, and Azure cannot change it. */
async function removeStranger(run: Run, upgrade: UpgradeState, note: Note): Promise<void> {
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, upgrade.to.group)
  if (group === undefined) return
  requireOwn(run, group)
  const isSame = hostDataOfGroup(group) === upgrade.to.hostData && group.provisioningState !== 'Failed'
  if (!isSame) await removeGroup(run, group.name, note)
}

async function requireNew(run: Run, upgrade: UpgradeState) {
  const { to } = upgrade
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, to.group)
  if (group !== undefined) return group
  throw new UserError('cloud', 'upgrade.group-gone', `the new group "${to.group}" is gone`, {
    why: 'Azure says that there is no such group: somebody deleted it while the upgrade went on',
    next: [waysOn(upgrade).back, 'confrouter status --trust']
  })
}

async function outputOfNew(run: Run, upgrade: UpgradeState): Promise<Outputs['deploy']> {
  const output = outputOfGroup(run, await requireNew(run, upgrade))
  const [, ...others] = newPlaces(run, upgrade)
  const replicas = await replicaOutputs(
    run,
    others.map(({ name }) => name)
  )
  return { ...output, ...(replicas.length === 0 ? {} : { replicas }) }
}

/** Where its groups were to be when it was opened: another list of regions is for what comes after it. */
function newPlaces(run: Run, upgrade: UpgradeState): readonly [Place, ...Place[]] {
  return wantedPlaces(run, newNaming(run, upgrade), upgrade.to.regions ?? [run.config.location])
}

function newNaming(run: Run, { to }: UpgradeState): Naming {
  return { stem: to.group, home: to.regions?.[0] ?? run.config.location }
}

function requireBuilt({ built, to }: UpgradeState) {
  if (built === undefined) throw new Error(`group "${to.group}" is deployed before it is moved to`)
  return built
}

function oldAddresses({ from }: UpgradeState): readonly Address[] {
  if (from.endpoint === undefined) return []
  const first = { endpoint: from.endpoint, region: from.region, ...tlsOf(from) }
  return [first, ...(from.replicas ?? [])].map((each) => addressOf({ hostData: from.hostData }, each))
}

function tlsOf({ tlsEndpoint }: UpgradeState['from']) {
  return tlsEndpoint === undefined ? {} : { tlsEndpoint }
}

function measured(results: RunResults) {
  const { hostData, template } = results.get('policy')
  return { hostData, authority: authorityOfTemplate(template) }
}

/** Outputs as after the ordinary steps, with what the upgrade did to key and group. */
async function finished(run: Run, before: RunResults, seconds: number): Promise<RunResults> {
  const results = new RunResults(before)
  const { active } = run.state.get()
  const key = await keyOf(run, before, () => undefined)
  const group =
    active === undefined ? undefined : await getContainerGroup(run.azure, run.config.resourceGroup, active.group)
  if (group === undefined) {
    throw new UserError('cloud', 'upgrade.group-gone', 'the group that was upgraded to is gone', {
      next: ['confrouter up']
    })
  }
  replaceReport(results, 'key', key, 'update', 0)
  const replicas = await replicaOutputs(
    run,
    wantedPlaces(run, activeNaming(run))
      .map(({ name }) => name)
      .filter((name) => name !== group.name)
  )
  const output = { ...outputOfGroup(run, group), ...(replicas.length === 0 ? {} : { replicas }) }
  replaceReport(results, 'deploy', output, 'replace', seconds)
  return results
}

function replaceReport(
  results: RunResults,
  id: 'key' | 'deploy',
  output: unknown,
  action: 'update' | 'replace',
  seconds: number
): void {
  const at = results.reports.findIndex((report) => report.id === id)
  if (at >= 0) results.reports.splice(at, 1)
  results.add(id, output, { id, action, seconds })
}
