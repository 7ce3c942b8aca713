import { openAzure, type AzureSession } from '../../src/azure/session.js'
import { localEnvironment, runningEmulator } from '../../src/composition/local-cloud.js'
import type { EmulatorEnvironment } from '../../src/emulator/environment.js'
import type { Workspace } from './workspace.js'

/** The workspace's emulator through the product's own session of real SDK clients: somebody else at work on the same Azure. */
export async function azureOf(workspace: Workspace): Promise<{ azure: AzureSession; emulator: EmulatorEnvironment }> {
  const emulator = await runningEmulator(`${workspace.directory}/.confrouter`)
  if (emulator === undefined) throw new Error('no emulator runs in this workspace')
  const { signal } = new AbortController()
  return { azure: openAzure(await localEnvironment(emulator), emulator.subscriptionId, signal), emulator }
}
