import { describe, expect, it } from '@jest/globals'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { isAlive, readEnvironment } from '../../../src/emulator/index.js'
import { identifyProcess } from '../../../src/emulator/process-identity.js'
import { buildEmulatorProgram, startChild } from './support/child.js'
import { buildScriptImage, groupTemplate, policyOf, sdkGroup, withPolicy } from './support/containers.js'
import {
  clientsFor,
  eventually,
  freePort,
  prepare,
  quickPoll,
  startTestEmulator,
  temporaryDirectory
} from './support/emulator.js'
import { rawRequest } from './support/http.js'

const script = `
const { createServer } = require('node:http')
createServer((_, response) => response.end(String(process.pid))).listen(Number(process.env.PORT), '127.0.0.1')
`

async function pidOnPort(port: number): Promise<number | false> {
  try {
    return Number(await (await fetch(`http://127.0.0.1:${port}/`)).text())
  } catch {
    return false
  }
}

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await temporaryDirectory()
  try {
    await test(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

describe('an emulator', () => {
  it('tells its clients all they need, in a file that only its owner can read', () =>
    inDirectory(async (directory) => {
      const emulator = await startTestEmulator(directory)
      const environment = await readEnvironment(directory)
      expect(environment).toEqual(emulator.environment)
      expect((await stat(join(directory, 'emulator.json'))).mode & 0o777).toBe(0o600)
      expect(environment && (await isAlive(environment))).toBe(true)
      expect(environment?.loopbackProvider).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/)
      await emulator.close()
      expect(environment && (await isAlive(environment))).toBe(false)
      expect(await readEnvironment(directory)).toBeUndefined()
    }))

  it('keeps private keys and secrets in files that only its owner can read', () =>
    inDirectory(async (directory) => {
      const emulator = await startTestEmulator(directory)
      await emulator.close()
      for (const folder of ['state', 'tls']) {
        for (const file of await readdir(join(directory, folder))) {
          expect((await stat(join(directory, folder, file))).mode & 0o077).toBe(0)
        }
      }
    }))

  it('does not take another emulator on the same port for itself', () =>
    inDirectory(async (directory) => {
      const emulator = await startTestEmulator(directory)
      expect(await isAlive({ ...emulator.environment, pid: emulator.environment.pid + 1 })).toBe(false)
      expect(await isAlive({ ...emulator.environment, startedAt: '2020-01-01T00:00:00.000Z' })).toBe(false)
      await emulator.close()
    }))

  it('keeps ids, ports, keys and resources across a restart', () =>
    inDirectory(async (directory) => {
      const first = await startTestEmulator(directory)
      const clients = await clientsFor(first.environment)
      await prepare(clients)
      const provider = await clients.attestation.attestationProviders.create('rg', 'att1', {
        location: 'westeurope',
        properties: {}
      })
      const token = await clients.token()
      await first.close()
      const second = await startTestEmulator(directory)
      const { pid: _pid, startedAt: _startedAt, ...before } = first.environment
      expect(second.environment).toMatchObject(before)
      const again = await clientsFor(second.environment)
      expect((await again.attestation.attestationProviders.get('rg', 'att1')).attestUri).toBe(provider.attestUri)
      expect((await again.resources.providers.get('Microsoft.KeyVault')).registrationState).toBe('Registered')
      const withOldToken = await rawRequest(second.environment.armEndpoint, again.ca, {
        path: `/subscriptions/${second.environment.subscriptionId}/resourcegroups/rg?api-version=2025-03-01`,
        headers: { authorization: `Bearer ${token}` }
      })
      expect(withOldToken.status).toBe(200)
      await second.close()
    }))

  it('refuses a directory that a living emulator uses', () =>
    inDirectory(async (directory) => {
      const emulator = await startTestEmulator(directory)
      await expect(startTestEmulator(directory)).rejects.toMatchObject({
        code: 'emulator.already-running',
        fault: 'machine'
      })
      expect(await isAlive(emulator.environment)).toBe(true)
      await emulator.close()
      await (await startTestEmulator(directory)).close()
    }))

  it('takes over a lock whose process has ended or was given to another program', () =>
    inDirectory(async (directory) => {
      const self = identifyProcess(process.pid)
      for (const stale of [
        { pid: 2 ** 22 - 1, started: 'x' },
        { pid: process.ppid, started: 'long ago' },
        { ...self }
      ]) {
        await writeFile(join(directory, 'lock'), JSON.stringify({ ...stale, token: 't' }))
        await (await startTestEmulator(directory)).close()
      }
      await writeFile(join(directory, 'lock'), 'cut sho')
      await (await startTestEmulator(directory)).close()
    }))

  it('says which port is taken, and leaves no lock behind', () =>
    inDirectory(async (directory) => {
      const other = createServer()
      const port = await new Promise<number>((resolve) => {
        other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port))
      })
      await expect(startTestEmulator(directory, { port })).rejects.toMatchObject({
        code: 'emulator.port-taken',
        problem: `port ${port} on 127.0.0.1 is not free`
      })
      other.close()
      const emulator = await startTestEmulator(directory, { port })
      expect(emulator.environment.armEndpoint).toBe(`https://127.0.0.1:${port}`)
      await emulator.close()
    }))

  it('refuses to move when the port that its clients know is taken', () =>
    inDirectory(async (directory) => {
      const emulator = await startTestEmulator(directory)
      await emulator.close()
      const port = Number(new URL(emulator.environment.armEndpoint).port)
      const other = createServer()
      await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve))
      await expect(startTestEmulator(directory)).rejects.toMatchObject({ code: 'emulator.port-taken' })
      other.close()
    }))

  it('needs the sidecar program', () =>
    inDirectory(async (directory) => {
      const start = startTestEmulator(directory, { sidecarBundle: join(directory, 'none.cjs') })
      await expect(start).rejects.toMatchObject({ code: 'emulator.sidecar-missing' })
    }))

  it('survives a kill: ends what it had started, starts it again and finishes what was under way', () =>
    inDirectory(async (directory) => {
      const program = await buildEmulatorProgram(directory)
      const first = await startChild(program, directory)
      const clients = await clientsFor(first.environment)
      await prepare(clients)
      const port = await freePort()
      const { imageLayout } = first.environment
      const image = await buildScriptImage(imageLayout, 'web', script)
      const definition = { containers: [{ name: 'web', image, environment: { PORT: String(port) }, port }] }
      const group = sdkGroup(withPolicy(groupTemplate(definition), (await policyOf(imageLayout, definition)).base64))
      await clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', 'web', group, quickPoll)
      const orphan = await eventually(() => pidOnPort(port))
      await clients.resources.resourceGroups.createOrUpdate('rg-going', { location: 'westeurope' })
      await first.kill()
      expect(await pidOnPort(port)).toBe(orphan)
      const state = join(directory, 'state', 'resource-groups.json')
      const groups = JSON.parse(await readFile(state, 'utf8'))
      await writeFile(state, JSON.stringify({ ...groups, 'rg-going': { ...groups['rg-going'], state: 'Deleting' } }))
      const operation = {
        id: 'op-1',
        kind: 'resourceGroup.delete',
        target: 'rg-going',
        startedAt: new Date().toISOString(),
        status: 'InProgress'
      }
      await writeFile(join(directory, 'state', 'operations.json'), JSON.stringify({ 'op-1': operation }))

      const second = await startChild(program, directory)
      expect(second.environment.armEndpoint).toBe(first.environment.armEndpoint)
      const successor = await eventually(async () => {
        const pid = await pidOnPort(port)
        return pid !== orphan && pid
      })
      expect(identifyProcess(orphan)).toBeUndefined()
      const again = await clientsFor(second.environment)
      await eventually(async () => !(await again.resources.resourceGroups.checkExistence('rg-going')).body)
      expect((await again.containers.containerGroups.get('rg', 'web')).provisioningState).toBe('Succeeded')
      await again.containers.containerGroups.beginDeleteAndWait('rg', 'web', quickPoll)
      expect(identifyProcess(successor)).toBeUndefined()
      await second.kill()
    }))

  it('starts a group once after a kill in the middle of its restart', () =>
    inDirectory(async (directory) => {
      const program = await buildEmulatorProgram(directory)
      const first = await startChild(program, directory)
      const clients = await clientsFor(first.environment)
      await prepare(clients)
      const port = await freePort()
      const { imageLayout } = first.environment
      const image = await buildScriptImage(imageLayout, 'web', `console.log('run')\n${script}`)
      const definition = { containers: [{ name: 'web', image, environment: { PORT: String(port) }, port }] }
      const group = sdkGroup(withPolicy(groupTemplate(definition), (await policyOf(imageLayout, definition)).base64))
      const { id } = await clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', 'web', group, quickPoll)
      await eventually(() => pidOnPort(port))
      await first.kill()
      // The operation is recorded before the group: a kill in between leaves the group as it was.
      const operation = {
        id: 'op-1',
        kind: 'containerGroup.start',
        target: id?.toLowerCase(),
        startedAt: new Date().toISOString(),
        status: 'InProgress'
      }
      await writeFile(join(directory, 'state', 'operations.json'), JSON.stringify({ 'op-1': operation }))
      const second = await startChild(program, directory)
      await eventually(() => pidOnPort(port))
      await eventually(async () => {
        const operations = JSON.parse(await readFile(join(directory, 'state', 'operations.json'), 'utf8'))
        return operations['op-1'].status === 'Succeeded'
      })
      const again = await clientsFor(second.environment)
      const { content } = await again.containers.containers.listLogs('rg', 'web', 'web')
      expect(content).toBe('run\nrun\n')
      const found = await again.containers.containerGroups.get('rg', 'web')
      expect(found.containers[0]?.instanceView?.restartCount).toBe(0)
      await again.containers.containerGroups.beginDeleteAndWait('rg', 'web', quickPoll)
      await second.kill()
    }))
})
