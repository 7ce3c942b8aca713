import {
  createKey,
  getDeletedKey,
  getKey,
  updateReleasePolicy,
  type VaultAccess,
  type VaultKey
} from '../azure/vault-key.js'
import { canonicalJson } from '../base/json.js'
import { sha256Hex } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import { diffProperties, type Properties } from '../plan/properties.js'
import { hostDataOf, parseReleasePolicy, sameReleasePolicy } from '../policy/index.js'
import type { Note, Results, Run, Step, TrustChange } from './run.js'

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
        properties: diffProperties(
          {},
          {
            name: wanted.name,
            type: 'RSA-HSM',
            size: String(wanted.size),
            exportable: 'true',
            ...policyProperties(releasePolicy)
          }
        ),
        async apply(say) {
          await refuseAnother(run, { ...vault, onWait: say }, wanted.name)
          const created = await createKey({ ...vault, onWait: say }, wanted.name, {
            size: wanted.size,
            releasePolicy,
            softDeleted: run.softDeleted()
          })
          return remember(run, await bind(run, { ...vault, onWait: say }, created, releasePolicy))
        }
      }
    }
    refuseUnusable(key, wanted.size)
    if (isBound(key, releasePolicy)) return { action: 'none', output: key }
    return {
      action: 'update',
      reason: `binding it to host data ${results.get('policy').hostData}`,
      existing: key,
      planned: { ...key, releasePolicy },
      properties: diffProperties(policyProperties(key.releasePolicy), policyProperties(releasePolicy)),
      apply: async (say) => remember(run, await bind(run, { ...vault, onWait: say }, key, releasePolicy))
    }
  }
}

/**
 * A key that was made or bound from here and is not there any more was deleted by somebody, and a new one of its name
 * would be another key: every caller's pin and all that was sealed would be lost without a question. A soft-deleted one
 * is recovered, which is the same key, or purged by whoever asked for that. Throws `key.vanished`.
 */
async function refuseAnother(run: Run, vault: VaultAccess, name: string): Promise<void> {
  const { keyId } = run.state.get()
  const isRecorded = keyId?.toLowerCase().startsWith(`${vault.vaultUri}/keys/${name}/`.toLowerCase()) === true
  if (!isRecorded || run.softDeleted() === 'purge') return
  if ((await getDeletedKey(vault, name)) !== undefined) return
  throw new UserError(
    'cloud',
    'key.vanished',
    `key "${name}" is gone, and no deleted key of its name can be recovered`,
    {
      why: `${keyId} was in use from here, and a new key would be another one: all pins and all that is sealed to it would be lost`,
      next: [
        `az keyvault key list-deleted --vault-name ${run.config.keyVault.name}`,
        'az monitor activity-log list --resource-id VAULT_ID   (who purged it)',
        'set key.name to another name in confrouter.yaml   (another key, which callers have to accept)'
      ]
    }
  )
}

/** What would change in who can obtain the key; empty if there is no key yet or it is bound as wanted. */
export async function trustChanges(run: Run, results: Results, note: Note): Promise<readonly TrustChange[]> {
  return keyChanges(run, results, results.get('policy').releasePolicy, note)
}

/** The same for any release policy. */
export async function keyChanges(
  run: Run,
  results: Results,
  releasePolicy: string,
  note: Note
): Promise<readonly TrustChange[]> {
  const key = await getKey(vaultAccess(run, results, note), run.config.key.name)
  return key === undefined ? [] : changesBetween(key.releasePolicy, releasePolicy)
}

/**
 * Compares two release policies in the terms of who is trusted: which host data gets the key, and
 * whose attestation tokens are believed. What is left is named as other conditions.
 */
