import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ContainerGroup, deleteContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { deployTemplate, waitForIdleDeployment } from '../azure/deployment.js'
import { sha256Hex } from '../base/digest.js'
import { canonicalJson, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { templateImages } from '../plan/group-properties.js'
import { startProblem } from './container-start.js'
import { recordCreatedGroup } from './created.js'
import { outputOfGroup } from './group-output.js'
import { authorityOfTemplate, withLabel } from './group-template.js'
import type { Naming, Place } from './places.js'
import type { Note, ReplicaOutput, Run } from './run.js'
import type { CurrentBundle } from './sealed-secrets.js'
import type { Generation } from './state.js'
import { writeTextAtomically } from '../image/index.js'

/** What is to be deployed, and where. */
export interface GroupTarget {
  readonly place: Place
  /** From what the names of all groups of this deployment follow. */
  readonly naming: Naming
  /** The same for all of them: label and region are those of the place. */
  readonly template: JsonObject
  readonly hostData: string
  /** The provider keys, sealed and signed. */
  readonly bundle: CurrentBundle
  /** Stands beside the first group, at the same time as others: after a kill it is submitted again, not resumed. */
  readonly isReplica?: boolean
}

/**
 * Submits a template with the sealed provider keys and waits until the group runs. The template's bytes are kept
 * before they are submitted, under their hash, so that what was deployed can be looked at and gone back to.
 */
export async function deployGroup(
  run: Run,
  target: GroupTarget,
  note: Note
): Promise<{ readonly output: ReplicaOutput; readonly generation: Generation }> {
  const { place, naming } = target
  await recordCreatedGroup(run, place)
  const templateText = JSON.stringify(withLabel(target.template, place.label))
  const templateSha256 = sha256Hex(templateText)
  await keepTemplate(run, templateSha256, templateText)
  const { text: sealedSecrets, secrets } = target.bundle
  const { hostData } = target
  // Recorded before the deployment, so that the group can be compared with it after a kill.
  await run.state.update((state) => ({ ...state, deployed: { hostData } }))
  const isResumable = target.isReplica !== true
  try {
    await submit(run, place, { templateText, sealedSecrets, isResumable }, note)
  } catch (error) {
    throw (await causeInGroup(run, place.name)) ?? error
  }
  const group = await waitUntilRunning(run, place.name, note)
  const authority = authorityOfTemplate(target.template)
  return {
    output: outputOfGroup(run, group),
    generation: {
      base: run.config.containerGroup.name,
      group: place.name,
      stem: naming.stem,
      home: naming.home,
      hostData,
      image: templateImages(target.template)['router'] ?? '',
      ...(authority === undefined ? {} : { authority }),
      templateSha256,
      sealedSecrets,
      secretVersions: Object.fromEntries(secrets.map(({ name, version }) => [name, version])),
      ...(run.config.smoke.model === undefined ? {} : { smokeModel: run.config.smoke.model }),
      deployedAt: run.now().toISOString()
    }
  }
}

/** Deletes a group, also one whose deployment a killed run left going. */
export async function removeGroup(run: Run, group: string, note: Note): Promise<void> {
  const { resourceGroup } = run.config
  note(`deleting container group "${group}"`)
  await forgetDeployment(run)
  await waitForIdleDeployment(run.azure, resourceGroup, deploymentName(group))
  await deleteContainerGroup(run.azure, resourceGroup, group)
}

/** The same for one beside the first: what a killed run left of the first one's deployment stays recorded. */
export async function removeReplica(run: Run, group: string, note: Note): Promise<void> {
  const { resourceGroup } = run.config
  note(`deleting container group "${group}"`)
  await waitForIdleDeployment(run.azure, resourceGroup, deploymentName(group))
  await deleteContainerGroup(run.azure, resourceGroup, group)
}

/** Submits a recorded template again for one of its groups, with the secrets it had, and with the label of the place. */
export async function submitAgain(run: Run, generation: Generation, place: Place, note: Note): Promise<void> {
  const templateText = JSON.stringify(withLabel(await keptTemplate(run, generation), place.label))
  const { sealedSecrets } = generation
  const isResumable = place.name === generation.group
  await submit(run, place, { templateText, sealedSecrets, isResumable }, note)
  await waitUntilRunning(run, place.name, note)
}

/** The template that a generation was deployed with. Throws `generation.damaged` if the bytes are not those. */
export async function keptTemplate(
  run: Pick<Run, 'state'>,
  { templateSha256, hostData }: Pick<Generation, 'templateSha256' | 'hostData'>
): Promise<JsonObject> {
  const file = templateFile(run, templateSha256)
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text !== undefined && sha256Hex(text) === templateSha256) return JSON.parse(text) as JsonObject
  throw new UserError(
    'machine',
    'generation.damaged',
    `${file} is not the template that host data ${hostData} was deployed with`,
    {
      why: text === undefined ? 'the file is gone' : `its SHA-256 is ${sha256Hex(text)}, recorded is ${templateSha256}`,
      next: ['check out the source of that deployment and run confrouter up']
    }
  )
}

