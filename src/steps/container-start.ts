import { type Container, type ContainerGroup, containerLogs, type GroupEvent } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { denialError } from '../azure/policy-denial.js'
import { findDenial } from './denial.js'
import type { Run } from './run.js'

/** A container that was started again this often does not run, whatever the group says. */
export const failingRestarts = 2

/** Why a group does not start, from its events and the last line of what its container said; undefined if nothing is wrong. */
export async function startProblem(run: Run, group: ContainerGroup): Promise<UserError | undefined> {
  const denial = findDenial(group)
  if (denial !== undefined) return denialError(group.name, denial)
  const restarting = group.containers.find(({ restartCount }) => restartCount >= failingRestarts)
  if (restarting !== undefined) return keepsEnding(run, group, restarting)
  const pull = allEvents(group).find(({ name, message }) => name === 'Failed' && /^failed to pull image/i.test(message))
  if (pull !== undefined) {
    return new UserError(
      'cloud',
      'aci.image-inaccessible',
      `Azure cannot pull an image of container group "${group.name}"`,
      {
        why: pull.message,
        next: ['make the repository public, or give the container group a login for it', 'confrouter build']
      }
    )
  }
  const portInUse = allEvents(group).find(({ name }) => name === 'ContainerPortInUse')
  if (portInUse !== undefined) {
    return new UserError('machine', 'port.taken', `container group "${group.name}" cannot have its ports`, {
      why: portInUse.message,
      next: [
        'set containerGroup.port, sidecar.port or router.tls.port to a free port in confrouter.yaml',
        'CONFROUTER_CONTAINER_GROUP_PORT=PORT CONFROUTER_SIDECAR_PORT=PORT confrouter up --local'
      ]
    })
  }
  if (group.state !== 'Failed' && group.provisioningState !== 'Failed') return undefined
  const warning = allEvents(group).findLast(({ type }) => type === 'Warning' || type === 'Error')
  return new UserError('cloud', 'aci.failed', `container group "${group.name}" failed to start`, {
    why: warning?.message ?? group.containers.find(({ detail }) => detail !== undefined)?.detail,
    next: ['confrouter status', 'confrouter up']
  })
}

function allEvents(group: ContainerGroup): readonly GroupEvent[] {
  return [...group.containers.flatMap(({ events }) => events), ...group.events]
}

/** What the platform says by the exit code alone. */
const exitMeanings: Readonly<Record<number, { readonly why: string; readonly next: string }>> = {
  137: {
    why: 'it needed more memory than it was given (exit code 137)',
    next: 'set containerGroup.memoryGb and sidecar.memoryGb to more in confrouter.yaml'
  },
  139: {
    why: 'it broke a rule of memory access (exit code 139), which an image of another platform does',
    next: 'confrouter build'
  },
  7147: { why: 'the platform could not run it (exit code 7147)', next: 'confrouter up' },
  7148: { why: 'the platform could not run it (exit code 7148)', next: 'confrouter up' }
}

async function keepsEnding(
  run: Run,
  group: ContainerGroup,
  { name: container, restartCount: restarts, exitCode }: Container
): Promise<UserError> {
  const { resourceGroup } = run.config
  const meaning = exitCode === undefined ? undefined : exitMeanings[exitCode]
  const logs = await containerLogs(run.azure, resourceGroup, group.name, container, 20).catch(() => '')
  return new UserError(
    'cloud',
    'aci.restarting',
    `container "${container}" keeps ending: it was restarted ${restarts} times`,
    {
      why: meaning?.why ?? lastWords(logs),
      next: [
        ...(meaning === undefined ? [] : [meaning.next]),
        `az container logs -g ${resourceGroup} -n ${group.name} --container-name ${container}`,
        'confrouter up'
      ]
    }
  )
}

/** The line of an error if there is one, else the last line; our programs write no secrets to their output. */
function lastWords(logs: string): string | undefined {
  const lines = logs.split('\n').filter((line) => line.trim() !== '')
  return (lines.findLast((line) => /error|fatal/i.test(line)) ?? lines.at(-1))?.slice(0, 500)
}
