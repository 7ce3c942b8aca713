import { createAttestationProvider, getAttestationProvider } from '../azure/attestation.js'
import { diffProperties } from '../plan/properties.js'
import { recordCreated, resourceId } from './created.js'
import type { Step } from './run.js'

export const attestationStep: Step<'attestation'> = {
  id: 'attestation',
  title: 'attestation provider',
  needs: ['resource-group'],
  async observe(run) {
    const { attestation, resourceGroup, location } = run.config
    if (attestation.endpoint !== undefined) {
      return { action: 'none', output: { attestUri: attestation.endpoint }, says: 'shared endpoint' }
    }
    const provider = await getAttestationProvider(run.azure, resourceGroup, attestation.name)
    if (provider !== undefined) return { action: 'none', output: provider }
    return {
      action: 'create',
      reason: `creating "${attestation.name}"`,
      properties: diffProperties({}, { name: attestation.name, location }),
      async apply() {
        await recordCreated(run, resourceId(run, 'Microsoft.Attestation/attestationProviders', attestation.name))
        return createAttestationProvider(run.azure, resourceGroup, attestation.name, location)
      }
    }
  }
}
