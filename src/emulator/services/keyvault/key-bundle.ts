import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { decodeBase64, encodeBase64Url, utf8 } from '../../../base/encoding.js'
import type { KeyRecord, KeyVersion, StoredReleasePolicy } from './key-record.js'
import { latestVersion } from './key-record.js'
import { keyId, recoveryLevel, type Vault } from './vault.js'

const day = 86_400

/** The answer to get, create and update. */
export function keyBundle(vault: Vault, name: string, key: KeyVersion): Record<string, unknown> {
  return {
    key: publicKey(vault, name, key),
    attributes: attributes(vault, key),
    ...(key.tags === undefined ? {} : { tags: key.tags }),
    ...(key.releasePolicy === undefined ? {} : { release_policy: policyBody(key.releasePolicy) })
  }
}

/** One element of a list. A list of keys names them without version, a list of versions with it. */
export function keyItem(vault: Vault, name: string, key: KeyVersion, version?: string): Record<string, unknown> {
  return {
    kid: keyId(vault, name, version),
    attributes: attributes(vault, key),
    ...(key.tags === undefined ? {} : { tags: key.tags })
  }
}

/** The answer to delete, and a deleted key. */
export function deletedKeyBundle(vault: Vault, record: KeyRecord): Record<string, unknown> {
  return { ...keyBundle(vault, record.name, latestVersion(record)), ...deletionMembers(vault, record) }
}

export function deletedKeyItem(vault: Vault, record: KeyRecord): Record<string, unknown> {
  return { ...keyItem(vault, record.name, latestVersion(record)), ...deletionMembers(vault, record) }
}

/** `kid`, `kty`, `key_ops` and the public members; the kid names the version. */
export function publicKey(vault: Vault, name: string, key: KeyVersion): Record<string, unknown> {
  const { n, e, crv, x, y } = createPublicKey(privateKeyOf(key)).export({ format: 'jwk' })
  const head = { kid: keyId(vault, name, key.version), kty: key.kty, key_ops: key.keyOps }
  if (key.kty === 'EC' || key.kty === 'EC-HSM') return { ...head, crv: key.curve ?? crv, x, y }
  // Recorded from real vaults: the HSM gives the exponent as four bytes, 00 01 00 01.
  return { ...head, n, e: key.kty === 'RSA-HSM' && e === 'AQAB' ? 'AAEAAQ' : e }
}

export function attributes(vault: Vault, key: KeyVersion): Record<string, unknown> {
  return { ...key.attributes, recoveryLevel: recoveryLevel(vault), recoverableDays: vault.retentionDays }
}

export function policyBody(policy: StoredReleasePolicy): Record<string, unknown> {
  return {
    contentType: policy.contentType,
    data: encodeBase64Url(utf8.encode(policy.text)),
    immutable: policy.immutable
  }
}

function privateKeyOf(key: KeyVersion): KeyObject {
  return createPrivateKey({
    key: Buffer.from(decodeBase64(key.privateKey, 'stored key')),
    format: 'der',
    type: 'pkcs8'
  })
}

function deletionMembers(vault: Vault, record: KeyRecord): Record<string, unknown> {
  const deletedDate = record.deletedAt ?? 0
  return {
    recoveryId: keyId(vault, record.name, undefined, 'deletedkeys'),
    deletedDate,
    scheduledPurgeDate: deletedDate + vault.retentionDays * day
  }
}
