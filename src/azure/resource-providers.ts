import { setTimeout as sleep } from 'node:timers/promises'
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

/** Registers a namespace and waits until Azure says so; typically 10 seconds to 2 minutes. */
export async function registerProvider(azure: AzureSession, namespace: string): Promise<void> {
  const client = await azure.resources()
  try {
    let provider = await client.providers.register(namespace, { abortSignal: azure.signal })
    while (provider.registrationState !== 'Registered') {
      await sleep(azure.environment.pollIntervalMs, undefined, { signal: azure.signal })
      provider = await client.providers.get(namespace, { abortSignal: azure.signal })
    }
  } catch (error) {
    throw toUserError(error, `resource provider ${namespace}`)
  }
}
