import type { DirectoryIdentity } from './directory-identity.js'
import { attestationDataPlane, vaultDataPlane } from './data-planes.js'
import type { Faults } from './faults.js'
import type { SimulatedHardware } from './hardware/simulated-hardware.js'
import type { Handler } from './http.js'
import type { OpenListeners } from './listeners.js'
import { type ContainerGroups, createContainerGroups } from './services/aci/container-groups.js'
import type { RestartTiming } from './services/aci/container-supervisor.js'
import type { GroupRecord } from './services/aci/group-record.js'
import { createImageStore } from './services/aci/image-store.js'
import { createPlatform } from './services/aci/platform.js'
import { type AttestationProviderRecord, createAttestationProviders } from './services/arm/attestation-providers.js'
import { containerGroupRoutes, containerGroupType } from './services/arm/container-groups.js'
import { deletedVaultRoutes } from './services/arm/deleted-vaults.js'
import type { DeploymentRecord } from './services/arm/deployment-view.js'
import { deploymentRoutes, removeDeployments } from './services/arm/deployments.js'
import { resourceNotFound } from './services/arm/errors.js'
import { createIdentities, type Identities, type IdentityRecord } from './services/arm/identities.js'
import { createOperations, type Operation, type Operations } from './services/arm/operations.js'
import { operationResultRoutes } from './services/arm/operation-routes.js'
import {
  createResourceGroups,
  type ResourceGroup,
  type ResourceGroups,
  type ResourceType
} from './services/arm/resource-groups.js'
import { permissionRoutes } from './services/arm/permissions.js'
import { isWithin, resourceGroupId, resourceGroupOf, resourceTypeOf } from './services/arm/resource-id.js'
import { resourceRoutes } from './services/arm/resources.js'
import { createResourceManager, type ResourceManager } from './services/arm/resource-manager.js'
import { createResourceProviders } from './services/arm/resource-providers.js'
import { removeAssignments, roleAssignmentRoutes } from './services/arm/role-assignments.js'
import { roleDefinitionRoutes } from './services/arm/role-definitions.js'
import type { Route } from './services/arm/route.js'
import { subscriptionRoutes } from './services/arm/subscriptions.js'
import { createVaults } from './services/arm/vaults.js'
import type { RoleAccess, RoleAssignment } from './services/entra/access.js'
import type { Store } from './store.js'

export interface ControlPlaneOptions {
  readonly store: Store
  readonly identity: DirectoryIdentity
  readonly access: RoleAccess
  readonly listeners: OpenListeners
  readonly faults: Faults
  readonly hardware: SimulatedHardware
  readonly armOrigin: string
  /** Where `/instances/<secret>` is. */
  readonly instanceOrigin: string
  /** PEM of the root of all TLS listeners, and of the one that vaults sign releases under. */
  readonly ca: string
  readonly releaseRoot: string
  /** OCI layout that stands for every registry. */
  readonly imageLayout: string
  readonly rootHashCache: string
  /** Where container groups have their files. */
  readonly groupsDirectory: string
  readonly timing: RestartTiming
  readonly clock: () => Date
  readonly log?: ((line: string) => void) | undefined
}

export interface ControlPlane {
  readonly resourceManager: ResourceManager
  readonly containerGroups: ContainerGroups
  readonly identities: Identities
  /** What answers for a vault that is addressed by its name. */
  readonly vaultByName: (name: string) => Handler
  /** Continues where an emulator before this one stopped. */
  restore(): Promise<void>
  close(): Promise<void>
}

