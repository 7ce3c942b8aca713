import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { canonicalJson } from '../base/json.js'
import { groupChanges } from '../plan/group-properties.js'
import type { PropertyChange } from '../plan/properties.js'
import { publicPorts } from '../plan/router-ports.js'
import { denialError } from '../azure/policy-denial.js'
import { findDenial } from './denial.js'
import { activeNaming, namingOf } from './generation.js'
import { deployGroup, type GroupTarget, removeGroup, removeReplica } from './group-deployment.js'
import { existingOutput, hostDataOfGroup, outputOfGroup } from './group-output.js'
import { authorityOfTemplate } from './group-template.js'
import { requireOwn, requireOwnNames } from './own-groups.js'
import { type Naming, type Place, recordedGroups, requireInPlace, wantedPlaces } from './places.js'
import { addressesOf, makeActive, publish, recordActive, trustInForce } from './published.js'
import { checkReplica } from './replica-health.js'
import { deployReplica, deployReplicas, retireReplicas } from './replicas.js'
import type { Note, Outputs, ReplicaOutput, Results, Run, Step } from './run.js'
import { bundleForGroup, planSecrets, sealedTextOf, secretsKeys } from './sealed-secrets.js'

/** Seals the provider keys to the released key, deploys the template, once for each group, and waits until they run. */
export const deployStep: Step<'deploy'> = {
  id: 'deploy',
  title: 'container group',
  needs: ['policy', 'key', 'vault', 'signing-key', 'identity', 'roles'],
  async observe(run, results) {
    const fleet = await lookAtFleet(run, results)
    const { first, others } = fleet
    const there = [first, ...others].flatMap(({ group }) => (group === undefined ? [] : [group]))
    const [main, ...more] = there
    if (isAsWanted(fleet) && main !== undefined) {
      return { action: 'none', output: outputWith(outputOfGroup(run, main), outputsOf(run, more)) }
    }
    return {
      action: main === undefined ? 'create' : deletesAny(fleet) ? 'replace' : 'update',
      reason: reasonOf(fleet),
      ...(main === undefined
        ? {}
        : {
            existing: outputWith(
              existingOutput(run, main),
              outputsOf(
                run,
                more.filter(({ ip }) => ip !== undefined)
              )
            )
          }),
      properties: [
        ...((first.group === undefined ? main === undefined : first.differences.length > 0)
          ? groupProperties(results, first.group, first.differences)
          : []),
        ...replicaProperties(fleet, { isNew: main === undefined })
      ],
      apply: (note) => deployFleet(run, results, fleet, note)
    }
  }
}

/**
 * What a deployment would do beside giving every group its provider keys, in words; undefined if that is all that it
 * would do, or if it would do nothing.
 */
export async function moreThanSecrets(run: Run, results: Results): Promise<string | undefined> {
  const fleet = await lookAtFleet(run, results)
  const others = ({ differences, ...group }: Observed): Observed => ({
    ...group,
    differences: differences.filter(({ isSecrets }) => isSecrets !== true)
  })
  const without = { ...fleet, first: others(fleet.first), others: fleet.others.map(others) }
  return isAsWanted(without) ? undefined : reasonOf(without)
}

async function lookAtFleet(run: Run, results: Results): Promise<Fleet> {
  const naming = activeNaming(run)
  const places = wantedPlaces(run, naming)
  const [first, ...others] = await Promise.all(
    places.map((place, index) => look(run, results, place, { isFirst: index === 0 }))
  )
  if (first === undefined) throw new Error('there is a first group')
  const wanted = places.map(({ name }) => name)
  const surplus = recordedGroups(run, naming.stem).filter((name) => !wanted.includes(name))
  return { naming, first, others, surplus, isFirstTold: isFirstTold(run, first) }
}

/** Before anything is made or bound: throws `aci.name-taken` if a name that is wanted belongs to somebody else's group. */
export function requireFreeNames(run: Run): Promise<void> {
  return requireOwnNames(
    run,
    wantedPlaces(run, activeNaming(run)).map(({ name }) => name)
  )
}

/** A group that is wanted, as it is. */
interface Observed {
  readonly place: Place
  readonly group: ContainerGroup | undefined
  readonly differences: readonly Difference[]
  readonly mustReplace: boolean
}

interface Fleet {
  readonly naming: Naming
  readonly first: Observed
  readonly others: readonly Observed[]
  /** Made here and no longer wanted, by name. */
  readonly surplus: readonly string[]
  /** Whether callers are told of the first one first. They are not after another order of the regions. */
  readonly isFirstTold: boolean
}

async function look(run: Run, results: Results, place: Place, who: { readonly isFirst: boolean }): Promise<Observed> {
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, place.name)
  if (group !== undefined) {
    requireOwn(run, group)
    requireInPlace(run, group, place)
  }
  const differences = group === undefined ? [] : await differencesOf(run, results, group, { ...who, place })
  return { place, group, differences, mustReplace: differences.some(({ immutable }) => immutable) }
}

