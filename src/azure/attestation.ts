import { UserError } from '../base/user-error.js'
import { isAbsent, toUserError } from './errors.js'
import type { AzureSession } from './session.js'

export interface AttestationProvider {
  readonly id: string
  readonly name: string
  /** `https://…`, without a trailing slash, as the service returned it. */
  readonly attestUri: string
}

export async function getAttestationProvider(
  azure: AzureSession,
  resourceGroup: string,
  name: string
): Promise<AttestationProvider | undefined> {
  const client = await azure.attestation()
  try {
    return describe(await client.attestationProviders.get(resourceGroup, name, { abortSignal: azure.signal }), name)
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `attestation provider "${name}"`)
  }
}

export async function createAttestationProvider(
  azure: AzureSession,
  resourceGroup: string,
  name: string,
  location: string
): Promise<AttestationProvider> {
  const client = await azure.attestation()
  try {
    const created = await client.attestationProviders.create(
      resourceGroup,
      name,
      { location, properties: {} },
      { abortSignal: azure.signal }
    )
    return describe(created, name)
  } catch (error) {
    throw toUserError(error, `attestation provider "${name}"`)
  }
}

export async function deleteAttestationProvider(
  azure: AzureSession,
  resourceGroup: string,
  name: string
): Promise<void> {
  const client = await azure.attestation()
  try {
    await client.attestationProviders.delete(resourceGroup, name, { abortSignal: azure.signal })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `attestation provider "${name}"`)
  }
}

function describe(provider: { id?: string; attestUri?: string; status?: string }, name: string): AttestationProvider {
  if (provider.status !== undefined && provider.status !== 'Ready') {
    throw new UserError('cloud', 'attestation.not-ready', `attestation provider "${name}" is ${provider.status}`, {
      next: ['run the same command again']
    })
  }
  if (provider.attestUri === undefined) {
    throw new UserError('cloud', 'azure.error', `attestation provider "${name}" has no attestUri`)
  }
  return { id: provider.id ?? '', name, attestUri: provider.attestUri.replace(/\/$/, '') }
}
