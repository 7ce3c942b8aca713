import { createSigningKey, getSigningKey, type SigningKey, type UnusableKey } from '../azure/signing-key.js'
import { UserError } from '../base/user-error.js'
import { diffProperties } from '../plan/properties.js'
import { ecThumbprint } from '../seal/ec-key.js'
import type { Outputs, Run, Step } from './run.js'

/**
 * The key that signs the sealed secrets: it never leaves the vault, and its thumbprint is measured. So it
 * comes before the policy, and a new version of it is another host data.
 */
export const signingKeyStep: Step<'signing-key'> = {
  id: 'signing-key',
  title: 'signing key',
  needs: ['vault', 'roles'],
  async observe(run, results, note) {
    const name = signingKeyName(run)
    const vault = { azure: run.azure, vaultUri: results.get('vault').vaultUri, onWait: note }
    const key = await getSigningKey(vault, name)
    if (key !== undefined) return { action: 'none', output: await measured(key) }
    return {
      action: 'create',
      reason: `creating "${name}", EC-HSM P-256, not exportable, which signs the sealed secrets`,
      properties: diffProperties({}, { name, type: 'EC-HSM', curve: 'P-256', exportable: 'false' }),
      apply: async (say) => measured(await createSigningKey({ ...vault, onWait: say }, name))
    }
  }
}

/** Beside the released key and named after it, so that two deployments with their own keys have their own signers. */
function signingKeyName(run: Pick<Run, 'config'>): string {
  return `${run.config.key.name.slice(0, 127 - suffix.length)}${suffix}`
}

const suffix = '-secrets'

async function measured(key: SigningKey | UnusableKey): Promise<Outputs['signing-key']> {
  if ('unusable' in key) {
    throw new UserError('config', 'signing-key.unusable', `key "${key.name}" cannot sign the sealed secrets`, {
      why: key.unusable,
      next: [
        'set key.name to another name in confrouter.yaml',
        `az keyvault key show --vault-name VAULT --name ${key.name}`
      ]
    })
  }
  return { ...key, thumbprint: await ecThumbprint(key.publicKey) }
}
