import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { build } from 'esbuild'
import { type FaultPlan, isAlive, type KillFault, readEnvironment } from '../../src/emulator/index.js'
import { killMoments } from '../../src/emulator/faults.js'
import { openStore } from '../../src/emulator/store.js'
import { openState } from '../../src/steps/state.js'
import { buildEmulatorProgram } from '../unit/emulator/support/child.js'
import { clientsFor, quickPoll } from '../unit/emulator/support/emulator.js'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kill-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

const location = 'westeurope'
const namespaces = ['Microsoft.Attestation', 'Microsoft.KeyVault', 'Microsoft.ManagedIdentity']
const administrator = '00482a5a-887f-4fb3-b363-3b7fe8e74483'
const assignment = '00000000-0000-0000-0000-0000000000aa'

/** What was made, by the names under which it can be found again. */
interface Made {
  readonly principalId: string
  readonly vaultUri: string
  readonly keyId: string
}

describe('the emulator', () => {
  it('survives a kill -9 at every write of its state, and the next one does the rest', async () => {
    const program = await buildEmulatorProgram(directory)
    let kills = 0
    for (let write = 1; ; write++) {
      const state = join(directory, `emulator-${write}`)
      const moment = killMoments[write % killMoments.length]!
      const first = await live(program, state, { write, moment })
      // It starts from whatever the kill has left, and what is made then is there afterwards too.
      const made = first ?? (await live(program, state, undefined))
      expect(made).toBeDefined()
      const leftovers = (await readdir(join(state, 'state'))).filter((name) => !name.endsWith('.json'))
      expect(first === undefined ? leftovers : []).toEqual([])
      if (write % 5 === 0) expect(await live(program, state, undefined)).toEqual(made)
      if (first !== undefined) break
      kills++
    }
    expect(kills).toBeGreaterThan(15)
  }, 600_000)
})

describe('the store', () => {
  it.each(killMoments)('holds the old or the new record at the moment "%s"', async (moment) => {
    const entry = join(directory, 'store.ts')
    const source = (name: string) => JSON.stringify(join(import.meta.dirname, `../../src/emulator/${name}.ts`))
    await writeFile(
      entry,
      `import { openStore, replaceFile } from ${source('store')}
       import { killingWrite } from ${source('kill-at-write')}
       const kill = { write: 3, moment: process.argv[3] }
       openStore(process.argv[2], killingWrite(replaceFile, kill)).then(async (store) => {
         const records = store.collection('things')
         for (let i = 1; i <= 3; i++) await records.set('one', i)
       })`
    )
    const program = join(directory, 'store.cjs')
    const format = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'error' } as const
    await build({ entryPoints: [entry], outfile: program, ...format })
    const state = join(directory, `store-${moment}`)
    const { signal } = await endOf(spawn(process.execPath, [program, state, moment], { stdio: 'inherit' }))
    expect(signal).toBe('SIGKILL')
    const store = await openStore(state)
    expect(store.collection('things').get('one')).toBe(moment === 'after' ? 3 : 2)
    expect(await readdir(state)).toEqual(['things.json'])
  })
})

/** One life of an emulator in which somebody does what is not done yet. Undefined if it was killed before the end. */
async function live(program: string, state: string, kill: KillFault | undefined): Promise<Made | undefined> {
  const faults: FaultPlan = { requests: [], ...(kill === undefined ? {} : { kill }) }
  const options = { directory: state, port: 0, sidecarBundle: await idleSidecar(), faults }
  const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (text: Buffer) => (said += text.toString()))
  const ended = endOf(child)
  const killed = ended.then(({ code, signal }) => {
    // Anything but the kill is an emulator that could not go on from what it found.
    if (signal !== 'SIGKILL') throw new Error(`the emulator ended with ${code ?? signal}: ${said}`)
    return undefined
  })
  try {
    return await Promise.race([killed, work(state, child)])
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

async function work(state: string, child: ChildProcess): Promise<Made | undefined> {
  try {
    return await doTheRest(state, child)
  } catch (error) {
    // A connection that broke: whether it was the kill is for the race to say.
    if (child.exitCode !== null || child.signalCode !== null) return await new Promise<never>(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 500))
    if (child.signalCode !== null) return await new Promise<never>(() => undefined)
    throw error
  }
}

