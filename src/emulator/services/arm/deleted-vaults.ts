import { type EmulatorResponse, ServiceError } from '../../http.js'
import type { Operations } from './operations.js'
import { type ArmRequest, param, type Route } from './route.js'
import { purgeDate, type VaultRecord, type Vaults } from './vaults.js'

const purgeOperation = 'vault.purge'

/** Soft-deleted vaults: they hold their names until they are recovered, purged or too old. */
export function deletedVaultRoutes(options: {
  readonly subscriptionId: string
  readonly vaults: Vaults
  readonly operations: Operations
}): Route[] {
  const { subscriptionId, vaults, operations } = options
  operations.define(purgeOperation, (name) => vaults.purge(name))

  const describe = (vault: VaultRecord) => ({
    id: `/subscriptions/${subscriptionId}/providers/Microsoft.KeyVault/locations/${vault.location}/deletedVaults/${vault.name}`,
    name: vault.name,
    type: 'Microsoft.KeyVault/deletedVaults',
    properties: {
      vaultId: vaults.resourceId(vault),
      location: vault.location,
      tags: vault.tags,
      deletionDate: vault.deletedAt,
      scheduledPurgeDate: purgeDate(vault).toISOString(),
      ...(vault.purgeProtection ? { purgeProtectionEnabled: true } : {})
    }
  })

  async function require(request: ArmRequest): Promise<VaultRecord> {
    const [name, location] = [param(request, 'name'), param(request, 'location').toLowerCase()]
    const found = (await vaults.deleted()).find(
      (vault) => vault.name.toLowerCase() === name.toLowerCase() && vault.location === location
    )
    if (found) return found
    throw new ServiceError(
      404,
      'DeletedVaultNotFound',
      `The specified deleted vault '${name.slice(0, 60)}' does not exist.`
    )
  }

  async function purge(request: ArmRequest): Promise<EmulatorResponse> {
    const vault = await require(request)
    if (vault.purgeProtection) {
      throw new ServiceError(405, 'MethodNotAllowed', "Operation 'DeletedVaultPurge' is not allowed.")
    }
    const operation = await operations.start(purgeOperation, vault.name)
    const location = `${request.origin}/subscriptions/${subscriptionId}/providers/Microsoft.KeyVault/locations/${vault.location}/operationResults/${operation.id}?api-version=${request.apiVersion}`
    return { status: 202, headers: { location, 'retry-after': '1' } }
  }

  const one = '/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}'
  return [
    {
      method: 'GET',
      pattern: one,
      action: 'Microsoft.KeyVault/locations/deletedVaults/read',
      handle: async (request) => ({ status: 200, body: describe(await require(request)) })
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedVaults',
      action: 'Microsoft.KeyVault/deletedVaults/read',
      handle: async () => ({ status: 200, body: { value: (await vaults.deleted()).map(describe) } })
    },
    {
      method: 'POST',
      pattern: `${one}/purge`,
      action: 'Microsoft.KeyVault/locations/deletedVaults/purge/action',
      handle: purge
    }
  ]
}
