import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { canonicalJson } from '../base/json.js'
import { groupChanges } from '../plan/group-properties.js'
import type { PropertyChange } from '../plan/properties.js'
import { publicPorts } from '../plan/router-ports.js'
import { denialError } from '../azure/policy-denial.js'
import { findDenial } from './denial.js'
import { activeGroupName } from './generation.js'
import { deployGroup, removeGroup } from './group-deployment.js'
import { existingOutput, hostDataOfGroup, outputOfGroup } from './group-output.js'
import { makeActive } from './published.js'
import type { Results, Run, Step } from './run.js'
import { bundleForGroup, planSecrets, sealedTextOf, secretsKeys } from './sealed-secrets.js'

/** Seals the provider keys to the released key, deploys the template and waits until the group runs. */
export const deployStep: Step<'deploy'> = {
  id: 'deploy',
  title: 'container group',
  needs: ['policy', 'key', 'vault', 'signing-key', 'identity', 'roles'],
  async observe(run, results) {
    const { resourceGroup } = run.config
    const name = activeGroupName(run)
    const group = await getContainerGroup(run.azure, resourceGroup, name)
    const differences = group === undefined ? [] : await differencesOf(run, results, group)
    if (group !== undefined && differences.length === 0) return { action: 'none', output: outputOfGroup(run, group) }
    const mustReplace = differences.some(({ immutable }) => immutable)
    return {
      action: group === undefined ? 'create' : mustReplace ? 'replace' : 'update',
      reason: group === undefined ? `creating "${name}"` : differences.map(({ text }) => text).join(', '),
      ...(group === undefined ? {} : { existing: existingOutput(run, group) }),
      properties: groupProperties(results, group, differences),
      apply: async (note) => {
        // Before anything is deleted: the group may have the only copy of what is sealed, and a name may be missing.
        const bundle = await bundleForGroup(run, results, sealedTextOf(group), note)
        if (mustReplace) await removeGroup(run, name, note)
        const target = {
          group: name,
          template: results.get('policy').template,
          hostData: results.get('policy').hostData
        }
        const { output, generation } = await deployGroup(run, { ...target, bundle }, note)
        await makeActive(run, generation, output)
        return output
      }
    }
  }
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

async function differencesOf(run: Run, results: Results, group: ContainerGroup): Promise<readonly Difference[]> {
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
  const isFinished = deployment === undefined && group.state === 'Running' && group.ip !== undefined
  const sealed = sealedTextOf(group)
  const plan = await planSecrets(run, secretsKeys(results), sealed)
  const secretsAreCurrent = plan.isCurrent && plan.current?.text === sealed
  return [
    ...immutable.flatMap(([same, text, property]) =>
      same ? [] : [{ text, immutable: true, ...(property === undefined ? {} : { property }) }]
    ),
    ...(group.dnsLabel === containerGroup.dnsLabel ? [] : [{ text: 'its DNS label differs', immutable: false }]),
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
