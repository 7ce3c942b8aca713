/** Resource ids are compared without regard to case: clients and services spell `resourceGroups` as they like. */
export function resourceKey(id: string): string {
  return id.toLowerCase().replace(/\/+$/, '')
}

/** Whether `id` is `scope` or lies below it. */
export function isWithin(id: string, scope: string): boolean {
  const inner = resourceKey(id)
  const outer = resourceKey(scope)
  return inner === outer || inner.startsWith(`${outer}/`)
}

export function resourceGroupId(subscriptionId: string, group: string): string {
  return `/subscriptions/${subscriptionId}/resourceGroups/${group}`
}

/** The name of the resource group that a resource id lies in, as it is spelled there. */
export function resourceGroupOf(id: string): string | undefined {
  return /^\/subscriptions\/[^/]+\/resourcegroups\/([^/]+)/i.exec(id)?.[1]
}

/** `Microsoft.KeyVault/vaults` and the names below it, of the last `providers` part of an id. */
export function resourceTypeOf(id: string): string | undefined {
  const [namespace, ...rest] = id.slice(id.toLowerCase().lastIndexOf('/providers/') + '/providers/'.length).split('/')
  if (!namespace || !id.toLowerCase().includes('/providers/')) return undefined
  return [namespace, ...rest.filter((_, index) => index % 2 === 0)].join('/')
}
