import { type ContainerGroup, containerLogs, type GroupEvent } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { denialError } from '../azure/policy-denial.js'
import { findDenial } from './denial.js'
import type { Run } from './run.js'

/** Why a group does not start, from its events and the last line of what its container said; undefined if nothing is wrong. */
export async function startProblem(run: Run, group: ContainerGroup): Promise<UserError | undefined> {
  const denial = findDenial(group)
  if (denial !== undefined) return denialError(group.name, denial)
  const restarting = group.containers.find(({ restartCount }) => restartCount >= 2)
  if (restarting !== undefined) return keepsEnding(run, group, restarting.name, restarting.restartCount)
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

async function keepsEnding(run: Run, group: ContainerGroup, container: string, restarts: number): Promise<UserError> {
  const { resourceGroup } = run.config
  const logs = await containerLogs(run.azure, resourceGroup, group.name, container, 20).catch(() => '')
  return new UserError(
    'cloud',
    'aci.restarting',
    `container "${container}" keeps ending: it was restarted ${restarts} times`,
    {
      why: lastWords(logs),
      next: [`az container logs -g ${resourceGroup} -n ${group.name} --container-name ${container}`, 'confrouter up']
    }
  )
}

/** The line of an error if there is one, else the last line; our programs write no secrets to their output. */
function lastWords(logs: string): string | undefined {
  const lines = logs.split('\n').filter((line) => line.trim() !== '')
  return (lines.findLast((line) => /error|fatal/i.test(line)) ?? lines.at(-1))?.slice(0, 500)
}
