import { createIdentity, getIdentity } from '../azure/identity.js'
import { diffProperties } from '../plan/properties.js'
import { recordCreated, resourceId } from './created.js'
import type { Step } from './run.js'

export const identityStep: Step<'identity'> = {
  id: 'identity',
  title: 'identity',
  needs: ['resource-group'],
  async observe(run) {
    const { identity, resourceGroup, location } = run.config
    const existing = await getIdentity(run.azure, resourceGroup, identity.name)
    if (existing !== undefined) return { action: 'none', output: existing }
    return {
      action: 'create',
      reason: `creating "${identity.name}"`,
      properties: diffProperties({}, { name: identity.name, location }),
      async apply() {
        await recordCreated(run, resourceId(run, 'Microsoft.ManagedIdentity/userAssignedIdentities', identity.name))
        return createIdentity(run.azure, resourceGroup, identity.name, location)
      }
    }
  }
}
