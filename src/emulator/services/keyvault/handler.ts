import { encodeBase64Url } from '../../../base/encoding.js'
import type { Access, Principal } from '../../access.js'
import { type EmulatorRequest, type EmulatorResponse, type Handler, notImplemented, ServiceError } from '../../http.js'
import type { Store } from '../../store.js'
import { createKeyVersion } from './create-key.js'
import { keyVaultError } from './errors.js'
import { deletedKeyBundle, deletedKeyItem, keyBundle, keyItem } from './key-bundle.js'
import { type KeyRecord, keyShelf, type KeyShelf, type KeyVersion, latestVersion } from './key-record.js'
import { objectBody } from './key-request.js'
import { releaseKey } from './release-key.js'
import { openReleaseSigner, type ReleaseSigner } from './release-signer.js'
import { signWithKey } from './sign.js'
import type { FetchJson } from './target-token.js'
import { updateKeyVersion } from './update-key.js'
import { keyId, type Vault } from './vault.js'

export interface KeyVaultOptions {
  readonly store: Store
  readonly access: Access
  readonly vault: Vault
  /** How the vault reaches attestation authorities: discovery documents and key sets. */
  readonly fetchJson: FetchJson
  readonly clock: () => Date
  /** Origin of Entra, where the challenge sends callers for a token. */
  readonly authorityHost: string
  /** Audience of its tokens: that of Key Vault if left out. Clients refuse a challenge for another domain than the vault's. */
  readonly audience?: string
  /** How long a deletion takes until the deleted key shows; 0 if left out. */
  readonly deletionDelayMs?: number
}

interface Context extends KeyVaultOptions {
  readonly shelf: KeyShelf
  readonly signer: () => Promise<ReleaseSigner>
}

/** The audience of Key Vault tokens in Azure. */
const keyVaultAudience = 'https://vault.azure.net'

/** The data plane of one key vault: keys, deleted keys, their release and signatures by them. */
export function keyVaultHandler(options: KeyVaultOptions): Handler {
  let signer: Promise<ReleaseSigner> | undefined
  const context: Context = {
    ...options,
    shelf: keyShelf(options.store, options.vault.name),
    // Made at the first release: most vaults of a test never have one.
    signer: () => (signer ??= openReleaseSigner(options.store, options.vault, options.clock()))
  }
  return async (request) => {
    try {
      const response = await answer(request, context)
      return { ...response, headers: responseHeaders }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const headers = { ...responseHeaders, ...error.details.headers }
      throw new ServiceError(error.status, error.code, error.message, { ...error.details, headers })
    }
  }
}

const responseHeaders = {
  'cache-control': 'no-cache',
  'x-ms-keyvault-region': 'loopback',
  'x-ms-keyvault-service-version': '1.9.0.0-emulated',
  'strict-transport-security': 'max-age=31536000;includeSubDomains',
  'x-content-type-options': 'nosniff'
}

async function answer(request: EmulatorRequest, context: Context): Promise<EmulatorResponse> {
  const principal = await authenticate(request, context)
  const apiVersion = requireApiVersion(request)
  const route = findRoute(request)
  requireAllowed(principal, route.permission, route.name, context)
  return route.run({ context, request, apiVersion, name: route.name ?? '', version: route.version })
}

async function authenticate(request: EmulatorRequest, context: Context): Promise<Principal> {
  const { access, vault, authorityHost, audience = keyVaultAudience } = context
  const principal = await access.authenticate(request.headers.authorization, audience)
  if (principal !== undefined && principal.tenantId === vault.tenantId) return principal
  const message =
    principal === undefined
      ? 'AKV10000: Request is missing a Bearer or PoP token.'
      : `AKV10032: Invalid issuer. Expected one of https://sts.windows.net/${vault.tenantId}/, found https://sts.windows.net/${principal.tenantId}/.`
  const authorization = `${authorityHost.replace(/\/$/, '')}/${vault.tenantId}`
  throw new ServiceError(401, 'Unauthorized', message, {
    headers: { 'www-authenticate': `Bearer authorization="${authorization}", resource="${audience}"` }
  })
}

/** Azure REST API specifications, "data-plane/Microsoft.KeyVault" and "data-plane/KeyVault". */
const apiVersions = [
  '2016-10-01',
  '7.0',
  '7.1',
  '7.2',
  '7.3-preview',
  '7.3',
  '7.4-preview.1',
  '7.4',
  '7.5-preview.1',
  '7.5',
  '7.6-preview.1',
  '7.6-preview.2',
  '7.6',
  '2025-06-01-preview',
  '2025-07-01'
]