/** Puts the resource types together: Resource Manager and everything that it manages. */
export function createControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { store, identity, access, hardware, listeners, clock, log } = options
  const { subscriptionId, tenantId, operatorObjectId } = identity
  const assignments = store.collection<RoleAssignment>('role-assignments')
  const deployments = store.collection<DeploymentRecord>('deployments')
  const endAssignments = (scope: string) => removeAssignments(assignments, scope)
  const operations = createOperations({ records: store.collection<Operation>('operations'), clock, log })

  const groups: ResourceGroups = createResourceGroups({
    subscriptionId,
    groups: store.collection<ResourceGroup>('resource-groups'),
    operations,
    types: () => types,
    onDeleted: async (name) => {
      await endAssignments(resourceGroupId(subscriptionId, name))
      await removeDeployments(deployments, name)
    }
  })
  const providers = createResourceProviders({ subscriptionId, registrations: store.collection('resource-providers') })
  const identities = createIdentities({
    tenantId,
    identities: store.collection<IdentityRecord>('identities'),
    removeAssignments: endAssignments
  })
  const attestation = createAttestationProviders({
    subscriptionId,
    providers: store.collection<AttestationProviderRecord>('attestation-providers'),
    dataPlane: attestationDataPlane({ store, listeners, hardware, clock }),
    removeAssignments: endAssignments
  })
  const dataPlane = vaultDataPlane({
    store,
    listeners,
    access,
    tenantId,
    authorityHost: options.armOrigin,
    ca: options.ca,
    clock,
    find: (name) => {
      const vault = vaults.get(name)
      return vault && { vault, resourceId: vaults.resourceId(vault) }
    }
  })
  const vaults = createVaults({
    subscriptionId,
    tenantId,
    vaults: store.collection('vaults'),
    dataPlane,
    removeAssignments: endAssignments,
    clock
  })
  const containerGroups = createContainerGroups({
    records: store.collection<GroupRecord>('container-groups'),
    directory: options.groupsDirectory,
    operations,
    images: createImageStore(options.imageLayout, options.rootHashCache),
    platform: createPlatform({
      hardware,
      instanceOrigin: options.instanceOrigin,
      ca: options.ca,
      releaseRoot: options.releaseRoot
    }),
    timing: options.timing,
    clock,
    log
  })
  const containerGroupOptions = {
    subscriptionId,
    groups: containerGroups,
    operations,
    findIdentity: (id: string) => identities.get(id),
    removeAssignments: endAssignments
  }
  // A group's containers use the vault and the identity, so they end first.
  const types: readonly ResourceType[] = [
    containerGroupType(containerGroupOptions),
    vaults.type,
    attestation.type,
    identities.type
  ]
  const resourceManager = createResourceManager({
    subscriptionId,
    tenantId,
    access,
    groups,
    providers,
    routes: () => routes
  })
  const routes: readonly Route[] = [
    ...subscriptionRoutes(identity),
    ...providers.routes,
    ...groups.routes,
    ...resourceRoutes({ groups, types: () => types }),
    ...operationResultRoutes(operations),
    ...attestation.routes,
    ...vaults.routes,
    ...deletedVaultRoutes({ subscriptionId, vaults, operations }),
    ...identities.routes,
    ...permissionRoutes({ subscriptionId, groups, access }),
    ...roleDefinitionRoutes(subscriptionId),
    ...roleAssignmentRoutes({
      subscriptionId,
      tenantId,
      assignments,
      requireScope: (scope) => requireScope(scope, groups, types),
      isPrincipal: (objectId) => objectId === operatorObjectId || identities.hasPrincipal(objectId),
      access,
      clock
    }),
    ...containerGroupRoutes(containerGroupOptions),
    ...deploymentRoutes({
      subscriptionId,
      tenantId,
      deployments,
      groups,
      operations,
      // A resource of a template passes no listener, and its faults happen here.
      invoke: (request, principal) =>
        options.faults.around((inner) => resourceManager.invoke(inner, principal))(request),
      origin: () => options.armOrigin,
      clock,
      log
    })
  ]

  return {
    resourceManager,
    containerGroups,
    identities,
    vaultByName: dataPlane.byName,
    restore: async () => {
      await Promise.all([vaults.openAll(), attestation.openAll()])
      await containerGroups.restore()
      operations.resume()
    },
    close: () => closeAll(operations, containerGroups)
  }
}

/** Operations first: one that is waiting for a container must not take its end for a failure. */
async function closeAll(operations: Operations, containerGroups: ContainerGroups): Promise<void> {
  await operations.close()
  await containerGroups.close()
}

/** A role can be assigned on the subscription, on a resource group and on what lies in one. */
function requireScope(scope: string, groups: ResourceGroups, types: readonly ResourceType[]): void {
  const group = resourceGroupOf(scope)
  if (group !== undefined) groups.require(group)
  if (!scope.toLowerCase().includes('/providers/')) return
  const exists = types.some((type) => type.list().some(({ id }) => isWithin(scope, id)))
  if (!exists) throw resourceNotFound(resourceTypeOf(scope) ?? '', scope.split('/').at(-1) ?? '', group ?? '')
}
