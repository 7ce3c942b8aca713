import type { Route } from './route.js'

export interface SubscriptionIds {
  readonly subscriptionId: string
  readonly tenantId: string
}

/** The one subscription, and the one tenant that it belongs to. */
export function subscriptionRoutes(ids: SubscriptionIds): Route[] {
  const subscription = {
    id: `/subscriptions/${ids.subscriptionId}`,
    subscriptionId: ids.subscriptionId,
    tenantId: ids.tenantId,
    displayName: 'Azure on loopback',
    state: 'Enabled',
    subscriptionPolicies: {
      locationPlacementId: 'Internal_2014-09-01',
      quotaId: 'Internal_2014-09-01',
      spendingLimit: 'Off'
    },
    authorizationSource: 'RoleBased',
    managedByTenants: []
  }
  const tenant = { id: `/tenants/${ids.tenantId}`, tenantId: ids.tenantId, displayName: 'Azure on loopback' }
  return [
    {
      method: 'GET',
      pattern: '/subscriptions',
      action: undefined,
      handle: async () => ({ status: 200, body: { value: [subscription], count: { type: 'Total', value: 1 } } })
    },
    {
      method: 'GET',
      pattern: '/tenants',
      action: undefined,
      handle: async () => ({ status: 200, body: { value: [tenant] } })
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}',
      action: 'Microsoft.Resources/subscriptions/read',
      handle: async () => ({ status: 200, body: subscription })
    }
  ]
}
