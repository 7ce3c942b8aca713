import { setTimeout as sleep } from 'node:timers/promises'
import { type ContainerGroup, deleteContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { startProblem } from './container-start.js'
import { bundleForGroup, sealedTextOf } from './sealed-secrets.js'
import { deployGroup, keptTemplate, submitAgain } from './group-deployment.js'
import { endpointsOfGroup, hostDataOfGroup } from './group-output.js'
import { withLabel } from './group-template.js'
import { addressOf, type Address, publish, trustInForce } from './published.js'
import { get, routerAt } from './router-call.js'
import type { Note, Results, Run } from './run.js'
import type { Generation } from './state.js'

/** The two groups between which a label moves. */
export interface LabelMove {
  readonly from: string
  readonly built: Generation
}

/**
 * A label belongs to one group, and Azure starts a group again for each change of it. So the old one gives it up
 * while callers are told to go to the new one by its own address, and the new one takes it while they are told
 * to go to the old one: whoever goes by the list of addresses always has one that answers. Whoever goes by the
 * name alone has a gap, from the first start to the end of the second (docs/upgrade.md).
 *
 * @returns what the new group was deployed with in the end
 */
export async function moveLabel(
  run: Run,
  results: Results,
  { from, built }: LabelMove,
  note: Note
): Promise<Generation> {
  const { dnsLabel } = run.config.containerGroup
  if (dnsLabel === undefined) return built
  const old = await find(run, from)
  if (old?.dnsLabel === dnsLabel) {
    await tell(run, [await find(run, built.group), old], note)
    await giveUp(run, old, dnsLabel, note)
  }
  const current = await find(run, built.group)
  if (current?.dnsLabel === dnsLabel) return built
  await tell(run, [await find(run, from), current], note)
  note(`"${built.group}" takes the label "${dnsLabel}"`)
  const template = withLabel(await keptTemplate(run, built), dnsLabel)
  const bundle = await bundleForGroup(run, results, sealedTextOf(current), note)
  const target = { group: built.group, template, hostData: built.hostData, bundle }
  const { generation } = await deployGroup(run, target, note)
  await untilReady(run, built.group)
  return generation
}

async function giveUp(run: Run, old: ContainerGroup, label: string, note: Note): Promise<void> {
  const { active } = run.state.get()
  if (active?.group === old.name && active.hostData === hostDataOfGroup(old)) {
    note(`"${old.name}" gives up the label "${label}"`)
    await submitAgain(run, active, (template) => withLabel(template, undefined), note)
    await untilReady(run, active.group)
    return
  }
  note(`"${old.name}" was not deployed from here: it is deleted, which frees the label "${label}"`)
  await deleteContainerGroup(run.azure, run.config.resourceGroup, old.name)
}

/** By their own addresses, the first one first, and time for callers to read it. */
async function tell(run: Run, groups: readonly (ContainerGroup | undefined)[], note: Note): Promise<void> {
  const addresses = groups.flatMap((group) => (group?.ip === undefined ? [] : [byAddress(run, group)]))
  const [first] = addresses
  if (first === undefined) return
  await publish(run, trustInForce(run, first), addresses)
  const { drainSeconds } = run.config.upgrade
  note(`callers have ${drainSeconds} s to go to ${first.endpoint}`)
  await sleep(drainSeconds * 1000, undefined, { signal: run.signal })
}

function byAddress(run: Run, group: ContainerGroup): Address {
  const { fqdn: _name, ...rest } = group
  return addressOf({ hostData: hostDataOfGroup(group) ?? '' }, endpointsOfGroup(run, { ...rest, fqdn: undefined }))
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
        next: ['confrouter up', 'confrouter status']
      })
    }
    await sleep(100, undefined, { signal: run.signal })
  }
}