function isFirstTold(run: Run, { place }: Observed): boolean {
  const { active } = run.state.get()
  return active?.base !== run.config.containerGroup.name || active.group === place.name
}

function isSame({ group, differences }: Observed): boolean {
  return group !== undefined && differences.length === 0
}

function isAsWanted({ first, others, surplus, isFirstTold }: Fleet): boolean {
  return [first, ...others].every(isSame) && surplus.length === 0 && isFirstTold
}

/** Whether a group that is there has to go: for another one of its name, or for good. */
function deletesAny({ first, others, surplus }: Fleet): boolean {
  return [first, ...others].some(({ mustReplace }) => mustReplace) || surplus.length > 0
}

function reasonOf({ first, others, surplus, isFirstTold }: Fleet): string {
  const absent = [first, ...others].filter(({ group }) => group === undefined)
  return [
    ...(absent.length === 0 ? [] : [`creating ${quoted(absent.map(({ place }) => place.name))}`]),
    ...first.differences.map(({ text }) => text),
    ...others.flatMap(({ place, differences }) => differences.map(({ text }) => `"${place.name}": ${text}`)),
    ...(surplus.length === 0 ? [] : [`removing ${quoted(surplus)}`]),
    ...(isFirstTold ? [] : [`telling callers of "${first.place.name}" first`])
  ].join(', ')
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ')
}

function replicaProperties(
  { first, others, surplus, isFirstTold }: Fleet,
  { isNew }: { readonly isNew: boolean }
): readonly PropertyChange[] {
  const isBeside = first.group === undefined && !isNew
  return [
    ...[...(isBeside ? [first] : []), ...others].flatMap((each): readonly PropertyChange[] => {
      const { place, group, differences, mustReplace } = each
      const property = `replica.${place.name}`
      if (group === undefined) return [{ property, from: null, to: 'Running' }]
      if (differences.length === 0) return []
      const from = differences.map(({ text }) => text).join(', ')
      return [{ property, from, to: 'as the first group', ...(mustReplace ? { forces: 'replace' as const } : {}) }]
    }),
    ...surplus.map((name) => ({ property: `replica.${name}`, from: 'Running', to: null })),
    ...(isFirstTold ? [] : [{ property: 'addresses', from: null, to: `${first.place.name} first` }])
  ]
}

function outputsOf(run: Run, groups: readonly ContainerGroup[]): readonly ReplicaOutput[] {
  return groups.map((group) => outputOfGroup(run, group))
}

function outputWith(output: ReplicaOutput, replicas: readonly ReplicaOutput[]): Outputs['deploy'] {
  return { ...output, ...(replicas.length === 0 ? {} : { replicas }) }
}

/**
 * Brings every group to what is wanted. Those that are absent start side by side, and callers are told of each only
 * when it serves; those that serve already are changed one after the other, so that the others answer meanwhile; those
 * that are not wanted any more are deleted last, after callers had time to leave them.
 */
async function deployFleet(run: Run, results: Results, fleet: Fleet, note: Note): Promise<Outputs['deploy']> {
  const { naming, first, others, surplus } = fleet
  // Before anything is deleted: the group may have the only copy of what is sealed, and a name may be missing.
  const sealed = [first, ...others].map(({ group }) => sealedTextOf(group)).find((text) => text !== undefined)
  const bundle = await bundleForGroup(run, results, sealed, note)
  const { template, hostData } = results.get('policy')
  const targetOf = ({ place }: Observed): GroupTarget => ({ place, naming, template, hostData, bundle })
  const settled = others.filter(isSame).flatMap(({ group }) => (group === undefined ? [] : outputsOf(run, [group])))
  const absent = others.filter(({ group }) => group === undefined)
  const starting = deployReplicas(run, results, absent.map(targetOf), note)
  const own = await deployFirst(run, first, { target: targetOf(first), settled }, note).catch(
    async (error: unknown) => {
      // What was begun is waited for, so that nothing goes on unseen.
      await starting
      throw error
    }
  )
  const { serving, failure } = await starting
  const reached = [...settled, ...serving]
  const inOrder = () => reached.toSorted((a, b) => rank(fleet, a) - rank(fleet, b))
  await publishAll(run, results, outputWith(own, inOrder()))
  if (failure !== undefined) throw failure.error
  const different = others.filter((each) => each.group !== undefined && !isSame(each))
  if (different.length > 0) await checkReplica(run, results, own, note)
  for (const each of different) {
    if (each.mustReplace) await removeReplica(run, each.place.name, note)
    reached.push(await deployReplica(run, results, targetOf(each), note))
    await publishAll(run, results, outputWith(own, inOrder()))
  }
  await tellFirst(run, own)
  await retireReplicas(run, surplus, note)
  return outputWith(own, inOrder())
}

function rank({ others }: Fleet, { group }: ReplicaOutput): number {
  return others.findIndex(({ place }) => place.name === group)
}

