import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type AuthMethod, authMethods, type AzureEnvironment, azureEnvironment } from '../azure/environment.js'
import { openAzure } from '../azure/session.js'
import { parseSha256Hex } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import type { Access, EmulatorOptions, Session } from '../commands/app.js'
import { flagFor } from '../commands/approval.js'
import type { ApprovalOptions, SharedOptions } from '../commands/options.js'
import { type Config, type ConfigDefaults, type ConfigFlags, draftConfig, parseConfig } from '../config/index.js'
import type { EmulatorEnvironment } from '../emulator/environment.js'
import { openLayoutImage } from '../image/index.js'
import {
  type ImageStore,
  noteToStep,
  openState,
  otherDeployment,
  type PlatformTrust,
  type ProviderKeys,
  recordedAmbient,
  type Run,
  stateOwner,
  takeLock,
  type TrustChange
} from '../steps/index.js'
import { ambientOf, bringsProvider, rememberAmbient } from './ambient-provider.js'
import { registryStore } from './registry-store.js'
import { emulatorControl, ensureEmulator, localEnvironment, runningEmulator } from './local-cloud.js'
import { readAssets } from './package-files.js'
import { readProviderKeys, withDotEnv } from './provider-keys.js'
import { routerFetch } from './router-fetch.js'
import { trustedFetch } from './trusted-fetch.js'

type Environment = Readonly<Record<string, string | undefined>>

export interface Surroundings {
  readonly environment: Environment
  readonly signal: AbortSignal
  readonly say: (message: string) => void
  /** Ask as on a cloud that costs money, though nothing does: how the questions are tried out. */
  readonly asksOnLoopback?: boolean
}

/** Everything in which one cloud differs from another, once its name is known. */
interface Cloud {
  readonly azure: AzureEnvironment
  readonly defaults: ConfigDefaults
  readonly images: Omit<ImageStore, 'hashCache'>
  readonly trust: PlatformTrust
  readonly listenAddress: string
  readonly simulated: boolean
  readonly readySeconds: number
}

/** Reads the configuration, connects to its cloud and takes the state directory. */
export async function openSession(
  command: string,
  options: SharedOptions & ApprovalOptions,
  access: Access,
  { environment: processEnvironment, signal, say, asksOnLoopback }: Surroundings
): Promise<Session> {
  const configFile = options.config ?? 'confrouter.yaml'
  const environment = await withDotEnv(processEnvironment, configFile)
  const text = await readConfigFile(configFile, options.config !== undefined)
  const sources = { text, fileName: configFile, flags: flagsOf(options), environment, otherVariables }
  const draft = draftConfig(sources)
  const stateDir = options.stateDir ?? '.confrouter'
  await refuseOtherCloud(stateDir, draft.cloud)
  const recorded = await recordedAmbient(stateDir)
  const release = access === 'write' ? await takeLock(stateDir, command, new Date(), say) : () => Promise.resolve()
  try {
    const loopback =
      draft.cloud === 'local'
        ? await loopbackCloud(
            await emulatorFor(
              access,
              { stateDir, ...draft.emulator, faults: environment['CONFROUTER_EMULATOR_FAULTS'] },
              signal
            ),
            environment,
            recorded.kept
          )
        : undefined
    const parsed = parseConfig({
      ...sources,
      flags: { ...sources.flags, ...loopback?.fixed },
      defaults: loopback?.defaults ?? {}
    })
    const { config } = parsed
    const cloud = loopback ?? realCloud(config, { stateDir, configFile, environment, signal, auth: authOf(options) })
    const accepted = new Set(
      [options.acceptHostData, options.acceptAuthority?.replace(/\/$/, '')].filter((value) => value !== undefined)
    )
    const isAccepted = (change: TrustChange) =>
      // The other conditions are approved together with the host data that they are conditions for.
      accepted.has(change.to) || (change.what === 'conditions of release' && options.acceptHostData !== undefined)
    const asks = !cloud.simulated || asksOnLoopback === true
    let providerKeys: Promise<ProviderKeys> | undefined
    const state = await openState(stateDir, config.name, config.cloud)
    if (loopback !== undefined && access !== 'read') {
      const ambient = ambientOf(parsed, environment, recorded)
      if (ambient.warning !== undefined) say(ambient.warning)
      if (access === 'write') await rememberAmbient(state, ambient)
    }
    const run: Run = {
      config,
      azure: openAzure(cloud.azure, config.subscription, signal, noteToStep),
      state,
      policyDirectory: join(stateDir, 'policy'),
      imageStore: { ...cloud.images, hashCache: join(stateDir, 'root-hashes.json') },
      assets: await readAssets(),
      trust: cloud.trust,
      providerKeys: () => (providerKeys ??= readProviderKeys(config, environment, configFile)),
      accessToken: environment['CONFROUTER_ACCESS_TOKEN'],
      fetch: trustedFetch(cloud.azure.ca),
      routerFetch,
      now: () => new Date(),
      signal,
      skipRoles: options.roles === false,
      listenAddress: cloud.listenAddress,
      simulated: cloud.simulated,
      readySeconds: cloud.readySeconds,
      softDeleted: () => session.softDeleted ?? 'recover',
      approveTrust: async (change) => {
        if (asks && !isAccepted(change)) throw notApproved(command, change)
      }
    }
    const session: Session = {
      run,
      asks,
      softDeleted: options.softDeleted,
      isAccepted,
      accept: (change) => void accepted.add(change.to),
      variable: (name) => environment[name],
      ...(loopback === undefined ? {} : { endCloud: () => emulatorControl(signal).stop({ stateDir }) }),
      close: release
    }
    return session
  } catch (error) {
    await release()
    throw error
  }
}

