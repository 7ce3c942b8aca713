import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { canonicalJson } from '../base/json.js'
import { groupChanges } from '../plan/group-properties.js'
import type { PropertyChange } from '../plan/properties.js'
import { publicPorts } from '../plan/router-ports.js'
import { denialError } from '../azure/policy-denial.js'
import { findDenial } from './denial.js'
import { activeGroupName } from './generation.js'
import { deployGroup, type GroupTarget, removeGroup, removeReplica } from './group-deployment.js'
import { existingOutput, hostDataOfGroup, outputOfGroup } from './group-output.js'
import { authorityOfTemplate } from './group-template.js'
import { addressesOf, makeActive, publish, trustInForce } from './published.js'
import { checkReplica } from './replica-health.js'
import {
  deployReplica,
  deployReplicas,
  replicaOutput,
  retireReplicas,
  surplusReplicas,
  wantedReplicas
} from './replicas.js'
import type { Note, Outputs, ReplicaOutput, Results, Run, Step } from './run.js'
import { bundleForGroup, planSecrets, sealedTextOf, secretsKeys } from './sealed-secrets.js'

/** Seals the provider keys to the released key, deploys the template, once for each replica, and waits until they run. */
export const deployStep: Step<'deploy'> = {
  id: 'deploy',
  title: 'container group',
  needs: ['policy', 'key', 'vault', 'signing-key', 'identity', 'roles'],
  async observe(run, results) {
    const name = activeGroupName(run)
    const [first, ...others] = await Promise.all(
      [name, ...wantedReplicas(run, name)].map((each) => look(run, results, each, each === name))
    )
    if (first === undefined) throw new Error('there is a first group')
    const fleet = { first, others, surplus: surplusReplicas(run, name) }
    if (isAsWanted(fleet) && first.group !== undefined) {
      return { action: 'none', output: outputWith(outputOfGroup(run, first.group), outputsOf(run, others)) }
    }
    const { group } = first
    return {
      action: group === undefined ? 'create' : first.mustReplace ? 'replace' : 'update',
      reason: reasonOf(fleet),
      ...(group === undefined
        ? {}
        : {
            existing: outputWith(
              existingOutput(run, group),
              outputsOf(
                run,
                others.filter(({ group }) => group?.ip !== undefined)
              )
            )
          }),
      properties: [
        ...(group !== undefined && first.differences.length === 0
          ? []
          : groupProperties(results, group, first.differences)),
        ...replicaProperties(fleet)
      ],
      apply: (note) => deployFleet(run, results, fleet, note)
    }
  }
}

/** A group that is wanted, as it is. */
interface Observed {
  readonly name: string
  readonly group: ContainerGroup | undefined
  readonly differences: readonly Difference[]
  readonly mustReplace: boolean
}

interface Fleet {
  readonly first: Observed
  readonly others: readonly Observed[]
  /** Made here and no longer wanted, by name. */
  readonly surplus: readonly string[]
}

async function look(run: Run, results: Results, name: string, isFirst: boolean): Promise<Observed> {
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, name)
  const differences = group === undefined ? [] : await differencesOf(run, results, group, isFirst)
  return { name, group, differences, mustReplace: differences.some(({ immutable }) => immutable) }
}

function isSame({ group, differences }: Observed): boolean {
  return group !== undefined && differences.length === 0
}

function isAsWanted({ first, others, surplus }: Fleet): boolean {
  return [first, ...others].every(isSame) && surplus.length === 0
}

function reasonOf({ first, others, surplus }: Fleet): string {
  const absent = [first, ...others].filter(({ group }) => group === undefined)
  return [
    ...(absent.length === 0 ? [] : [`creating ${quoted(absent.map(({ name }) => name))}`]),
    ...first.differences.map(({ text }) => text),
    ...others.flatMap(({ name, differences }) => differences.map(({ text }) => `"${name}": ${text}`)),
    ...(surplus.length === 0 ? [] : [`removing ${quoted(surplus)}`])
  ].join(', ')
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ')
}

function replicaProperties({ others, surplus }: Fleet): readonly PropertyChange[] {
  return [
    ...others.flatMap(({ name, group, differences, mustReplace }): readonly PropertyChange[] => {
      const property = `replica.${name}`
      if (group === undefined) return [{ property, from: null, to: 'Running' }]
      if (differences.length === 0) return []
      const from = differences.map(({ text }) => text).join(', ')
      return [{ property, from, to: 'as the first group', ...(mustReplace ? { forces: 'replace' as const } : {}) }]
    }),
    ...surplus.map((name) => ({ property: `replica.${name}`, from: 'Running', to: null }))
  ]
}

function outputsOf(run: Run, observed: readonly Observed[]): readonly ReplicaOutput[] {
  return observed.flatMap(({ group }) => (group === undefined ? [] : [replicaOutput(run, group)]))
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
  const { first, others, surplus } = fleet
  // Before anything is deleted: the group may have the only copy of what is sealed, and a name may be missing.
  const sealed = [first, ...others].map(({ group }) => sealedTextOf(group)).find((text) => text !== undefined)
  const bundle = await bundleForGroup(run, results, sealed, note)
  const { template, hostData } = results.get('policy')
  const targetOf = ({ name }: Observed): GroupTarget => ({ group: name, template, hostData, bundle })
  const settled = outputsOf(run, others.filter(isSame))
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
  await publishAll(run, results, outputWith(own, reached))
  if (failure !== undefined) throw failure.error
  const different = others.filter((each) => each.group !== undefined && !isSame(each))
  if (different.length > 0) await checkReplica(run, results, own, note)
  for (const each of different) {
    if (each.mustReplace) await removeReplica(run, each.name, note)
    reached.push(await deployReplica(run, results, targetOf(each), note))
    await publishAll(run, results, outputWith(own, reached))
  }
  await retireReplicas(run, surplus, note)
  return outputWith(
    own,
    reached.toSorted((a, b) => rank(fleet, a) - rank(fleet, b))
  )
}

function rank({ others }: Fleet, { group }: ReplicaOutput): number {
  return others.findIndex(({ name }) => name === group)
}

async function deployFirst(
  run: Run,
  first: Observed,
  { target, settled }: { readonly target: GroupTarget; readonly settled: readonly ReplicaOutput[] },
  note: Note
): Promise<ReplicaOutput> {
  if (first.group !== undefined && isSame(first)) return outputOfGroup(run, first.group)
  if (first.mustReplace) await removeGroup(run, first.name, note)
  const { output, generation } = await deployGroup(run, target, note)
  await makeActive(run, generation, outputWith(output, settled))
  return output
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
}

async function differencesOf(
  run: Run,
  results: Results,
  group: ContainerGroup,
  isFirst: boolean
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
    ...(group.dnsLabel === (isFirst ? containerGroup.dnsLabel : undefined)
      ? []
      : [{ text: 'its DNS label differs', immutable: false }]),
    ...(secretsAreCurrent
      ? []
      : [
          {
            text: 'its provider keys differ',
            immutable: false,
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