async function deployFirst(
  run: Run,
  first: Observed,
  { target, settled }: { readonly target: GroupTarget; readonly settled: readonly ReplicaOutput[] },
  note: Note
): Promise<ReplicaOutput> {
  if (first.group !== undefined && isSame(first)) return outputOfGroup(run, first.group)
  if (first.mustReplace) await removeGroup(run, first.place.name, note)
  const { output, generation } = await deployGroup(run, target, note)
  await makeActive(run, generation, outputWith(output, settled))
  return output
}

/** Another order of the regions, or one less, makes another group the first one. It was deployed from the same template. */
async function tellFirst(run: Run, first: ReplicaOutput): Promise<void> {
  const { active } = run.state.get()
  if (active === undefined || active.base !== run.config.containerGroup.name || active.group === first.group) return
  const { stem, home } = namingOf(run, active)
  await recordActive(run, { ...active, group: first.group, stem, home }, first)
}

function publishAll(run: Run, results: Results, output: Outputs['deploy']): Promise<void> {
  const { hostData, template } = results.get('policy')
  const measured = { hostData, authority: authorityOfTemplate(template) }
  return publish(run, trustInForce(run, measured), addressesOf(measured, output))
}

/** What the template would change, and what is no property of the template: secrets, a failure, an unfinished start. */
function groupProperties(
  results: Results,
  group: ContainerGroup | undefined,
  differences: readonly Difference[]
): readonly PropertyChange[] {
  const { template, hostData } = results.get('policy')
  const observed = group === undefined ? undefined : { group, hostData: hostDataOfGroup(group) }
  const changes = groupChanges(observed, { template, hostData })
  const more = differences.flatMap(({ property }) => (property === undefined ? [] : [property]))
  return [...changes, ...more]
}

interface Difference {
  /** Where no property of the template says it. */
  readonly property?: PropertyChange
  readonly text: string
  /** Azure cannot change it in place: the group is deleted and created again. */
  readonly immutable: boolean
  /** It is its provider keys, and nothing else. */
  readonly isSecrets?: true
}

async function differencesOf(
  run: Run,
  results: Results,
  group: ContainerGroup,
  { place, isFirst }: { readonly place: Place; readonly isFirst: boolean }
): Promise<readonly Difference[]> {
  const { containerGroup, sidecar } = run.config
  const router = group.containers.find(({ name }) => name === 'router')
  const skr = group.containers.find(({ name }) => name === 'skr')
  const denial = findDenial(group)
  const state: PropertyChange = { property: 'state', from: group.state, to: 'Running', forces: 'replace' }
  const immutable: readonly (readonly [boolean, string, PropertyChange?])[] = [
    [denial === undefined, denial === undefined ? '' : denialError(group.name, denial).problem, state],
    [hostDataOfGroup(group) === results.get('policy').hostData, 'its CCE policy is another one'],
    [router?.cpu === containerGroup.cpu && router?.memoryGb === containerGroup.memoryGb, 'its size differs'],
    [skr?.cpu === sidecar.cpu && skr?.memoryGb === sidecar.memoryGb, 'its sidecar’s size differs'],
    [samePorts(group.ports, publicPorts(run.config)), 'its port differs'],
    [group.restartPolicy === 'Always', 'its restart policy differs'],
    [sameIds(group.identityIds, [results.get('identity').id]), 'its identity differs'],
    [group.provisioningState !== 'Failed' && group.state !== 'Failed', 'it failed', state],
    [group.state !== 'Stopped', 'it is stopped', state]
  ]
  const { deployment } = run.state.get()
  const isLeft = isFirst && deployment !== undefined
  const isFinished = !isLeft && group.state === 'Running' && group.ip !== undefined
  const sealed = sealedTextOf(group)
  const plan = await planSecrets(run, secretsKeys(results), sealed)
  const secretsAreCurrent = plan.isCurrent && plan.current?.text === sealed
  return [
    ...immutable.flatMap(([same, text, property]) =>
      same ? [] : [{ text, immutable: true, ...(property === undefined ? {} : { property }) }]
    ),
    ...(group.dnsLabel === place.label ? [] : [{ text: 'its DNS label differs', immutable: false }]),
    ...(secretsAreCurrent
      ? []
      : [
          {
            text: 'its provider keys differ',
            immutable: false,
            isSecrets: true as const,
            property: { property: 'router.env.CONFROUTER_SECRETS', from: '(sealed)', to: '(sealed anew)' }
          }
        ]),
    // Left by a run that was killed: what it began is waited for or resumed.
    ...(isFinished
      ? []
      : [
          {
            text: 'its deployment is not finished',
            immutable: false,
            property: { property: 'state', from: group.state, to: 'Running' }
          }
        ])
  ]
}

function samePorts(a: readonly number[], b: readonly number[]): boolean {
  return canonicalJson(a.toSorted((x, y) => x - y)) === canonicalJson(b.toSorted((x, y) => x - y))
}

function sameIds(a: readonly string[], b: readonly string[]): boolean {
  const normal = (ids: readonly string[]) => canonicalJson(ids.map((id) => id.toLowerCase()).sort())
  return normal(a) === normal(b)
}