function notApproved(command: string, change: TrustChange): UserError {
  return new UserError(
    'user',
    'trust.not-approved',
    `${change.what} would change from ${change.from} to ${change.to}`,
    {
      why: 'a change of who can obtain the key is approved apart from other changes',
      next: [`confrouter ${command} ${flagFor(change)}`]
    }
  )
}

/** Before anything is started: a state directory holds one deployment on one cloud. */
async function refuseOtherCloud(stateDir: string, cloud: string): Promise<void> {
  const owner = await stateOwner(stateDir)
  if (owner !== undefined && owner.cloud !== cloud) throw otherDeployment(stateDir, owner, { cloud })
}

/** A look starts nothing: without a running emulator there is nothing to look at. */
async function emulatorFor(
  access: Access,
  options: EmulatorOptions,
  signal: AbortSignal
): Promise<EmulatorEnvironment> {
  if (access !== 'read') return ensureEmulator(options, signal)
  const running = await runningEmulator(options.stateDir)
  if (running !== undefined) return running
  throw new UserError('machine', 'emulator.not-running', `no emulator runs for ${options.stateDir}`, {
    next: ['confrouter up --local', `confrouter emulator start --state-dir ${options.stateDir}`]
  })
}

/** Variables of ours that are no settings of the deployment. */
export const otherVariables = [
  'CONFROUTER_CONFIG',
  'CONFROUTER_STATE_DIR',
  'CONFROUTER_ACCESS_TOKEN',
  'CONFROUTER_EMULATOR_FAULTS',
  'CONFROUTER_AUTH',
  'CONFROUTER_SUMMARY'
]

/** The way to log in that `--auth` names. Throws a `UserError` `usage.invalid`. */
export function authOf({ auth = 'auto' }: SharedOptions): AuthMethod {
  const method = authMethods.find((one) => one === auth)
  if (method !== undefined) return method
  throw new UserError('usage', 'usage.invalid', `--auth is ${JSON.stringify(auth)}, expected ${authMethods.join(', ')}`)
}

export async function readConfigFile(file: string, wasNamed: boolean): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (missing && !wasNamed) return undefined
    throw new UserError('config', 'config.unreadable', `${file} cannot be read`, {
      why: missing ? 'there is no such file' : undefined,
      next: ['confrouter init', 'confrouter up --local   (needs no file)'],
      cause: error
    })
  }
}

