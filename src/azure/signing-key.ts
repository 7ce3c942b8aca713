import type { KeyVaultKey } from '@azure/keyvault-keys'
import { sha256Hex } from '../base/digest.js'
import { decodeHex, encodeBase64Url } from '../base/encoding.js'
import { hasCode } from './errors.js'
import { reach, readKey, recoverKey, type VaultAccess } from './vault-key.js'

/** The current version of a key that signs and never leaves the vault. */
export interface SigningKey {
  /** `https://VAULT/keys/NAME/VERSION`. */
  readonly id: string
  readonly name: string
  readonly version: string
  /** RFC 7518 section 6.2. */
  readonly publicKey: { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
}

/** A key of this name that cannot do what is wanted of it, with the reason in words. */
export interface UnusableKey {
  readonly name: string
  readonly unusable: string
}

/** The key of this name, whatever it is; undefined only if the vault itself says that there is none. */
export async function getSigningKey(vault: VaultAccess, name: string): Promise<SigningKey | UnusableKey | undefined> {
  return readKey(vault, name, describe)
}

/**
 * Makes a non-exportable P-256 key in the vault's HSM. Each call on one name makes a new version, so ask
 * {@link getSigningKey} first. A soft-deleted key of this name is recovered instead: it is the key that
 * the deployments of before have measured.
 */
export async function createSigningKey(vault: VaultAccess, name: string): Promise<SigningKey | UnusableKey> {
  const client = await vault.azure.keys(vault.vaultUri)
  return reach(vault, name, async () => {
    try {
      return describe(
        await client.createKey(name, 'EC-HSM', {
          curve: 'P-256',
          exportable: false,
          keyOps: ['sign', 'verify'],
          abortSignal: vault.azure.signal
        })
      )
    } catch (error) {
      if (!hasCode(error, 'ObjectIsDeletedButRecoverable')) throw error
      vault.onWait('recovering the soft-deleted signing key')
      return recoverKey(vault, name, describe)
    }
  })
}

/** ES256 (RFC 7518 section 3.4) by the vault: it gets the digest, and gives `r ‖ s`. */
export async function signWithVault(vault: VaultAccess, key: SigningKey, data: Uint8Array): Promise<Uint8Array> {
  const client = await vault.azure.keys(vault.vaultUri)
  const digest = decodeHex(sha256Hex(data), 'digest')
  return reach(vault, key.name, async () => {
    const cryptography = client.getCryptographyClient(key.name, { keyVersion: key.version })
    const { result } = await cryptography.sign('ES256', digest, { abortSignal: vault.azure.signal })
    return result
  })
}

function describe(key: KeyVaultKey): SigningKey | UnusableKey {
  const { name, id, properties, keyType, keyOperations = [] } = key
  const { crv, x, y } = key.key ?? {}
  const problems = [
    ...(keyType === 'EC' || keyType === 'EC-HSM' ? [] : [`it is of type ${keyType ?? 'unknown'}, not EC`]),
    ...(crv === 'P-256' ? [] : [`its curve is ${crv ?? 'unknown'}, not P-256`]),
    ...(properties.exportable === true ? ['it is exportable, so others can have it'] : []),
    ...(properties.enabled === false ? ['it is disabled'] : []),
    ...(keyOperations.includes('sign') ? [] : ['its operations do not include sign'])
  ]
  if (
    problems.length === 0 &&
    (x === undefined || y === undefined || id === undefined || properties.version === undefined)
  )
    problems.push('the vault does not say what it is')
  if (problems.length > 0) return { name, unusable: problems.join('; ') }
  return {
    id: id ?? '',
    name,
    version: properties.version ?? '',
    publicKey: { kty: 'EC', crv: 'P-256', x: coordinate(x), y: coordinate(y) }
  }
}

/** 32 bytes, whether or not the vault writes leading zeros. */
function coordinate(bytes: Uint8Array = new Uint8Array()): string {
  const padded = new Uint8Array(32)
  const significant = bytes.subarray(Math.max(0, bytes.length - 32))
  padded.set(significant, 32 - significant.length)
  return encodeBase64Url(padded)
}
