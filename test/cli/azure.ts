import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openAzure, type AzureSession } from '../../src/azure/session.js'
import { type EmulatorEnvironment, readEnvironment } from '../../src/emulator/environment.js'
import type { Workspace } from './workspace.js'

/** The workspace's emulator through the product's own session of real SDK clients: somebody else at work on the same Azure. */
export async function azureOf(workspace: Workspace): Promise<{ azure: AzureSession; emulator: EmulatorEnvironment }> {
  const emulator = await readEnvironment(join(workspace.directory, '.confrouter', 'emulator'))
  if (emulator === undefined) throw new Error('no emulator runs in this workspace')
  const azure = openAzure(
    {
      armEndpoint: emulator.armEndpoint,
      armScope: `${emulator.armEndpoint}/.default`,
      credential: {
        kind: 'client-secret',
        authorityHost: emulator.authorityHost,
        tenantId: emulator.tenantId,
        clientId: emulator.clientId,
        clientSecret: emulator.clientSecret
      },
      ca: await readFile(emulator.caFile, 'utf8'),
      pollIntervalMs: 20,
      roleWaitSeconds: 30
    },
    emulator.subscriptionId,
    new AbortController().signal
  )
  return { azure, emulator }
}
