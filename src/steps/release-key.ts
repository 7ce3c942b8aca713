import { createKey, getKey, updateReleasePolicy, type VaultAccess, type VaultKey } from '../azure/vault-key.js'
import { UserError } from '../base/user-error.js'
import { hostDataOf, parseReleasePolicy, sameReleasePolicy } from '../policy/index.js'
import type { Note, Results, Run, Step } from './run.js'

/**
 * The exportable RSA-HSM key under a release policy that names the host data. The current key is
 * compared as JSON, and a new version is never made for nothing: it would be another key, and every
 * caller's pin and every sealed secret would be lost.
 */
export const keyStep: Step<'key'> = {
  id: 'key',
  title: 'key',
  needs: ['policy', 'vault', 'roles'],
  async observe(run, results, note) {
    const vault = vaultAccess(run, results, note)
    const { key: wanted } = run.config
    const releasePolicy = results.get('policy').releasePolicy
    const key = await getKey(vault, wanted.name)
    if (key === undefined) {
      return {
        action: 'create',
        reason: `creating "${wanted.name}", RSA-HSM ${wanted.size}, exportable under the release policy`,
        async apply(say) {
          const created = await createKey({ ...vault, onWait: say }, wanted.name, { size: wanted.size, releasePolicy })
          return remember(run, await bind(run, { ...vault, onWait: say }, created, releasePolicy))
        }
      }
    }
    refuseUnusable(key)
    if (isBound(key, releasePolicy)) return { action: 'none', output: key }
    return {
      action: 'update',
      reason: `binding it to host data ${results.get('policy').hostData}`,
      existing: key,
      apply: async (say) => remember(run, await bind(run, { ...vault, onWait: say }, key, releasePolicy))
    }
  }
}

/** Host data that the vault's key is released to today, or undefined if there is no such key yet. */
export async function currentKeyPins(run: Run, results: Results, note: Note): Promise<readonly string[] | undefined> {
  const key = await getKey(vaultAccess(run, results, note), run.config.key.name)
  return key?.releasePolicy === undefined ? undefined : pinsOf(key.releasePolicy)
}

/** Host data that a release policy's text accepts; empty if it cannot be read as one. */
export function pinsOf(releasePolicy: string): readonly string[] {
  try {
    const pins = hostDataOf(parseReleasePolicy(releasePolicy))
    return pins === 'any' ? ['any'] : pins
  } catch {
    // Somebody else's policy: it accepts none of ours, which is what the comparison then says.
    return []
  }
}

function vaultAccess(run: Run, results: Results, note: Note): VaultAccess {
  return { azure: run.azure, vaultUri: results.get('vault').vaultUri, onWait: note }
}

async function remember(run: Run, key: VaultKey): Promise<VaultKey> {
  await run.state.update((state) => ({ ...state, keyId: key.id }))
  return key
}

/** Updates the policy if it differs, and believes only what the vault then says it keeps. */
async function bind(run: Run, vault: VaultAccess, key: VaultKey, releasePolicy: string): Promise<VaultKey> {
  refuseUnusable(key)
  if (isBound(key, releasePolicy)) return key
  if (key.immutablePolicy) {
    throw new UserError(
      'config',
      'key.policy-immutable',
      `the release policy of key "${key.name}" is immutable and accepts other host data`,
      {
        next: ['set key.name to another name in confrouter.yaml']
      }
    )
  }
  await run.approveTrust({
    what: `release policy of key "${key.name}"`,
    from: pinsOf(key.releasePolicy ?? '').join(', ') || '(none)',
    to: pinsOf(releasePolicy).join(', ')
  })
  const updated = await updateReleasePolicy(vault, key, releasePolicy)
  if (isBound(updated, releasePolicy)) return updated
  throw new UserError(
    'cloud',
    'key.policy-not-kept',
    `the vault did not keep the release policy of key "${key.name}"`,
    {
      next: ['run the same command again']
    }
  )
}

function isBound(key: VaultKey, releasePolicy: string): boolean {
  if (key.releasePolicy === undefined) return false
  try {
    return sameReleasePolicy(parseReleasePolicy(key.releasePolicy), parseReleasePolicy(releasePolicy))
  } catch {
    // A text that is no release policy is not ours.
    return false
  }
}

function refuseUnusable(key: VaultKey): void {
  const problem = !key.hsm ? 'is not an HSM key' : !key.exportable ? 'is not exportable' : undefined
  if (problem === undefined) return
  throw new UserError('config', 'key.not-exportable', `key "${key.name}" ${problem}, so it can never be released`, {
    why: 'neither can be changed after a key was made',
    next: ['set key.name to another name in confrouter.yaml']
  })
}
