import { Fields } from '../../body.js'
import { type EmulatorResponse, jsonBody, ServiceError } from '../../http.js'
import type { Collection } from '../../store.js'
import { badRequest, resourceNotFound } from './errors.js'
import { readLocation } from './locations.js'
import type { ResourceType } from './resource-groups.js'
import { resourceGroupId, resourceKey } from './resource-id.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface VaultRecord {
  readonly name: string
  readonly group: string
  readonly location: string
  readonly tags: Readonly<Record<string, string>>
  readonly sku: 'standard' | 'premium'
  readonly retentionDays: number
  readonly purgeProtection: boolean
  readonly createdAt: string
  /** When it was deleted; undefined while it lives. */
  readonly deletedAt?: string
}

/** The data plane of a vault: what the control plane switches on and off. */
export interface VaultDataPlane {
  /** Opens the vault's own listener and returns its origin; repeatable. */
  open(name: string): Promise<string>
  close(name: string): Promise<void>
  /** Also destroys its keys. */
  destroy(vault: VaultRecord): Promise<void>
}

export interface Vaults {
  readonly routes: readonly Route[]
  readonly type: ResourceType
  get(name: string): VaultRecord | undefined
  resourceId(vault: VaultRecord): string
  /** Opens the listeners of all living vaults, after a restart. */
  openAll(): Promise<void>
  /** Ends for good, if its retention allows it; used by the purge of a deleted vault. */
  purge(name: string): Promise<void>
  /** Soft-deleted vaults whose retention has not ended. */
  deleted(): Promise<readonly VaultRecord[]>
}

export interface VaultsOptions {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly vaults: Collection<VaultRecord>
  readonly dataPlane: VaultDataPlane
  /** Role assignments end with the resource that they hang on, and a recovered vault starts without. */
  readonly removeAssignments: (scope: string) => Promise<void>
  readonly clock: () => Date
}

const resourceType = 'Microsoft.KeyVault/vaults'
const dayMs = 24 * 60 * 60 * 1000
/** From this version on, vaults are created with RBAC authorization unless told otherwise. */
const rbacByDefaultSince = '2026-02-01'