function requireApiVersion(request: EmulatorRequest): string {
  const version = request.query.get('api-version')
  if (version === null) throw keyVaultError.badParameter('api-version must be specified')
  if (!apiVersions.includes(version)) {
    const supported = apiVersions.join(', ')
    throw keyVaultError.badParameter(
      `Unexpected api-version: ${version.slice(0, 40)}. The supported versions are ${supported}.`
    )
  }
  return version
}

interface Call {
  readonly context: Context
  readonly request: EmulatorRequest
  readonly apiVersion: string
  readonly name: string
  readonly version: string | undefined
}

interface Operation {
  /** What follows `Microsoft.KeyVault/vaults/keys/` in the name of the data action. */
  readonly permission: string
  readonly run: (call: Call) => EmulatorResponse | Promise<EmulatorResponse>
}

const name = '(?<name>[0-9a-zA-Z-]{1,127})'
const version = '(?<version>[0-9a-f]{32})'

const operations: readonly (readonly [method: string, path: RegExp, operation: Operation])[] = [
  ['GET', /^\/keys$/, { permission: 'read', run: listKeys }],
  ['GET', pathOf(`/keys/${name}/versions`), { permission: 'read', run: listVersions }],
  ['GET', pathOf(`/keys/${name}(/${version})?`), { permission: 'read', run: getKey }],
  ['POST', pathOf(`/keys/${name}/create`), { permission: 'create/action', run: createKey }],
  ['PATCH', pathOf(`/keys/${name}(/${version})?`), { permission: 'update/action', run: updateKey }],
  ['DELETE', pathOf(`/keys/${name}`), { permission: 'delete', run: deleteKey }],
  ['POST', pathOf(`/keys/${name}(/${version})?/release`), { permission: 'release/action', run: release }],
  ['POST', pathOf(`/keys/${name}(/${version})?/sign`), { permission: 'sign/action', run: sign }],
  ['GET', /^\/deletedkeys$/, { permission: 'read', run: listDeletedKeys }],
  ['GET', pathOf(`/deletedkeys/${name}`), { permission: 'read', run: getDeletedKey }],
  ['POST', pathOf(`/deletedkeys/${name}/recover`), { permission: 'recover/action', run: recoverKey }],
  ['DELETE', pathOf(`/deletedkeys/${name}`), { permission: 'purge/action', run: purgeKey }]
]

function pathOf(pattern: string): RegExp {
  return new RegExp(`^${pattern}$`, 'i')
}

function findRoute(request: EmulatorRequest): Operation & { name: string | undefined; version: string | undefined } {
  // The server collapses slashes; a caller of the handler alone may send what the clients send.
  const path = request.path.replace(/\/{2,}/g, '/').replace(/(.)\/$/, '$1')
  for (const [method, pattern, operation] of operations) {
    const groups = method === request.method ? pattern.exec(path)?.groups : undefined
    if (groups !== undefined || (method === request.method && pattern.test(path))) {
      return { ...operation, name: groups?.['name'], version: groups?.['version']?.toLowerCase() }
    }
  }
  throw notImplemented(request)
}

/** Azure RBAC at the scope of the key, in Key Vault's words when it says no. */
function requireAllowed(principal: Principal, permission: string, keyName: string | undefined, context: Context): void {
  const { access, vault } = context
  const dataAction = `Microsoft.KeyVault/vaults/keys/${permission}`
  const scope = keyName === undefined ? vault.resourceId : `${vault.resourceId}/keys/${keyName}`
  if (access.isAllowed(principal, { dataAction }, scope)) return
  const caller = `appid=${principal.clientId};oid=${principal.objectId};iss=https://sts.windows.net/${principal.tenantId}/`
  const lines = [
    'Caller is not authorized to perform action on resource.',
    'If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.',
    `Caller: ${caller}`,
    `Action: '${dataAction}'`,
    `Resource: '${scope.toLowerCase()}'`,
    'Assignment: (not found)',
    'DenyAssignmentId: null',
    'DecisionReason: null ',
    `Vault: ${vault.name};location=loopback`,
    ''
  ]
  throw keyVaultError.forbidden(lines.join('\r\n'), 'ForbiddenByRbac')
}

function listKeys({ context }: Call): EmulatorResponse {
  const { shelf, vault } = context
  const live = shelf.all().filter((record) => record.deletedAt === undefined)
  return list(live.map((record) => keyItem(vault, record.name, latestVersion(record))))
}

function listVersions({ context, name }: Call): EmulatorResponse {
  const record = context.shelf.find(name)
  const versions = record === undefined || record.deletedAt !== undefined ? [] : record.versions
  return list(versions.map((key) => keyItem(context.vault, record?.name ?? name, key, key.version)))
}

function getKey({ context, name, version }: Call): EmulatorResponse {
  const { record, key } = findKey(context, name, version)
  return ok(keyBundle(context.vault, record.name, key))
}

