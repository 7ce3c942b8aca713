import type { KeyVaultKey } from '@azure/keyvault-keys'
import { encodeBase64Url } from '../base/encoding.js'
import { UserError } from '../base/user-error.js'
import { hasCode, isAbsentKey, isForbiddenByRbac, toUserError } from './errors.js'
import { patiently } from './patience.js'
import type { AzureSession } from './session.js'

/** RSA public key in RFC 7517 form, without optional members. */
export interface RsaPublicJwk {
  readonly kty: 'RSA'
  readonly n: string
  readonly e: string
}

export interface VaultKey {
  /** `https://VAULT/keys/NAME/VERSION`. */
  readonly id: string
  readonly name: string
  readonly publicKey: RsaPublicJwk
  /** Of the modulus, in bits. */
  readonly size: number
  readonly exportable: boolean
  readonly hsm: boolean
  readonly immutablePolicy: boolean
  /** The release policy's JSON text as the vault keeps it. */
  readonly releasePolicy: string | undefined
}

/** A vault as seen from its data plane, with the place where waits are shown. */
export interface VaultAccess {
  readonly azure: AzureSession
  readonly vaultUri: string
  readonly onWait: (reason: string) => void
}

/** Undefined only if the vault itself says that there is no such key. */
export async function getKey(vault: VaultAccess, name: string): Promise<VaultKey | undefined> {
  return readKey(vault, name, describe)
}

/** Reads the current version of a key, whatever it is; undefined if there is none of this name. */
export async function readKey<Read>(
  vault: VaultAccess,
  name: string,
  as: (key: KeyVaultKey) => Read
): Promise<Read | undefined> {
  const client = await vault.azure.keys(vault.vaultUri)
  return reach(vault, name, () =>
    client.getKey(name, { abortSignal: vault.azure.signal }).then(as).catch(absentIfNotFound)
  )
}

function absentIfNotFound(error: unknown): undefined {
  if (!isAbsentKey(error)) throw error
}

/** Brings a soft-deleted key back, which owns its name, and reads it. */
export async function recoverKey<Read>(
  { azure, vaultUri }: VaultAccess,
  name: string,
  as: (key: KeyVaultKey) => Read
): Promise<Read> {
  const client = await azure.keys(vaultUri)
  const poller = await client.beginRecoverDeletedKey(name, {
    intervalInMs: azure.environment.pollIntervalMs,
    abortSignal: azure.signal
  })
  return as(await poller.pollUntilDone())
}

export interface DeletedKey {
  readonly name: string
  readonly scheduledPurgeDate: Date | undefined
  /** Nobody can purge it early. */
  readonly purgeProtection: boolean
}

/** The soft-deleted key of this name, which still owns it; undefined if there is none. */
export async function getDeletedKey(vault: VaultAccess, name: string): Promise<DeletedKey | undefined> {
  const client = await vault.azure.keys(vault.vaultUri)
  return reach(vault, name, async () => {
    const deleted = await client.getDeletedKey(name, { abortSignal: vault.azure.signal }).catch(absentIfNotFound)
    if (deleted === undefined) return undefined
    const { scheduledPurgeDate, recoveryLevel } = deleted.properties
    return { name, scheduledPurgeDate, purgeProtection: recoveryLevel?.includes('Purgeable') !== true }
  })
}

/**
 * Makes an exportable RSA-HSM key under a release policy. Each call on one name makes a new version,
 * so ask {@link getKey} first. A soft-deleted key of this name is recovered, or purged if that is what was asked for: its
 * name is not free.
 */