export function changesBetween(before: string | undefined, after: string): readonly TrustChange[] {
  if (isSame(before, after)) return []
  const from = {
    pins: before === undefined ? [] : pinsOf(before),
    authorities: before === undefined ? [] : authoritiesOf(before)
  }
  const to = { pins: pinsOf(after), authorities: authoritiesOf(after) }
  const changes: TrustChange[] = []
  const compare = (what: TrustChange['what'], old: readonly string[], wanted: readonly string[]) => {
    if (canonicalJson([...old].sort()) === canonicalJson([...wanted].sort())) return
    changes.push({ what, from: old.join(', ') || '(none)', to: wanted.join(', ') })
  }
  compare('host data', from.pins, to.pins)
  compare('attestation authority', from.authorities, to.authorities)
  if (changes.length === 0) changes.push({ what: 'conditions of release', from: before ?? '(none)', to: after })
  return changes
}

/** A release policy in the terms of a plan. What has no name of its own is told apart by the hash of the whole. */
function policyProperties(releasePolicy: string | undefined): Properties {
  if (releasePolicy === undefined) return {}
  return {
    'released to host data': [...pinsOf(releasePolicy)].sort().join(', '),
    'believed authority': [...new Set(authoritiesOf(releasePolicy))].sort().join(', '),
    'release policy': `sha256:${sha256Hex(releasePolicy)}`
  }
}

export function authoritiesOf(releasePolicy: string): readonly string[] {
  try {
    return parseReleasePolicy(releasePolicy).anyOf.map(({ authority }) => authority.replace(/\/$/, ''))
  } catch {
    return ['(a policy that cannot be read)']
  }
}

/** Host data that a release policy's text accepts. One that cannot be read may accept anything, and says so. */
export function pinsOf(releasePolicy: string): readonly string[] {
  try {
    const pins = hostDataOf(parseReleasePolicy(releasePolicy))
    return pins === 'any' ? ['any'] : pins
  } catch {
    return ['(a policy that cannot be read)']
  }
}

export function vaultAccess(run: Run, results: Results, note: Note): VaultAccess {
  return { azure: run.azure, vaultUri: results.get('vault').vaultUri, onWait: note }
}

async function remember(run: Run, key: VaultKey): Promise<VaultKey> {
  await run.state.update((state) => ({ ...state, keyId: key.id }))
  return key
}

function bind(run: Run, vault: VaultAccess, key: VaultKey, releasePolicy: string): Promise<VaultKey> {
  return bindKey(run, vault, key, releasePolicy, changesBetween(key.releasePolicy, releasePolicy))
}

/**
 * Updates the policy if it differs, once every change of trust in `approve` is approved, and believes only what
 * the vault says when it is asked for the key again.
 */
export async function bindKey(
  run: Run,
  vault: VaultAccess,
  key: VaultKey,
  releasePolicy: string,
  approve: readonly TrustChange[]
): Promise<VaultKey> {
  refuseUnusable(key, run.config.key.size)
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
  for (const change of approve) await run.approveTrust(change)
  await updateReleasePolicy(vault, key, releasePolicy)
  const updated = await getKey(vault, key.name)
  if (updated?.id === key.id && isBound(updated, releasePolicy)) return updated
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
  return isSame(key.releasePolicy, releasePolicy)
}

function isSame(before: string | undefined, after: string): boolean {
  if (before === undefined) return false
  try {
    return sameReleasePolicy(parseReleasePolicy(before), parseReleasePolicy(after))
  } catch {
    // A text that is no release policy is not ours.
    return false
  }
}

function refuseUnusable(key: VaultKey, size: number): void {
  if (key.size !== size) {
    throw new UserError('config', 'key.different', `key "${key.name}" has ${key.size} bits, wanted ${size}`, {
      why: 'the size of a key cannot be changed',
      next: [`set key.size: ${key.size} in confrouter.yaml`, 'set key.name to another name in confrouter.yaml']
    })
  }
  const problem = !key.hsm ? 'is not an HSM key' : !key.exportable ? 'is not exportable' : undefined
  if (problem === undefined) return
  throw new UserError('config', 'key.not-exportable', `key "${key.name}" ${problem}, so it can never be released`, {
    why: 'neither can be changed after a key was made',
    next: ['set key.name to another name in confrouter.yaml']
  })
}