/** Key vaults, living and soft-deleted. A name is taken in all of Azure, so the name alone is the key. */
export function createVaults(options: VaultsOptions): Vaults {
  const { subscriptionId, vaults, dataPlane, clock } = options
  const key = (name: string) => name.toLowerCase()
  const resourceId = ({ group, name }: VaultRecord) =>
    `${resourceGroupId(subscriptionId, group)}/providers/${resourceType}/${name}`

  async function find(name: string): Promise<VaultRecord | undefined> {
    const vault = vaults.get(key(name))
    if (vault?.deletedAt === undefined || clock().getTime() < purgeDate(vault).getTime()) return vault
    await purge(vault.name)
    return undefined
  }

  async function requireLiving(request: ArmRequest): Promise<VaultRecord> {
    const [name, group] = [param(request, 'name'), param(request, 'group')]
    const vault = await find(name)
    if (!vault || vault.deletedAt !== undefined || key(vault.group) !== key(group)) {
      throw resourceNotFound(resourceType, name, group)
    }
    return vault
  }

  async function describe(vault: VaultRecord, created = false): Promise<unknown> {
    const origin = await dataPlane.open(vault.name)
    return {
      id: resourceId(vault),
      name: vault.name,
      type: resourceType,
      location: vault.location,
      tags: vault.tags,
      systemData: { createdAt: vault.createdAt, createdByType: 'Application' },
      properties: {
        sku: { family: 'A', name: vault.sku },
        tenantId: options.tenantId,
        accessPolicies: [],
        enabledForDeployment: false,
        enabledForDiskEncryption: false,
        enabledForTemplateDeployment: false,
        enableSoftDelete: true,
        softDeleteRetentionInDays: vault.retentionDays,
        enableRbacAuthorization: true,
        ...(vault.purgeProtection ? { enablePurgeProtection: true } : {}),
        // The answer to the first PUT says so and has no slash yet; the next GET is final.
        vaultUri: created ? origin : `${origin}/`,
        provisioningState: created ? 'RegisteringDns' : 'Succeeded',
        publicNetworkAccess: 'Enabled'
      }
    }
  }

  async function put(request: ArmRequest): Promise<EmulatorResponse> {
    const [name, group] = [param(request, 'name'), param(request, 'group')]
    requireValidName(name)
    const body = Fields.of(jsonBody(request))
    const known = await find(name)
    if (known && known.deletedAt === undefined && key(known.group) !== key(group)) throw nameTaken(name)
    const recover = body.object('properties').optionalString('createMode') === 'recover'
    if (known?.deletedAt !== undefined && !recover) throw softDeleted()
    if (recover && known?.deletedAt === undefined) throw nothingToRecover()
    if (known?.deletedAt !== undefined && recover) {
      const { deletedAt: _, ...living } = known
      await vaults.set(key(name), living)
      return { status: 200, body: await describe(living, true) }
    }
    const wanted = readVault(body, request.apiVersion, known, options.tenantId)
    const vault: VaultRecord = {
      name: known?.name ?? name,
      group: known?.group ?? group,
      createdAt: known?.createdAt ?? clock().toISOString(),
      ...wanted
    }
    await vaults.set(key(name), vault)
    return { status: 200, body: await describe(vault, !known) }
  }

  async function remove(id: string): Promise<boolean> {
    const vault = vaults.values().find((each) => resourceKey(resourceId(each)) === resourceKey(id))
    if (!vault || vault.deletedAt !== undefined) return false
    await vaults.set(key(vault.name), { ...vault, deletedAt: clock().toISOString() })
    await dataPlane.close(vault.name)
    await options.removeAssignments(resourceId(vault))
    return true
  }

  async function purge(name: string): Promise<void> {
    const vault = vaults.get(key(name))
    if (vault?.deletedAt === undefined) return
    await dataPlane.destroy(vault)
    await vaults.delete(key(name))
  }

  const living = () => vaults.values().filter(({ deletedAt }) => deletedAt === undefined)
  const collection = '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults'
  const routes: Route[] = [
    { method: 'PUT', pattern: `${collection}/{name}`, action: `${resourceType}/write`, handle: put },
    {
      method: 'GET',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/read`,
      handle: async (request) => ({ status: 200, body: await describe(await requireLiving(request)) })
    },
    {
      method: 'GET',
      pattern: collection,
      action: `${resourceType}/read`,
      handle: async (request) => {
        const inGroup = living().filter(({ group }) => key(group) === key(param(request, 'group')))
        return { status: 200, body: { value: await Promise.all(inGroup.map((vault) => describe(vault))) } }
      }
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults',
      action: `${resourceType}/read`,
      handle: async () => ({
        status: 200,
        body: { value: await Promise.all(living().map((vault) => describe(vault))) }
      })
    },
    // `az keyvault list` asks for these as well, and there are none.
    ...['/subscriptions/{subscription}', '/subscriptions/{subscription}/resourceGroups/{group}'].map(
      (scope): Route => ({
        method: 'GET',
        pattern: `${scope}/providers/Microsoft.KeyVault/managedHSMs`,
        action: 'Microsoft.KeyVault/managedHSMs/read',
        handle: async () => ({ status: 200, body: { value: [] } })
      })
    ),
    {
      method: 'DELETE',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/delete`,
      handle: async (request) => ({ status: (await remove(request.path)) ? 200 : 204 })
    },
    {
      method: 'POST',
      pattern: '/subscriptions/{subscription}/providers/Microsoft.KeyVault/checkNameAvailability',
      action: 'Microsoft.KeyVault/checkNameAvailability/read',
      handle: async (request) => {
        const name = Fields.of(jsonBody(request)).string('name')
        return { status: 200, body: nameAvailability(name, await find(name)) }
      }
    }
  ]
  return {
    routes,
    type: {
      list: () =>
        living().map((vault) => ({
          id: resourceId(vault),
          name: vault.name,
          type: resourceType,
          location: vault.location
        })),
      remove: async (id) => void (await remove(id))
    },
    get: (name) => vaults.get(key(name)),
    resourceId,
    openAll: async () => {
      await Promise.all(living().map(({ name }) => dataPlane.open(name)))
    },
    purge,
    deleted: async () => {
      const found = await Promise.all(vaults.values().map(({ name }) => find(name)))
      return found.filter((vault) => vault !== undefined).filter(({ deletedAt }) => deletedAt !== undefined)
    }
  }
}

/** When a soft-deleted vault ends by itself. */
export function purgeDate(vault: VaultRecord): Date {
  return new Date(Date.parse(vault.deletedAt ?? vault.createdAt) + vault.retentionDays * dayMs)
}