export async function createKey(
  vault: VaultAccess,
  name: string,
  wanted: { readonly size: number; readonly releasePolicy: string; readonly softDeleted?: 'recover' | 'purge' }
): Promise<VaultKey> {
  const client = await vault.azure.keys(vault.vaultUri)
  const { signal: abortSignal } = vault.azure
  let purged = false
  return reach(vault, name, async () => {
    try {
      const key = await client.createKey(name, 'RSA-HSM', {
        keySize: wanted.size,
        exportable: true,
        keyOps: ['encrypt', 'decrypt', 'wrapKey', 'unwrapKey'],
        releasePolicy: { encodedPolicy: new TextEncoder().encode(wanted.releasePolicy) },
        abortSignal
      })
      return describe(key)
    } catch (error) {
      if (!hasCode(error, 'ObjectIsDeletedButRecoverable')) throw error
      if (wanted.softDeleted !== 'purge') {
        vault.onWait('recovering the soft-deleted key')
        return recoverKey(vault, name, describe)
      }
      if (purged) throw Object.assign(new Error('the purge has not ended'), beingDeleted)
      vault.onWait('purging the soft-deleted key')
      await client.purgeDeletedKey(name, { abortSignal })
      purged = true
      throw Object.assign(new Error('the purge has begun'), beingDeleted)
    }
  })
}

/** Waited for like the service's own answer while a key is being deleted. */
const beingDeleted = {
  statusCode: 409,
  details: {
    error: { code: 'Conflict', message: 'the key is being purged', innererror: { code: 'ObjectIsBeingDeleted' } }
  }
}

/**
 * Binds the current version to another release policy; makes no new version, so the key stays the
 * same. The path names no version: the service takes a release policy only there (AKV.SKR.1016).
 */
export async function updateReleasePolicy(vault: VaultAccess, key: VaultKey, releasePolicy: string): Promise<VaultKey> {
  const client = await vault.azure.keys(vault.vaultUri)
  return reach(vault, key.name, async () =>
    describe(
      await client.updateKeyProperties(key.name, {
        releasePolicy: { encodedPolicy: new TextEncoder().encode(releasePolicy) },
        abortSignal: vault.azure.signal
      })
    )
  )
}

/**
 * Runs one data-plane call, waiting for what is true a moment later: a role assignment that has not
 * reached the vault, and a new vault's name that does not resolve yet. Any other refusal is final.
 */
export async function reach<T>(vault: VaultAccess, keyName: string, call: () => Promise<T>): Promise<T> {
  const { roleWaitSeconds, nameWaitSeconds } = vault.azure.environment
  try {
    return await patiently(vault.azure, vault.onWait, call, (error) => {
      if (isForbiddenByRbac(error))
        return { reason: 'waiting for the role assignment to reach the vault', seconds: roleWaitSeconds }
      if (isUnresolved(error)) return { reason: "waiting for the vault's DNS name", seconds: nameWaitSeconds }
      // A deletion or a purge that has not come to its end.
      if (hasCode(error, 'ObjectIsBeingDeleted'))
        return { reason: 'waiting for the deletion of the key to end', seconds: nameWaitSeconds }
      return undefined
    })
  } catch (error) {
    throw toUserError(error, `key "${keyName}" in ${vault.vaultUri}`)
  }
}

function isUnresolved(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN'
}

function describe(key: KeyVaultKey): VaultKey {
  const { n, e, kty } = key.key ?? {}
  if (n === undefined || e === undefined || key.id === undefined) {
    throw new UserError('cloud', 'key.not-rsa', `key "${key.name}" is of type ${kty ?? 'unknown'}, not RSA`, {
      next: ['set key.name to another name in confrouter.yaml']
    })
  }
  const policy = key.properties.releasePolicy
  return {
    id: key.id,
    name: key.name,
    publicKey: { kty: 'RSA', n: encodeBase64Url(unsigned(n)), e: encodeBase64Url(unsigned(e)) },
    size: unsigned(n).length * 8,
    exportable: key.properties.exportable === true,
    hsm: kty?.endsWith('-HSM') === true,
    immutablePolicy: policy?.immutable === true,
    releasePolicy: policy?.encodedPolicy === undefined ? undefined : new TextDecoder().decode(policy.encodedPolicy)
  }
}

/** Vaults return `e` with leading zero bytes (`AAEAAQ`); RFC 7518 section 6.3.1 and the thumbprint want none. */
function unsigned(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0)
  return first <= 0 ? bytes : bytes.subarray(first)
}
