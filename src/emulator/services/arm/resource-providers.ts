import { ServiceError } from '../../http.js'
import type { Collection } from '../../store.js'
import { locations } from './locations.js'
import { param, type Route } from './route.js'

export interface ResourceProviders {
  readonly routes: readonly Route[]
  /** Throws `MissingSubscriptionRegistration`, as Azure does on the first write to a namespace. */
  requireRegistered(namespace: string | undefined): void
}

interface Registration {
  readonly namespace: string
}

/** Namespaces with their resource types. The first two belong to every subscription. */
const alwaysRegistered: Readonly<Record<string, readonly string[]>> = {
  'Microsoft.Resources': ['deployments', 'resourceGroups', 'subscriptions'],
  'Microsoft.Authorization': ['permissions', 'roleAssignments', 'roleDefinitions']
}
const registrable: Readonly<Record<string, readonly string[]>> = {
  'Microsoft.Attestation': ['attestationProviders'],
  'Microsoft.ContainerInstance': [
    'containerGroups',
    'locations/operations',
    'locations/usages',
    'locations/capabilities'
  ],
  'Microsoft.KeyVault': ['vaults', 'deletedVaults', 'locations/deletedVaults', 'checkNameAvailability'],
  'Microsoft.ManagedIdentity': ['userAssignedIdentities']
}
const known = { ...alwaysRegistered, ...registrable }

/** A namespace can be written to only after the subscription has registered it. */
export function createResourceProviders(options: {
  readonly subscriptionId: string
  readonly registrations: Collection<Registration>
}): ResourceProviders {
  const { subscriptionId, registrations } = options

  function isRegistered(namespace: string): boolean {
    return namespace in alwaysRegistered || registrations.get(namespace) !== undefined
  }

  function describe(namespace: string, registrationState: string): unknown {
    return {
      id: `/subscriptions/${subscriptionId}/providers/${namespace}`,
      namespace,
      registrationPolicy: namespace in alwaysRegistered ? 'RegistrationFree' : 'RegistrationRequired',
      resourceTypes: (known[namespace] ?? []).map((resourceType) => ({
        resourceType,
        locations: resourceType === 'containerGroups' ? [...locations] : [],
        apiVersions: []
      })),
      registrationState
    }
  }

  const state = (namespace: string) => (isRegistered(namespace) ? 'Registered' : 'NotRegistered')
  const routes: Route[] = [
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/providers',
      action: 'Microsoft.Resources/subscriptions/providers/read',
      handle: async () => ({
        status: 200,
        body: { value: Object.keys(known).map((namespace) => describe(namespace, state(namespace))) }
      })
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/providers/{namespace}',
      action: 'Microsoft.Resources/subscriptions/providers/read',
      handle: async (request) => {
        const namespace = canonical(param(request, 'namespace'), subscriptionId)
        return { status: 200, body: describe(namespace, state(namespace)) }
      }
    },
    {
      method: 'POST',
      pattern: '/subscriptions/{subscription}/providers/{namespace}/register',
      action: ({ namespace }) => `${namespace}/register/action`,
      handle: async (request) => {
        const namespace = canonical(param(request, 'namespace'), subscriptionId)
        // Azure takes its time: the answer says `Registering`, and the next read that it is done.
        const answer = isRegistered(namespace) ? 'Registered' : 'Registering'
        if (!isRegistered(namespace)) await registrations.set(namespace, { namespace })
        return { status: 200, body: describe(namespace, answer) }
      }
    }
  ]
  return {
    routes,
    requireRegistered: (namespace) => {
      if (namespace === undefined || isRegistered(canonical(namespace, subscriptionId))) return
      const message = `The subscription is not registered to use namespace '${namespace}'. See https://aka.ms/rps-not-found for how to register subscriptions.`
      throw new ServiceError(409, 'MissingSubscriptionRegistration', message, {
        details: [{ code: 'MissingSubscriptionRegistration', message, target: namespace }]
      })
    }
  }
}

function canonical(namespace: string, subscriptionId: string): string {
  const match = Object.keys(known).find((name) => name.toLowerCase() === namespace.toLowerCase())
  if (match) return match
  throw new ServiceError(
    404,
    'InvalidResourceNamespace',
    `The resource namespace '${namespace}' is invalid for subscription '${subscriptionId}'.`
  )
}