export function flagsOf({ cloud, local, engine, strategy }: SharedOptions): ConfigFlags {
  const others = {
    ...(engine === undefined ? {} : { 'policy.engine': engine }),
    ...(strategy === undefined ? {} : { 'upgrade.strategy': strategy })
  }
  if (local !== true) return cloud === undefined ? others : { ...others, cloud }
  if (cloud !== undefined && cloud !== 'local') {
    throw new UserError('usage', 'usage.conflict', `--local and --cloud ${cloud} exclude each other`, {
      next: ['leave one of them out']
    })
  }
  return { ...others, cloud: 'local' }
}

async function loopbackCloud(
  emulator: EmulatorEnvironment,
  environment: Environment,
  keptProviders: readonly string[]
): Promise<Cloud & { readonly fixed: ConfigFlags }> {
  return {
    azure: await localEnvironment(emulator),
    ...loopbackConfig(emulator, environment, keptProviders),
    images: layoutStore(emulator.imageLayout),
    trust: {
      roots: { arkSha256: [parseSha256Hex(emulator.amdRootSha256, 'root of the emulator')] },
      uvmIssuer: emulator.uvmIssuer
    },
    listenAddress: '127.0.0.1',
    simulated: true,
    // The router asks again for a refused key every 30 seconds.
    readySeconds: 60
  }
}

/**
 * What the configuration is on loopback, whatever it says and where it says nothing.
 *
 * @param keptProviders what the environment brought before and whose key is sealed
 */
export function loopbackConfig(
  emulator: Pick<EmulatorEnvironment, 'subscriptionId' | 'sidecarImage' | 'loopbackProvider'>,
  environment: Environment,
  keptProviders: readonly string[]
): { readonly fixed: ConfigFlags; readonly defaults: ConfigDefaults } {
  const hasOpenAiKey = bringsProvider(environment, keptProviders)
  return {
    // Whatever a file for Azure says: on loopback there is one subscription and one place for images.
    fixed: {
      subscription: emulator.subscriptionId,
      'image.repository': 'confrouter.local/router',
      'image.builder': 'native',
      'sidecar.image': emulator.sidecarImage
    },
    defaults: {
      local: {
        containerGroup: { port: 18080 },
        sidecar: { port: 18081 },
        providers: {
          loopback: {
            baseUrl: emulator.loopbackProvider,
            auth: 'none',
            allowPrivate: true,
            ...(hasOpenAiKey ? {} : { default: true })
          },
          ...(hasOpenAiKey ? { openai: { apiKey: { env: 'OPENAI_API_KEY' }, default: true } } : {})
        },
        // The same address after every change is worth more here than no gap, and not every machine has a second one.
        upgrade: { strategy: 'replace', drainSeconds: 1 },
        smoke: { model: 'loopback:echo' }
      }
    }
  }
}

/** On loopback the layout is the registry. */
function layoutStore(layout: string): Cloud['images'] {
  const open = (reference: string) => openLayoutImage(layout, reference)
  return { layout, open, openBase: open, publish: () => Promise.resolve() }
}

interface RealSurroundings {
  readonly stateDir: string
  readonly configFile: string
  readonly environment: Environment
  readonly signal: AbortSignal
  readonly auth: AuthMethod
}

function realCloud(config: Config, { stateDir, configFile, environment, signal, auth }: RealSurroundings): Cloud {
  if (config.cloud === 'local') throw new Error('the loopback cloud is opened from its running emulator')
  const { baseFrom } = config.image
  return {
    azure: azureEnvironment(config.cloud, config.tenant, { auth, variables: environment }),
    defaults: {},
    images: registryStore({
      layout: join(stateDir, 'images'),
      baseFrom: baseFrom === undefined ? undefined : resolve(dirname(configFile), baseFrom),
      environment,
      signal
    }),
    trust: { roots: 'amd', uvmIssuer: undefined },
    listenAddress: '0.0.0.0',
    simulated: false,
    readySeconds: 600
  }
}
