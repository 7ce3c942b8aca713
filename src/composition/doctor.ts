import { lookup } from 'node:dns/promises'
import { createServer } from 'node:net'
import { getContainerGroup } from '../azure/container-group.js'
import { azureEnvironment } from '../azure/environment.js'
import { type AzureSession, openAzure } from '../azure/session.js'
import { UserError } from '../base/user-error.js'
import type { SharedOptions } from '../commands/options.js'
import { type Config, draftConfig, parseConfig } from '../config/index.js'
import type { EmulatorEnvironment } from '../emulator/environment.js'
import { probeAz, probeEngine } from '../exec/index.js'
import {
  azureChecks,
  configCheck,
  type DoctorCheck,
  type Machine,
  machineChecks,
  portCheck,
  recordedAmbient,
  toolChecks
} from '../steps/index.js'
import { localEnvironment, runningEmulator } from './local-cloud.js'
import { programs } from './package-files.js'
import { withDotEnv } from './provider-keys.js'
import { authOf, flagsOf, loopbackConfig, otherVariables, readConfigFile } from './session.js'

/** Puts the checks together. Nothing is started, written or locked, and a wrong configuration is a finding. */
export async function openDoctor(
  options: SharedOptions,
  surroundings: { readonly environment: Readonly<Record<string, string | undefined>>; readonly signal: AbortSignal }
): Promise<{ readonly checks: readonly DoctorCheck[]; readonly cloud: string }> {
  const fileName = options.config ?? 'confrouter.yaml'
  const environment = await withDotEnv(surroundings.environment, fileName)
  const stateDir = options.stateDir ?? '.confrouter'
  const text = await readConfigFile(fileName, options.config !== undefined)
  const sources = { text, fileName, flags: flagsOf(options), environment, otherVariables }
  const cloud = cloudOf(sources, options)
  const emulator = cloud === 'local' ? await runningEmulator(stateDir) : undefined
  const { kept } = await recordedAmbient(stateDir).catch(() => ({ kept: [] }))
  const config = once(() => {
    if (cloud !== 'local') return parseConfig({ ...sources, defaults: {} }).config
    const { fixed, defaults } = loopbackConfig(emulator ?? notStarted, environment, kept)
    return parseConfig({ ...sources, flags: { ...sources.flags, ...fixed }, defaults }).config
  })
  const azure = once(async () => {
    const resolved = config()
    const target =
      resolved.cloud === 'local'
        ? await localEnvironment(requireEmulator(emulator))
        : azureEnvironment(resolved.cloud, resolved.tenant, { auth: authOf(options), variables: environment })
    return openAzure(target, resolved.subscription, surroundings.signal)
  })
  // The clients and their credential are shared; the signal is that of each check.
  const access = {
    config,
    azure: async (signal: AbortSignal): Promise<AzureSession> => ({ ...(await azure()), signal }),
    hostExists,
    skipRoles: options.roles === false
  }
  const local = () => [emulatorCheck(emulator), portCheck(machine, config, () => isDeployed(config(), azure, emulator))]
  return {
    cloud,
    checks: [
      ...machineChecks(machine),
      configCheck(config),
      ...toolChecks(machine, config),
      ...(cloud === 'local' ? local() : []),
      ...azureChecks(access).map((check) =>
        cloud === 'local' ? { ...check, needs: ['emulator', ...(check.needs ?? [])] } : check
      )
    ]
  }
}

/** The cloud, as far as a configuration that may be wrong says; what is wrong with it is a finding of its own. */
function cloudOf(sources: Parameters<typeof draftConfig>[0], { cloud, local }: SharedOptions): string {
  try {
    return draftConfig(sources).cloud
  } catch (error) {
    if (!(error instanceof UserError) || error.fault !== 'config') throw error
    return local === true ? 'local' : (cloud ?? 'azure')
  }
}

/** What an emulator that does not run yet is going to be, as far as a configuration can be checked with it. */
const notStarted = {
  subscriptionId: '00000000-0000-0000-0000-000000000000',
  sidecarImage: 'confrouter.local/skr:2.12',
  loopbackProvider: 'http://127.0.0.1:18444/v1'
}

const machine: Machine = {
  nodeVersion: process.versions.node,
  routerBundle: programs.router,
  probeEngine: (engine, signal) => probeEngine(engine, { signal }),
  probeAz: (signal) => probeAz({ signal }),
  isPortFree
}

function emulatorCheck(emulator: EmulatorEnvironment | undefined): DoctorCheck {
  return {
    id: 'emulator',
    title: 'emulator',
    look: async () =>
      emulator === undefined
        ? { outcome: 'skipped', detail: 'not running; `up --local` starts it' }
        : { outcome: 'pass', detail: `running at ${emulator.armEndpoint}` }
  }
}

function requireEmulator(emulator: EmulatorEnvironment | undefined): EmulatorEnvironment {
  if (emulator === undefined) throw new Error('checks of Azure on loopback need a running emulator')
  return emulator
}

async function isDeployed(
  config: Config,
  azure: () => Promise<AzureSession>,
  emulator: EmulatorEnvironment | undefined
): Promise<boolean> {
  if (emulator === undefined) return false
  return (await getContainerGroup(await azure(), config.resourceGroup, config.containerGroup.name)) !== undefined
}

function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

async function hostExists(name: string): Promise<boolean> {
  try {
    await lookup(name)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTFOUND') return false
    throw error
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}