/** As `up` does: looks first, and makes only what is not there. */
async function doTheRest(state: string, child: ChildProcess): Promise<Made> {
  const environment = await started(state, child)
  const { resources, vaults, identities, authorization, attestation, keys } = await clientsFor(environment)
  const { subscriptionId, tenantId, operatorObjectId } = environment
  for (const namespace of namespaces) {
    const { registrationState } = await resources.providers.get(namespace)
    if (registrationState !== 'Registered') await resources.providers.register(namespace)
  }
  await present(resources.resourceGroups.get('rg')).then(
    (group) => group ?? resources.resourceGroups.createOrUpdate('rg', { location })
  )
  const vault = {
    location,
    properties: { tenantId, sku: { family: 'A' as const, name: 'premium' as const }, accessPolicies: [] }
  }
  if ((await present(vaults.vaults.get('rg', 'kill-vault'))) === undefined)
    await vaults.vaults.createOrUpdate('rg', 'kill-vault', vault, quickPoll)
  const { id, properties } = await vaults.vaults.get('rg', 'kill-vault')
  if ((await present(attestation.attestationProviders.get('rg', 'maa'))) === undefined)
    await attestation.attestationProviders.create('rg', 'maa', { location, properties: {} })
  const identity =
    (await present(identities.userAssignedIdentities.get('rg', 'id1'))) ??
    (await identities.userAssignedIdentities.createOrUpdate('rg', 'id1', { location }))
  if ((await present(authorization.roleAssignments.get(id!, assignment))) === undefined) {
    await authorization.roleAssignments.create(id!, assignment, {
      roleDefinitionId: `/subscriptions/${subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${administrator}`,
      principalId: operatorObjectId,
      principalType: 'ServicePrincipal'
    })
  }
  const client = keys(properties.vaultUri!)
  const key = (await present(client.getKey('k'))) ?? (await client.createKey('k', 'RSA-HSM', { keySize: 2048 }))
  return { principalId: identity.principalId!, vaultUri: properties.vaultUri!, keyId: key.id! }
}

async function started(state: string, child: ChildProcess) {
  for (;;) {
    const environment = await readEnvironment(state)
    if (environment?.pid === child.pid && environment !== undefined && (await isAlive(environment))) return environment
    await new Promise((resolve) => setTimeout(resolve, 10))
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it has ended')
  }
}

function present<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch((error: unknown) => {
    if ((error as { statusCode?: unknown }).statusCode === 404) return undefined
    throw error
  })
}

async function idleSidecar(): Promise<string> {
  const file = join(directory, 'sidecar.cjs')
  await writeFile(file, 'setInterval(() => {}, 1000)\n')
  return file
}

function endOf(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
}

/** Kills its own process in place of, or in the middle of, the n-th call that writes the file or gives it its name. */
const preload = `
const fs = require('node:fs')
const promises = require('node:fs/promises')
const fatal = Number(process.env.KILL_AT)
let count = 0
const isOurs = (...paths) => paths.some((path) => /state\\.json|\\.partial$/.test(String(path)))
const dieAt = (leave) => {
  if (++count !== fatal) return
  leave?.()
  process.kill(process.pid, 'SIGKILL')
}
const open = promises.open
promises.open = async (path, ...rest) => {
  if (!isOurs(path)) return open(path, ...rest)
  dieAt()
  const handle = await open(path, ...rest)
  for (const name of ['write', 'sync', 'chmod', 'close']) {
    const original = handle[name].bind(handle)
    handle[name] = (...given) => {
      dieAt(name === 'write' ? () => fs.writeSync(handle.fd, given[0], 0, 40) : undefined)
      return original(...given)
    }
  }
  return handle
}
for (const name of ['rename', 'rm']) {
  const original = promises[name]
  promises[name] = (...given) => {
    if (isOurs(...given.slice(0, 2))) dieAt()
    return original(...given)
  }
}
`

describe('the state file', () => {
  it('is the old or the new one after a kill -9 at every step of every write', async () => {
    const entry = join(directory, 'writer.ts')
    const source = join(import.meta.dirname, '../../src/steps/state.ts')
    await writeFile(
      entry,
      `import { openState } from ${JSON.stringify(source)}
       import { writeSync } from 'node:fs'
       openState(process.argv[2], 'cr', 'local').then(async (state) => {
         for (let i = 1; i <= 3; i++) {
           await state.update((old) => ({ ...old, keyId: String(i) }))
           writeSync(1, i + '\\n')
         }
       })`
    )
    const program = join(directory, 'writer.cjs')
    await build({
      entryPoints: [entry],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      logLevel: 'error'
    })
    const hook = join(directory, 'hook.cjs')
    await writeFile(hook, preload)
    let kills = 0
    for (let at = 1; ; at++) {
      const state = join(directory, `state-${at}`)
      const child = spawn(process.execPath, ['--require', hook, program, state], {
        env: { ...process.env, KILL_AT: String(at) },
        stdio: ['ignore', 'pipe', 'inherit']
      })
      let acknowledged = ''
      child.stdout.on('data', (text: Buffer) => (acknowledged += text.toString()))
      const { code, signal } = await endOf(child)
      const last = Number(acknowledged.trim().split('\n').at(-1) ?? 0)
      const found = Number((await openState(state, 'cr', 'local')).get().keyId ?? 0)
      expect(found === last || found === last + 1).toBe(true)
      if (code === 0) {
        expect(found).toBe(3)
        break
      }
      expect(signal).toBe('SIGKILL')
      kills++
      // And a run that comes after writes on.
      await (await openState(state, 'cr', 'local')).update((old) => ({ ...old, keyId: 'after' }))
      expect(JSON.parse(await readFile(join(state, 'state.json'), 'utf8'))).toMatchObject({ keyId: 'after' })
    }
    expect(kills).toBeGreaterThanOrEqual(15)
  }, 120_000)
})