/** Checks a PUT against the service's rules and, for an update, against what can never be undone. */
function readVault(
  body: Fields,
  apiVersion: string,
  known: VaultRecord | undefined,
  tenantId: string
): Pick<VaultRecord, 'location' | 'tags' | 'sku' | 'retentionDays' | 'purgeProtection'> {
  const location = readLocation(body)
  const properties = body.object('properties')
  if (properties.string('tenantId').toLowerCase() !== tenantId) {
    throw badRequest(`The tenant '${properties.string('tenantId')}' is not the tenant of this subscription.`)
  }
  const family = properties.object('sku').string('family')
  if (family !== 'A') throw badRequest(`The SKU family '${family.slice(0, 40)}' is not supported. It must be 'A'.`)
  const sku = properties.object('sku').string('name').toLowerCase()
  if (sku !== 'standard' && sku !== 'premium') throw badRequest(`The SKU '${sku}' is not supported.`)
  if (properties.optionalBoolean('enableSoftDelete') === false) {
    throw badRequest(
      'The property "enableSoftDelete" cannot be set to false. Soft delete is enabled for all key vaults and cannot be disabled.'
    )
  }
  requireOnlyWhatIsEmulated(properties, apiVersion)
  const retentionDays = properties.optionalNumber('softDeleteRetentionInDays') ?? known?.retentionDays ?? 90
  if (!Number.isInteger(retentionDays) || retentionDays < 7 || retentionDays > 90) {
    throw badRequest('The property "softDeleteRetentionInDays" must be between 7 and 90 days.')
  }
  if (known && known.retentionDays !== retentionDays) {
    throw badRequest('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.')
  }
  const purgeProtection = properties.optionalBoolean('enablePurgeProtection')
  if (purgeProtection === false) {
    throw badRequest(
      'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.'
    )
  }
  if (known && known.location !== location) {
    throw new ServiceError(
      409,
      'InvalidResourceLocation',
      `The resource '${known.name}' already exists in location '${known.location}' in resource group '${known.group}'. A resource with the same name cannot be created in location '${location}'. Please select a new resource name.`
    )
  }
  return {
    location,
    tags: body.texts('tags'),
    sku,
    retentionDays,
    purgeProtection: purgeProtection ?? known?.purgeProtection ?? false
  }
}

function requireOnlyWhatIsEmulated(properties: Fields, apiVersion: string): void {
  const rbac = properties.optionalBoolean('enableRbacAuthorization') ?? apiVersion >= rbacByDefaultSince
  const firewall = properties.objectOrEmpty('networkAcls').optionalString('defaultAction') ?? 'Allow'
  const network = properties.optionalString('publicNetworkAccess') ?? 'Enabled'
  if (!rbac || properties.rawList('accessPolicies').length > 0) {
    throw new ServiceError(501, 'NotImplemented', 'not implemented: key vaults with access policies')
  }
  if (firewall.toLowerCase() !== 'allow' || network.toLowerCase() !== 'enabled') {
    throw new ServiceError(501, 'NotImplemented', 'not implemented: key vaults with network rules')
  }
}

function isValidName(name: string): boolean {
  return /^[a-z][a-z0-9-]{1,22}[a-z0-9]$/i.test(name) && !name.includes('--')
}

function requireValidName(name: string): void {
  if (!isValidName(name)) throw new ServiceError(400, 'VaultNameNotValid', invalidName(name))
}

function invalidName(name: string): string {
  return `The vault name '${name.slice(0, 60)}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link for more information: https://go.microsoft.com/fwlink/?linkid=2147742`
}

function nameAvailability(name: string, known: VaultRecord | undefined): unknown {
  if (!isValidName(name)) return { nameAvailable: false, reason: 'AccountNameInvalid', message: invalidName(name) }
  return known ? { nameAvailable: false, reason: 'AlreadyExists', message: takenName(name) } : { nameAvailable: true }
}

function takenName(name: string): string {
  return `The vault name '${name}' is already in use. Vault names are globally unique so it is possible that the name is already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was recently deleted but not purged after being placed in a recoverable state. If the vault is in a recoverable state then the vault will need to be purged before reusing the name. For more information about VaultAlreadyExists, soft delete and purging a vault follow this link https://go.microsoft.com/fwlink/?linkid=2147740.`
}

function nameTaken(name: string): ServiceError {
  return new ServiceError(409, 'VaultAlreadyExists', takenName(name))
}

function softDeleted(): ServiceError {
  return new ServiceError(
    409,
    'ConflictError',
    'A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete.'
  )
}

function nothingToRecover(): ServiceError {
  return new ServiceError(
    404,
    'SoftDeletedVaultDoesNotExist',
    'A soft deleted vault with the given name does not exist. Ensure that the name for the vault that is being attempted to recover is in a recoverable state. For more information on soft delete please follow this link https://go.microsoft.com/fwlink/?linkid=2149745'
  )
}