function templateFile(run: Pick<Run, 'state'>, hash: string): string {
  return join(run.state.directory, 'generations', `${hash}.json`)
}

async function keepTemplate(run: Run, hash: string, text: string): Promise<void> {
  await mkdir(join(run.state.directory, 'generations'), { recursive: true })
  await writeTextAtomically(templateFile(run, hash), text)
}

/** Resumes exactly this deployment if a killed run left it going, else waits for whatever goes on and submits it. */
async function submit(
  run: Run,
  { name, location }: Pick<Place, 'name' | 'location'>,
  {
    templateText,
    sealedSecrets,
    isResumable
  }: { readonly templateText: string; readonly sealedSecrets: string; readonly isResumable: boolean },
  note: Note
): Promise<void> {
  const { resourceGroup } = run.config
  const wanted = {
    resourceGroup,
    name: deploymentName(name),
    // Read back from the bytes that were hashed, so that nothing else can be submitted.
    template: JSON.parse(templateText) as JsonObject,
    parameters: { name, location, sealedSecrets }
  }
  const inputs = sha256Hex(canonicalJson([wanted.template, wanted.parameters]))
  const left = isResumable ? run.state.get().deployment : undefined
  const token = left?.inputs === inputs ? left.token : undefined
  if (token === undefined) await waitForIdleDeployment(run.azure, resourceGroup, wanted.name)
  note(token === undefined ? 'deploying' : 'resuming the deployment of an interrupted run')
  await deployTemplate(run.azure, wanted, {
    token,
    save: (saved) =>
      !isResumable
        ? Promise.resolve()
        : saved === undefined
          ? forgetDeployment(run)
          : run.state.update((state) => ({ ...state, deployment: { inputs, token: saved, name: wanted.name } }))
  })
}

function forgetDeployment(run: Run): Promise<void> {
  return run.state.update(({ deployment: _left, ...state }) => state)
}

/**
 * Of a deployment, at most 64 characters. One that is too long is cut, and ends in the hash of the group's name: groups
 * beside each other are deployed at the same time, and their names differ at the end.
 */
export function deploymentName(group: string): string {
  const name = `confrouter-${group}`
  return name.length <= 64 ? name : `${name.slice(0, 55)}-${sha256Hex(group).slice(0, 8)}`
}

/** What the group itself says about its failure; the deployment's error only says that there was one. */
async function causeInGroup(run: Run, name: string): Promise<UserError | undefined> {
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, name).catch(() => undefined)
  return group === undefined ? undefined : startProblem(run, group)
}

/** Ten minutes: images of a few hundred megabytes are pulled and measured in one to three. */
const startMinutes = 10

/** Waits until a group runs and has an address. One that keeps ending does not run, whatever it says. */
export async function waitUntilRunning(run: Run, name: string, note: Note): Promise<ContainerGroup> {
  const { resourceGroup } = run.config
  const deadline = run.now().getTime() + startMinutes * 60_000
  for (;;) {
    const group = await getContainerGroup(run.azure, resourceGroup, name)
    if (group === undefined) {
      throw new UserError('cloud', 'aci.gone', `container group "${name}" is gone after its deployment`, {
        next: ['confrouter up']
      })
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
    note(
      `waiting for the containers: ${group.containers.map(({ name: each, state }) => `${each} ${state}`).join(', ')}`
    )
    await sleep(run.azure.environment.pollIntervalMs, undefined, { signal: run.signal })
  }
}
