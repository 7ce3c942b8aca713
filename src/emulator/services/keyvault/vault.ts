/** The vault that a handler serves; Resource Manager's view of it. */
export interface Vault {
  readonly name: string
  /** ARM resource id, the scope at which roles are looked up. */
  readonly resourceId: string
  readonly tenantId: string
  readonly sku: 'premium' | 'standard'
  /** Days between the deletion of a key and its end, 7 to 90. */
  readonly retentionDays: number
  readonly purgeProtection: boolean
  /** `https://host[:port]/`, with or without the slash. */
  readonly vaultUri: string
}

/** The identifier of a key, or of one version of it. */
export function keyId(
  vault: Vault,
  name: string,
  version?: string,
  collection: 'keys' | 'deletedkeys' = 'keys'
): string {
  const base = `${vault.vaultUri.replace(/\/$/, '')}/${collection}/${name}`
  return version === undefined ? base : `${base}/${version}`
}

/** What can still be done with a deleted key; the CLI reads it off a key's attributes. */
export function recoveryLevel(vault: Vault): string {
  const base = vault.retentionDays === 90 ? 'Recoverable' : 'CustomizedRecoverable'
  return vault.purgeProtection ? base : `${base}+Purgeable`
}
