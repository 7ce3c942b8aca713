import { setTimeout as sleep } from 'node:timers/promises'
import { type ContainerGroup, deleteContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { deployTemplate, waitForIdleDeployment } from '../azure/deployment.js'
import { sha256Hex } from '../base/digest.js'
import { decodeBase64 } from '../base/encoding.js'
import { canonicalJson } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { groupChanges } from '../plan/group-properties.js'
import type { PropertyChange } from '../plan/properties.js'
import { tlsPortVariable } from '../plan/router-environment.js'
import { publicPorts } from '../plan/router-ports.js'
import { sealedSecretsVariable } from '../plan/template.js'
import { startProblem } from './container-start.js'
import { recordCreated, resourceId } from './created.js'
import { denialError } from '../azure/policy-denial.js'
import { findDenial } from './denial.js'
import { activeGroupName } from './generation.js'
import type { Note, Outputs, Results, Run, Step } from './run.js'
import { makeBundle, planSecrets, secretsKeys } from './sealed-secrets.js'

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
    if (group !== undefined && differences.length === 0) return { action: 'none', output: outputOf(run, group) }
    const mustReplace = differences.some(({ immutable }) => immutable)
    return {
      action: group === undefined ? 'create' : mustReplace ? 'replace' : 'update',
      reason: group === undefined ? `creating "${name}"` : differences.map(({ text }) => text).join(', '),
      ...(group === undefined ? {} : { existing: existingOutput(run, group) }),
      properties: groupProperties(results, group, differences),
      apply: (note) => deploy(run, results, { mustReplace, deployedText: sealedTextOf(group) }, note)
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

function sealedTextOf(group: ContainerGroup | undefined): string | undefined {
  return group?.containers.find(({ name }) => name === 'router')?.environment[sealedSecretsVariable]
}

/** HOST_DATA that the platform measures for a group: SHA-256 of the policy's text. */
export function hostDataOfGroup(group: ContainerGroup): string | undefined {
  if (group.ccePolicy === undefined) return undefined
  try {
    return sha256Hex(decodeBase64(group.ccePolicy, 'ccePolicy'))
  } catch {
    // A policy that is no base64 can be nobody's host data.
    return undefined
  }
}

function samePorts(a: readonly number[], b: readonly number[]): boolean {
  return canonicalJson(a.toSorted((x, y) => x - y)) === canonicalJson(b.toSorted((x, y) => x - y))
}

function sameIds(a: readonly string[], b: readonly string[]): boolean {
  const normal = (ids: readonly string[]) => canonicalJson(ids.map((id) => id.toLowerCase()).sort())
  return normal(a) === normal(b)
}

async function deploy(
  run: Run,
  results: Results,
  found: { readonly mustReplace: boolean; readonly deployedText: string | undefined },
  note: Note
): Promise<Outputs['deploy']> {
  const { containerGroup, resourceGroup } = run.config
  // Before anything is deleted: the group may have the only copy of what is sealed, and a name may be missing.
  const sealedSecrets = await currentSealedSecrets(run, results, found.deployedText, note)
  await recordCreated(run, resourceId(run, 'Microsoft.ContainerInstance/containerGroups', containerGroup.name))
  if (found.mustReplace) {
    note('deleting the group, because Azure cannot change this in place')
    await forgetDeployment(run)
    await waitForIdleDeployment(run.azure, resourceGroup, deploymentName(run))
    await deleteContainerGroup(run.azure, resourceGroup, containerGroup.name)
  }
  try {
    await submit(run, results, sealedSecrets, note)
  } catch (error) {
    throw (await causeInGroup(run)) ?? error
  }
  const output = outputOf(run, await waitUntilRunning(run, note))
  await run.state.update(({ tlsEndpoint: _before, ...state }) => ({
    ...state,
    endpoint: output.endpoint,
    ...(output.tlsEndpoint === undefined ? {} : { tlsEndpoint: output.tlsEndpoint })
  }))
  return output
}

/** Resumes exactly this deployment if a killed run left it going, else waits for whatever goes on and submits it. */
async function submit(run: Run, results: Results, sealedSecrets: string, note: Note): Promise<void> {
  const { resourceGroup } = run.config
  const wanted = {
    resourceGroup,
    name: deploymentName(run),
    template: results.get('policy').template,
    parameters: { sealedSecrets }
  }
  const inputs = sha256Hex(canonicalJson([wanted.template, wanted.parameters]))
  const left = run.state.get().deployment
  const token = left?.inputs === inputs ? left.token : undefined
  if (token === undefined) await waitForIdleDeployment(run.azure, resourceGroup, wanted.name)
  note(token === undefined ? 'deploying' : 'resuming the deployment of an interrupted run')
  await deployTemplate(run.azure, wanted, {
    token,
    save: (saved) =>
      saved === undefined
        ? forgetDeployment(run)
        : run.state.update((state) => ({ ...state, deployment: { inputs, token: saved } }))
  })
}

function forgetDeployment(run: Run): Promise<void> {
  return run.state.update(({ deployment: _left, ...state }) => state)
}

function deploymentName(run: Run): string {
  return `confrouter-${run.config.containerGroup.name}`
}

/**
 * The bundle as it is, or a new one. It is recorded before the deployment, so that a run that was killed in
 * between goes on with the same text.
 */
async function currentSealedSecrets(
  run: Run,
  results: Results,
  deployedText: string | undefined,
  note: Note
): Promise<string> {
  const { hostData } = results.get('policy')
  const keys = secretsKeys(results)
  const plan = await planSecrets(run, keys, deployedText)
  const { text: sealedSecrets } =
    plan.isCurrent && plan.current !== undefined ? plan.current : await makeBundle(run, keys, plan, note)
  await run.state.update((state) => ({ ...state, deployed: { hostData, sealedSecrets } }))
  return sealedSecrets
}

/** What the group itself says about its failure; the deployment's error only says that there was one. */
async function causeInGroup(run: Run): Promise<UserError | undefined> {
  const { containerGroup, resourceGroup } = run.config
  const group = await getContainerGroup(run.azure, resourceGroup, containerGroup.name).catch(() => undefined)
  return group === undefined ? undefined : startProblem(run, group)
}

/** Ten minutes: images of a few hundred megabytes are pulled and measured in one to three. */
const startMinutes = 10

async function waitUntilRunning(run: Run, note: Note): Promise<ContainerGroup> {
  const { containerGroup, resourceGroup } = run.config
  const deadline = run.now().getTime() + startMinutes * 60_000
  for (;;) {
    const group = await getContainerGroup(run.azure, resourceGroup, containerGroup.name)
    if (group === undefined) {
      throw new UserError(
        'cloud',
        'aci.gone',
        `container group "${containerGroup.name}" is gone after its deployment`,
        {
          next: ['confrouter up']
        }
      )
    }
    const problem = await startProblem(run, group)
    if (problem !== undefined) throw problem
    if (group.state === 'Running' && group.ip !== undefined) return group
    if (run.now().getTime() > deadline) {
      throw new UserError(
        'cloud',
        'aci.not-running',
        `container group "${group.name}" is ${group.state} after ${startMinutes} minutes`,
        {
          next: ['confrouter status', `az container show -g ${resourceGroup} -n ${group.name}`]
        }
      )
    }
    note(`waiting for the containers: ${group.containers.map(({ name, state }) => `${name} ${state}`).join(', ')}`)
    await sleep(run.azure.environment.pollIntervalMs, undefined, { signal: run.signal })
  }
}

/** A group that was never started has no address: one that cannot exist (RFC 2606), so that nothing else is asked for it. */
function existingOutput(run: Run, group: ContainerGroup): Outputs['deploy'] {
  return outputOf(run, { ...group, ip: group.ip ?? 'not-started.invalid' })
}

function outputOf(run: Run, group: ContainerGroup): Outputs['deploy'] {
  return { ...endpointsOfGroup(run, group), group: group.name, hostData: hostDataOfGroup(group) ?? '(no policy)' }
}

/** Where the group's router is reached. Throws `aci.no-address` while it has no address. */
export function endpointsOfGroup(
  run: Pick<Run, 'config'>,
  group: ContainerGroup
): Pick<Outputs['deploy'], 'endpoint' | 'tlsEndpoint'> {
  const host = group.fqdn ?? group.ip
  if (host === undefined) {
    throw new UserError('cloud', 'aci.no-address', `container group "${group.name}" has no public address`, {
      next: ['confrouter up']
    })
  }
  return endpointsOf(run, group, host)
}

/** By what the group's router was told: the group may be another one than the configuration wants. */
function endpointsOf(
  run: Pick<Run, 'config'>,
  group: ContainerGroup,
  host: string
): Pick<Outputs['deploy'], 'endpoint' | 'tlsEndpoint'> {
  const router = group.containers.find(({ name }) => name === 'router')
  const tlsPort = group.ports.find((port) => String(port) === router?.environment[tlsPortVariable])
  const plainPort = group.ports.find((port) => port !== tlsPort)
  if (tlsPort === undefined) return { endpoint: `http://${host}:${plainPort ?? run.config.containerGroup.port}` }
  const tlsEndpoint = `https://${host}:${tlsPort}`
  return { endpoint: plainPort === undefined ? tlsEndpoint : `http://${host}:${plainPort}`, tlsEndpoint }
}
