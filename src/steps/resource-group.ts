import { createResourceGroup, getResourceGroup } from '../azure/resource-group.js'
import { registerProvider, unregisteredProviders } from '../azure/resource-providers.js'
import { UserError } from '../base/user-error.js'
import { diffProperties } from '../plan/properties.js'
import { recordCreated, resourceGroupId } from './created.js'
import { requireRegions } from './regions.js'
import type { Step } from './run.js'

export const resourceGroupStep: Step<'resource-group'> = {
  id: 'resource-group',
  title: 'resource group',
  needs: [],
  async observe(run) {
    const { resourceGroup: name, location } = run.config
    const [group, unregistered] = await Promise.all([
      getResourceGroup(run.azure, name),
      unregisteredProviders(run.azure),
      requireRegions(run.azure, run.config)
    ])
    if (group !== undefined && group.location !== location) {
      throw new UserError(
        'config',
        'resource-group.location',
        `resource group "${name}" is in ${group.location}, not in ${location}`,
        {
          why: 'a resource group cannot move',
          next: [
            `set location: ${group.location} in confrouter.yaml`,
            'set resourceGroup to another name in confrouter.yaml'
          ]
        }
      )
    }
    if (group !== undefined && unregistered.length === 0) return { action: 'none', output: group }
    return {
      action: group === undefined ? 'create' : 'update',
      reason: unregistered.length > 0 ? `registering ${unregistered.join(', ')}` : `creating it in ${location}`,
      planned: group ?? { id: resourceGroupId(run), name, location },
      properties: [
        ...(group === undefined ? diffProperties({}, { name, location }) : []),
        ...unregistered.map((namespace) => ({ property: namespace, from: 'not registered', to: 'registered' }))
      ],
      async apply() {
        await Promise.all(unregistered.map((namespace) => registerProvider(run.azure, namespace)))
        if (group !== undefined) return group
        await recordCreated(run, resourceGroupId(run))
        return createResourceGroup(run.azure, name, location)
      }
    }
  }
}
