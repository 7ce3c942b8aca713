import { setTimeout } from 'node:timers/promises'
import { isJsonObject } from '../../base/json.js'
import type { Downstream } from './downstream.js'
import { SidecarFailure } from './failure.js'

export interface IdentityMeans {
  readonly imdsEndpoint: string
  readonly clientId: string | undefined
  readonly downstream: Downstream
  /** Milliseconds to wait before the second and the third try. */
  readonly retryDelays?: readonly number[]
}

/** A token of the group's identity for the service behind `keyVaultEndpoint`; never cached, three tries. */
export async function fetchIdentityToken(keyVaultEndpoint: string, means: IdentityMeans): Promise<string> {
  const service = keyVaultEndpoint.includes('managedhsm') ? 'https://managedhsm.azure.net' : 'https://vault.azure.net'
  const clientId = means.clientId === undefined ? '' : `&client_id=${encodeURIComponent(means.clientId)}`
  const query = `api-version=2018-02-01&resource=${encodeURIComponent(service)}${clientId}`
  const url = `${means.imdsEndpoint}/metadata/identity/oauth2/token?${query}`
  for (const delay of means.retryDelays ?? [1000, 4000]) {
    try {
      return await fetchOnce(url, means.downstream)
    } catch (error) {
      if (!(error instanceof SidecarFailure)) throw error
      await setTimeout(delay)
    }
  }
  return fetchOnce(url, means.downstream)
}

async function fetchOnce(url: string, downstream: Downstream): Promise<string> {
  const answer = await downstream(
    { method: 'GET', url, headers: { metadata: 'true' } },
    {
      send: 'http get authentication token failed',
      read: 'pulling http get authentication token response failed'
    }
  )
  let value: unknown
  try {
    value = JSON.parse(answer)
  } catch {
    throw new SidecarFailure('unmarshalling authentication token response failed')
  }
  const token = isJsonObject(value) ? value['access_token'] : undefined
  if (typeof token !== 'string' || token === '') throw new SidecarFailure('authentication token response has no token')
  return token
}
