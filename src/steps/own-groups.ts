import { type ContainerGroup, findContainerGroups } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { resourceId } from './created.js'
import type { Run } from './run.js'

/** Measured in every router: the name of the deployment whose provider keys it takes. */
const deploymentVariable = 'CONFROUTER_DEPLOYMENT'

/**
 * Whether a group is one of this deployment: its router was told so, which is part of its host data, or it is recorded
 * as made here. No other one is ever changed or deleted.
 */
function isOwn(run: Pick<Run, 'config' | 'azure' | 'state'>, group: ContainerGroup): boolean {
  const id = resourceId(run, 'Microsoft.ContainerInstance/containerGroups', group.name).toLowerCase()
  return isOfDeployment(run, group) || run.state.get().created.some((made) => made.toLowerCase() === id)
}

function isOfDeployment({ config }: Pick<Run, 'config'>, { containers }: ContainerGroup): boolean {
  const router = containers.find(({ name }) => name === 'router')
  return router?.environment[deploymentVariable] === config.containerGroup.name
}

/** Throws `aci.name-taken` for a group that is not of this deployment. */
export function requireOwn(run: Pick<Run, 'config' | 'azure' | 'state'>, group: ContainerGroup): void {
  if (isOwn(run, group)) return
  const { resourceGroup, containerGroup } = run.config
  throw new UserError(
    'config',
    'aci.name-taken',
    `container group "${group.name}" in "${resourceGroup}" is not one of this deployment; it is left alone`,
    {
      why: `it is not recorded as made here, and its router has no variable ${deploymentVariable} with "${containerGroup.name}"`,
      next: [
        'set containerGroup.name to another name in confrouter.yaml',
        `az container show -g ${resourceGroup} -n ${group.name}`
      ]
    }
  )
}

/** The same for every group that is there under one of these names. */
export async function requireOwnNames(run: Run, names: readonly string[]): Promise<void> {
  const wanted = new Set(names.map((name) => name.toLowerCase()))
  const groups = await findContainerGroups(run.azure, run.config.resourceGroup, (name) =>
    wanted.has(name.toLowerCase())
  )
  for (const group of groups) requireOwn(run, group)
}
