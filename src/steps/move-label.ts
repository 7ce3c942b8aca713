import { setTimeout as sleep } from 'node:timers/promises'
import { type ContainerGroup, deleteContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { startProblem } from './container-start.js'
import { bundleForGroup, sealedTextOf } from './sealed-secrets.js'
import { deployGroup, keptTemplate, submitAgain } from './group-deployment.js'
import { endpointsOfGroup, hostDataOfGroup } from './group-output.js'
import { namingOf } from './generation.js'
import { labelOfTemplate } from './group-template.js'
import { locationOf, othersOf, type Place, recordedGroups, wantedPlaces } from './places.js'
import { addressOf, type Address, publish, trustInForce } from './published.js'
import { findGroups } from './replicas.js'
import { get, routerAt } from './router-call.js'
import type { Note, Results, Run } from './run.js'
import type { Generation, UpgradeState } from './state.js'

/** The groups between which the labels move, one label in each region. */
export interface LabelMove {
  readonly from: { readonly group: string; readonly stem?: string }
  readonly built: Generation
  /** Where the new groups are; those with a label are to have it. */
  readonly places: readonly Place[]
}

/**
 * A label belongs to one group, and Azure starts a group again for each change of it. So the old one gives it up
 * while callers are told to go to the new one by its own address, and the new one takes it while they are told
 * to go to the old one: whoever goes by the list of addresses always has one that answers. Whoever goes by the
 * name alone has a gap, from the first start to the end of the second (docs/upgrade.md). With several regions the
 * labels of all move at the same time.
 *
 * @returns what the first of the new groups was deployed with in the end
 */
export async function moveLabels(
  run: Run,
  results: Results,
  { from, built, places }: LabelMove,
  note: Note
): Promise<Generation> {
  const { dnsLabel } = run.config.containerGroup
  const taking = places.filter(({ label }) => label !== undefined)
  if (dnsLabel === undefined || taking.length === 0) return built
  const names = taking.map(({ name }) => name)
  const old = await findGroups(run, [from.group, ...othersOf(run, from)])
  const owners = old.filter((group) => group.dnsLabel === dnsLabel)
  if (owners.length > 0) {
    await tell(run, [...(await findGroups(run, names)), ...owners], note)
    await Promise.all(owners.map((owner) => giveUp(run, owner, dnsLabel, note)))
  }
  const current = await findGroups(run, names)
  const without = taking.filter(({ name }) => current.find((group) => group.name === name)?.dnsLabel !== dnsLabel)
  if (without.length === 0) return built
  const firsts = owners.length === 0 ? [from.group] : owners.map(({ name }) => name)
  await tell(run, [...(await findGroups(run, firsts)), ...current], note)
  const bundle = await bundleForGroup(run, results, sealedTextOf(current[0]), note)
  const template = await keptTemplate(run, built)
  const generations = await Promise.all(
    without.map(async (place) => {
      note(`"${place.name}" takes the label "${dnsLabel}"`)
      const isReplica = place.name !== built.group
      const target = { place, naming: namingOf(run, built), template, hostData: built.hostData, bundle, isReplica }
      const { generation } = await deployGroup(run, target, note)
      await untilReady(run, place.name)
      return generation
    })
  )
  return generations.find(({ group }) => group === built.group) ?? built
}

/**
 * The other way round, before the new groups are taken away: callers may have been told of them first, so they go to the
 * old ones again, by their own addresses, for they may have given up their labels and started again just now.
 */
export async function sendBack(run: Run, { from, to }: Pick<UpgradeState, 'from' | 'to'>, note: Note): Promise<void> {
  note(`callers go to "${from.group}" again`)
  const old = (await findGroups(run, [from.group, ...othersOf(run, from)])).map(({ name }) => name)
  await Promise.all(old.map((name) => untilReady(run, name)))
  await tell(run, await findGroups(run, [...old, to.group, ...othersOf(run, to)]), note)
}

/** Groups that gave up the label with which they were deployed take it back. Nobody else may have it by now. */
export async function takeLabelsBack(run: Run, active: Generation, note: Note): Promise<void> {
  const places = wantedPlaces(run, namingOf(run, active)).filter(({ label }) => label !== undefined)
  const groups = await findGroups(
    run,
    places.map(({ name }) => name)
  )
  const without = places.filter(({ name }) =>
    groups.some((group) => group.name === name && group.dnsLabel === undefined)
  )
  if (without.length === 0) return
  const label = labelOfTemplate(await keptTemplate(run, active))
  if (label === undefined) return
  await Promise.all(
    without.map(async (place) => {
      note(`"${place.name}" takes the label "${label}" back`)
      await submitAgain(run, active, { ...place, label }, note)
      await untilReady(run, place.name)
    })
  )
}

async function giveUp(run: Run, old: ContainerGroup, label: string, note: Note): Promise<void> {
  const { active } = run.state.get()
  const isOurs = active !== undefined && recordedGroups(run, namingOf(run, active).stem).includes(old.name)
  if (active !== undefined && (active.group === old.name || isOurs) && active.hostData === hostDataOfGroup(old)) {
    note(`"${old.name}" gives up the label "${label}"`)
    await submitAgain(run, active, { name: old.name, location: locationOf(old), label: undefined }, note)
    await untilReady(run, old.name)
    return
  }
  note(`"${old.name}" was not deployed from here: it is deleted, which frees the label "${label}"`)
  await deleteContainerGroup(run.azure, run.config.resourceGroup, old.name)
}

/** By their own addresses, the first one first, and time for callers to read it. */
async function tell(run: Run, groups: readonly ContainerGroup[], note: Note): Promise<void> {
  const addresses = groups.flatMap((group) => (group.ip === undefined ? [] : [byAddress(run, group)]))
  const [first] = addresses
  if (first === undefined) return
  await publish(run, trustInForce(run, first), addresses)
  const { drainSeconds } = run.config.upgrade
  note(`callers have ${drainSeconds} s to go to ${first.endpoint}`)
  await sleep(drainSeconds * 1000, undefined, { signal: run.signal })
}

function byAddress(run: Run, group: ContainerGroup): Address {
  const { fqdn: _name, ...rest } = group
  const endpoints = endpointsOfGroup(run, { ...rest, fqdn: undefined })
  return addressOf({ hostData: hostDataOfGroup(group) ?? '' }, { ...endpoints, region: locationOf(group) })
}

function find(run: Run, group: string): Promise<ContainerGroup | undefined> {
  return getContainerGroup(run.azure, run.config.resourceGroup, group)
}

/** Waits until a group that was started again serves again. */
async function untilReady(run: Run, group: string): Promise<void> {
  const deadline = run.now().getTime() + run.readySeconds * 1000
  for (;;) {
    const found = await find(run, group)
    const answer =
      found?.ip === undefined
        ? undefined
        : await get(run, routerAt(run, byAddress(run, found).endpoint, 'any'), '/readyz')
    if (answer?.status === 200) return
    const problem = found === undefined ? undefined : await startProblem(run, found)
    if (problem !== undefined) throw problem
    if (run.now().getTime() > deadline) {
      throw new UserError('cloud', 'upgrade.not-ready', `group "${group}" did not serve again`, {
        why: `it was started again and is not ready after ${run.readySeconds} s`,
        next: ['run the same command again', 'confrouter status']
      })
    }
    await sleep(100, undefined, { signal: run.signal })
  }
}