async function createKey({ context, name, request, apiVersion }: Call): Promise<EmulatorResponse> {
  const { shelf, vault, clock } = context
  requireNameFree(context, name)
  const key = await createKeyVersion(vault, objectBody(request), supportsRelease(apiVersion), clock())
  // Making the key took a while; somebody else may have used the name meanwhile.
  requireNameFree(context, name)
  const existing = shelf.find(name)
  const record = { name: existing?.name ?? name, versions: [...(existing?.versions ?? []), key] }
  await shelf.put(record)
  return ok(keyBundle(vault, record.name, key))
}

async function updateKey({ context, name, version, request }: Call): Promise<EmulatorResponse> {
  const { record, key } = findKey(context, name, version)
  const updated = updateKeyVersion(key, objectBody(request), version !== undefined, context.clock())
  const versions = record.versions.map((other) => (other.version === key.version ? updated : other))
  await context.shelf.put({ ...record, versions })
  return ok(keyBundle(context.vault, record.name, updated))
}

async function deleteKey({ context, name }: Call): Promise<EmulatorResponse> {
  const { record } = findKey(context, name)
  const deleted = { ...record, deletedAt: Math.floor(context.clock().getTime() / 1000) }
  await context.shelf.put(deleted)
  return ok(deletedKeyBundle(context.vault, deleted))
}

function listDeletedKeys({ context }: Call): EmulatorResponse {
  const deleted = context.shelf.all().filter((record) => deletionState(context, record) === 'deleted')
  return list(deleted.map((record) => deletedKeyItem(context.vault, record)))
}

function getDeletedKey({ context, name }: Call): EmulatorResponse {
  return ok(deletedKeyBundle(context.vault, findDeleted(context, name)))
}

async function recoverKey({ context, name }: Call): Promise<EmulatorResponse> {
  const { deletedAt: _, ...record } = findDeleted(context, name)
  await context.shelf.put(record)
  return ok(keyBundle(context.vault, record.name, latestVersion(record)))
}

async function purgeKey({ context, name }: Call): Promise<EmulatorResponse> {
  const record = findDeleted(context, name)
  if (context.vault.purgeProtection) {
    throw keyVaultError.forbidden(
      'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.'
    )
  }
  await context.shelf.remove(record.name)
  return { status: 204 }
}

async function release({ context, name, version, request, apiVersion }: Call): Promise<EmulatorResponse> {
  const { record, key } = findKey(context, name, version)
  const call = { apiVersion, body: objectBody(request), name: record.name, version }
  const value = await releaseKey(call, key, context.vault, {
    fetchJson: context.fetchJson,
    signer: context.signer,
    now: context.clock()
  })
  return ok({ value })
}

function sign({ context, name, version, request }: Call): EmulatorResponse {
  const { record, key } = findKey(context, name, version)
  const signature = signWithKey(request, objectBody(request), key, context.clock())
  return ok({ kid: keyId(context.vault, record.name, key.version), value: encodeBase64Url(signature) })
}

function findKey(context: Context, name: string, version?: string): { record: KeyRecord; key: KeyVersion } {
  const record = context.shelf.find(name)
  if (record === undefined || record.deletedAt !== undefined) throw keyVaultError.keyNotFound(name)
  const key = version === undefined ? latestVersion(record) : record.versions.find((item) => item.version === version)
  if (key === undefined) throw keyVaultError.keyNotFound(`${name}/${version}`)
  return { record, key }
}

function findDeleted(context: Context, name: string): KeyRecord {
  const record = context.shelf.find(name)
  if (record === undefined || deletionState(context, record) !== 'deleted') {
    throw keyVaultError.deletedKeyNotFound(name)
  }
  return record
}

function requireNameFree(context: Context, name: string): void {
  const record = context.shelf.find(name)
  if (record === undefined) return
  switch (deletionState(context, record)) {
    case 'live':
      return
    case 'deleting':
      throw keyVaultError.beingDeleted(record.name)
    case 'deleted':
      throw keyVaultError.deletedButRecoverable(record.name)
  }
}

function deletionState(context: Context, record: KeyRecord): 'live' | 'deleting' | 'deleted' {
  if (record.deletedAt === undefined) return 'live'
  const visibleAt = record.deletedAt * 1000 + (context.deletionDelayMs ?? 0)
  return context.clock().getTime() < visibleAt ? 'deleting' : 'deleted'
}

/** Release came with 7.3-preview. */
function supportsRelease(apiVersion: string): boolean {
  return apiVersions.indexOf(apiVersion) >= apiVersions.indexOf('7.3-preview')
}

function ok(body: unknown): EmulatorResponse {
  return { status: 200, body }
}

/** One page: nobody keeps more keys in a vault of this machine than fit into it. */
function list(value: readonly unknown[]): EmulatorResponse {
  return ok({ value, nextLink: null })
}
