import { toUserError } from './errors.js'
import type { AzureSession } from './session.js'

export interface Subscription {
  readonly name: string
  /** `Enabled`, `Warned`, `PastDue`, `Disabled` or `Deleted`. */
  readonly state: string
  readonly tenantId: string | undefined
}

/** The client that has this as a method is a package of its own, for one GET. */
const apiVersion = '2022-12-01'

export async function getSubscription(azure: AzureSession): Promise<Subscription> {
  const what = `subscription "${azure.subscriptionId}"`
  const client = await azure.resources()
  const { createPipelineRequest } = await import('@azure/core-rest-pipeline')
  const url = `${azure.environment.armEndpoint}/subscriptions/${azure.subscriptionId}?api-version=${apiVersion}`
  try {
    const response = await client.sendRequest(createPipelineRequest({ url, abortSignal: azure.signal }))
    const body = JSON.parse(response.bodyAsText ?? 'null') as Record<string, unknown> | null
    if (response.status !== 200) {
      throw Object.assign(new Error('no subscription'), { statusCode: response.status, details: body, response })
    }
    const { displayName, state, tenantId } = body ?? {}
    return {
      name: typeof displayName === 'string' ? displayName : '',
      state: typeof state === 'string' ? state : 'Unknown',
      tenantId: typeof tenantId === 'string' ? tenantId : undefined
    }
  } catch (error) {
    throw toUserError(error, what)
  }
}

/** What a region counts of container instances, and how much of it is left. */
export interface Usage {
  readonly name: string
  readonly current: number
  readonly limit: number
}

export async function containerUsage(azure: AzureSession, location: string): Promise<readonly Usage[]> {
  const client = await azure.containers()
  const found: Usage[] = []
  try {
    for await (const { name, currentValue, limit } of client.location.listUsage(location, {
      abortSignal: azure.signal
    })) {
      if (name?.value !== undefined && currentValue !== undefined && limit !== undefined)
        found.push({ name: name.value, current: currentValue, limit })
    }
    return found
  } catch (error) {
    throw toUserError(error, `usage of ${location}`)
  }
}
