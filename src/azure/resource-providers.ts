import { setTimeout as sleep } from 'node:timers/promises'
import { UserError } from '../base/user-error.js'
import { toUserError } from './errors.js'
import type { AzureSession } from './session.js'

/** Namespaces that `up` creates resources of; the others it uses are always registered. */
const neededProviders = [
  'Microsoft.Attestation',
  'Microsoft.ContainerInstance',
  'Microsoft.KeyVault',
  'Microsoft.ManagedIdentity'
] as const

export async function unregisteredProviders(azure: AzureSession): Promise<readonly string[]> {
  const client = await azure.resources()
  try {
    const states = await Promise.all(
      neededProviders.map(async (namespace) => {
        const provider = await client.providers.get(namespace, { abortSignal: azure.signal })
        return provider.registrationState === 'Registered' ? [] : [namespace]
      })
    )
    return states.flat()
  } catch (error) {
    throw toUserError(error, 'resource providers')
  }
}

/**
 * The regions that have container groups, in the short form that configurations have. Whether they have confidential
 * ones, Azure does not say.
 */
export async function containerRegions(azure: AzureSession): Promise<readonly string[]> {
  const client = await azure.resources()
  try {
    const { resourceTypes } = await client.providers.get('Microsoft.ContainerInstance', { abortSignal: azure.signal })
    const groups = resourceTypes?.find(({ resourceType }) => resourceType?.toLowerCase() === 'containergroups')
    return (groups?.locations ?? []).map((name) => name.toLowerCase().replaceAll(' ', '')).sort()
  } catch (error) {
    throw toUserError(error, 'resource provider Microsoft.ContainerInstance')
  }
}

const registrationSeconds = 600

/** Registers a namespace and waits until Azure says so; typically 10 seconds to 2 minutes, 10 minutes at most. */
export async function registerProvider(azure: AzureSession, namespace: string): Promise<void> {
  const client = await azure.resources()
  try {
    let provider = await client.providers.register(namespace, { abortSignal: azure.signal })
    const deadline = Date.now() + registrationSeconds * 1000
    while (provider.registrationState !== 'Registered') {
      const left = Math.ceil((deadline - Date.now()) / 1000)
      if (left <= 0) throw notRegistered(namespace, provider.registrationState)
      azure.onWait(`waiting for Azure to register ${namespace}, ${left} s left`)
      await sleep(azure.environment.pollIntervalMs, undefined, { signal: azure.signal })
      provider = await client.providers.get(namespace, { abortSignal: azure.signal })
    }
  } catch (error) {
    throw toUserError(error, `resource provider ${namespace}`)
  }
}

function notRegistered(namespace: string, state: string | undefined): UserError {
  return new UserError(
    'cloud',
    'azure.provider-not-registered',
    `resource provider ${namespace} is ${state ?? 'not registered'} after ${registrationSeconds / 60} minutes`,
    { next: [`az provider show --namespace ${namespace} --query registrationState`, 'run the same command again'] }
  )
}
