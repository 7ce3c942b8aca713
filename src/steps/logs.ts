import { type Container, containerLogs, type GroupEvent, getContainerGroup } from '../azure/container-group.js'
import { denialError } from '../azure/policy-denial.js'
import { UserError } from '../base/user-error.js'
import { findDenial } from './denial.js'
import { activeGroupName } from './generation.js'
import type { Run } from './run.js'

export interface ContainerOutput {
  readonly name: string
  readonly state: string
  readonly restartCount: number
  readonly events: readonly GroupEvent[]
  /** Last lines of what it wrote; empty where the policy gives the host no access to it. */
  readonly lines: readonly string[]
}

export interface GroupOutput {
  readonly group: string
  readonly state: string
  readonly events: readonly GroupEvent[]
  readonly containers: readonly ContainerOutput[]
  /** Why the policy let a container not start, in one sentence with the rule and what mends it. */
  readonly denial: UserError | undefined
}

/**
 * What the containers of the serving group wrote and what the platform says of them. Throws a `UserError`
 * `logs.no-group` if there is no group, and `usage.invalid` for a container that it does not have.
 */
export async function readLogs(
  run: Run,
  wanted: { readonly container: string | undefined; readonly lines: number }
): Promise<GroupOutput> {
  const { resourceGroup } = run.config
  const name = activeGroupName(run)
  const group = await getContainerGroup(run.azure, resourceGroup, name)
  if (group === undefined) {
    throw new UserError('config', 'logs.no-group', `there is no container group "${name}" in "${resourceGroup}"`, {
      next: ['confrouter up', 'confrouter status']
    })
  }
  const chosen = group.containers.filter((each) => wanted.container === undefined || each.name === wanted.container)
  if (chosen.length === 0) {
    throw new UserError('usage', 'usage.invalid', `the group has no container "${wanted.container ?? ''}"`, {
      why: `it has ${group.containers.map((each) => each.name).join(', ')}`,
      next: group.containers.map((each) => `confrouter logs ${each.name}`)
    })
  }
  const outputOf = async ({ name: container, state, restartCount, events }: Container): Promise<ContainerOutput> => {
    const text = await containerLogs(run.azure, resourceGroup, name, container, wanted.lines)
    const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n').slice(-wanted.lines)
    return { name: container, state, restartCount, events, lines }
  }
  const denial = findDenial(group)
  return {
    group: name,
    state: group.state,
    events: group.events,
    containers: await Promise.all(chosen.map(outputOf)),
    denial: denial && denialError(name, denial)
  }
}
