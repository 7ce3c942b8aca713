import { setTimeout as sleep } from 'node:timers/promises'
import { isAbsent, toUserError } from './errors.js'
import type { AzureSession } from './session.js'

export interface WantedDeployment {
  readonly resourceGroup: string
  readonly name: string
  readonly template: Readonly<Record<string, unknown>>
  /** Values by parameter name. */
  readonly parameters: Readonly<Record<string, unknown>>
}

/**
 * Validates and runs an incremental deployment. A deployment that an interrupted run left going is
 * resumed from its poller token: no second PUT is sent, and Azure refuses one while the first runs.
 */
export async function deployTemplate(
  azure: AzureSession,
  wanted: WantedDeployment,
  resume: { readonly token: string | undefined; readonly save: (token: string | undefined) => Promise<void> }
): Promise<void> {
  const client = await azure.resources()
  const properties = {
    mode: 'Incremental' as const,
    template: wanted.template,
    parameters: Object.fromEntries(Object.entries(wanted.parameters).map(([name, value]) => [name, { value }]))
  }
  const options = { abortSignal: azure.signal, updateIntervalInMs: azure.environment.pollIntervalMs }
  try {
    if (resume.token === undefined) {
      const { error } = await client.deployments.beginValidateAndWait(
        wanted.resourceGroup,
        wanted.name,
        { properties },
        options
      )
      // A template that is wrong comes back as an answer, not only as a status.
      if (error !== undefined) throw Object.assign(new Error('the template is not valid'), { error })
    }
    const poller = await client.deployments.beginCreateOrUpdate(
      wanted.resourceGroup,
      wanted.name,
      { properties },
      { ...options, ...(resume.token === undefined ? {} : { resumeFrom: resume.token }) }
    )
    await resume.save(poller.toString())
    await poller.pollUntilDone({ abortSignal: azure.signal })
    await resume.save(undefined)
  } catch (error) {
    // A cancelled wait is not a failed operation: the token stays, so that the next run can go on.
    if (!azure.signal.aborted) await resume.save(undefined)
    throw toUserError(error, `deployment "${wanted.name}"`, azure.takeFailedOperation())
  }
}

/** Waits until no deployment of this name is running, which a killed run may have left behind. */
export async function waitForIdleDeployment(azure: AzureSession, resourceGroup: string, name: string): Promise<void> {
  const client = await azure.resources()
  for (;;) {
    try {
      const deployment = await client.deployments.get(resourceGroup, name, { abortSignal: azure.signal })
      const state = deployment.properties?.provisioningState
      if (state !== 'Accepted' && state !== 'Running') return
      azure.onWait(`waiting for deployment "${name}" of an earlier run to end (${state})`)
    } catch (error) {
      if (isAbsent(error)) return
      throw toUserError(error, `deployment "${name}"`)
    }
    await sleep(azure.environment.pollIntervalMs, undefined, { signal: azure.signal })
  }
}
