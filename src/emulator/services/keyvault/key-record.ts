import type { Collection, Store } from '../../store.js'

export interface KeyVersion {
  /** 32 lower-case hex characters. */
  readonly version: string
  readonly kty: 'RSA' | 'RSA-HSM' | 'EC' | 'EC-HSM'
  /** Curve of an EC key, by its JOSE name. */
  readonly curve?: string
  readonly keyOps: readonly string[]
  readonly attributes: KeyAttributes
  readonly tags?: Readonly<Record<string, string>>
  readonly releasePolicy?: StoredReleasePolicy
  /** PKCS#8 DER in standard base64. */
  readonly privateKey: string
}

/** Times are in seconds since 1970. */
interface KeyAttributes {
  readonly enabled: boolean
  readonly created: number
  readonly updated: number
  readonly exportable: boolean
  readonly nbf?: number
  readonly exp?: number
}

export interface StoredReleasePolicy {
  readonly contentType: string
  /** Canonical JSON text of the policy. */
  readonly text: string
  readonly immutable: boolean
}

export interface KeyRecord {
  /** As written when the key was made; names are compared without regard to case. */
  readonly name: string
  /** The oldest first; never empty. */
  readonly versions: readonly KeyVersion[]
  /** In seconds since 1970; set while the key is soft-deleted. */
  readonly deletedAt?: number
}

/** The keys of one vault. */
export interface KeyShelf {
  find(name: string): KeyRecord | undefined
  put(record: KeyRecord): Promise<void>
  remove(name: string): Promise<void>
  all(): readonly KeyRecord[]
}

export function keyShelf(store: Store, vaultName: string): KeyShelf {
  const collection: Collection<KeyRecord> = store.collection('key-vault-keys')
  const prefix = `${vaultName.toLowerCase()}/`
  const idOf = (name: string): string => prefix + name.toLowerCase()
  return {
    find: (name) => collection.get(idOf(name)),
    put: (record) => collection.set(idOf(record.name), record),
    remove: async (name) => {
      await collection.delete(idOf(name))
    },
    all: () =>
      collection
        .entries()
        .filter(([id]) => id.startsWith(prefix))
        .map(([, record]) => record)
  }
}

/** Forgets every key of a vault, for when the vault itself is purged. */
export async function removeVaultKeys(store: Store, vaultName: string): Promise<void> {
  const shelf = keyShelf(store, vaultName)
  for (const { name } of shelf.all()) await shelf.remove(name)
}

/** The version that a request without one means. */
export function latestVersion(record: KeyRecord): KeyVersion {
  const latest = record.versions.at(-1)
  if (latest === undefined) throw new Error(`key ${record.name} has no version`)
  return latest
}
