import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type AzureEnvironment, azureEnvironment } from '../azure/environment.js'
import { openAzure } from '../azure/session.js'
import { parseSha256Hex } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import type { Session } from '../commands/app.js'
import type { ApprovalOptions, SharedOptions } from '../commands/options.js'
import { type Config, type ConfigDefaults, draftConfig, parseConfig } from '../config/index.js'
import type { EmulatorEnvironment } from '../emulator/environment.js'
import { dockerCredentialSource, openLayoutImage, openRegistryImage } from '../image/index.js'
import { type ImageStore, openState, type PlatformTrust, type Run, takeLock } from '../steps/index.js'
import { emulatorControl, ensureEmulator, localEnvironment } from './local-cloud.js'
import { readAssets } from './package-files.js'
import { readProviderKeys, withDotEnv } from './provider-keys.js'
import { trustedFetch } from './trusted-fetch.js'

type Environment = Readonly<Record<string, string | undefined>>

export interface Surroundings {
  readonly environment: Environment
  readonly signal: AbortSignal
  readonly say: (message: string) => void
}

/** Everything in which one cloud differs from another, once its name is known. */
interface Cloud {
  readonly azure: AzureEnvironment
  readonly defaults: ConfigDefaults
  readonly imageLayout: string
  readonly openImage: ImageStore['open']
  readonly trust: PlatformTrust
  readonly listenAddress: string
  readonly simulated: boolean
  readonly readySeconds: number
}

/** Reads the configuration, connects to its cloud and takes the state directory. */
export async function openSession(
  command: string,
  options: SharedOptions & ApprovalOptions,
  access: 'read' | 'write',
  { environment: processEnvironment, signal, say }: Surroundings
): Promise<Session> {
  const configFile = options.config ?? 'confrouter.yaml'
  const environment = await withDotEnv(processEnvironment, configFile)
  const text = await readConfigFile(configFile, options.config !== undefined)
  const sources = { text, fileName: configFile, flags: flagsOf(options), environment, otherVariables }
  const draft = draftConfig(sources)
  const stateDir = options.stateDir ?? '.confrouter'
  const release = access === 'write' ? await takeLock(stateDir, command, new Date(), say) : () => Promise.resolve()
  try {
    const loopback =
      draft.cloud === 'local'
        ? await loopbackCloud(await ensureEmulator({ stateDir, ...draft.emulator }, signal), environment)
        : undefined
    const { config } = parseConfig({ ...sources, defaults: loopback?.defaults ?? {} })
    const cloud = loopback ?? realCloud(config, stateDir, environment, signal)
    const { azure, imageLayout, openImage, trust, listenAddress, simulated, readySeconds } = cloud
    const accepted = new Set(options.acceptHostData === undefined ? [] : [options.acceptHostData])
    const asks = !simulated
    const run: Run = {
      config,
      azure: openAzure(azure, config.subscription, signal),
      state: await openState(stateDir, config.name, config.cloud),
      policyDirectory: join(stateDir, 'policy'),
      imageStore: { layout: imageLayout, open: openImage, hashCache: join(stateDir, 'root-hashes.json') },
      assets: await readAssets(),
      trust,
      providerKeys: await readProviderKeys(config, environment, configFile),
      accessToken: environment['CONFROUTER_ACCESS_TOKEN'],
      fetch: trustedFetch(azure.ca),
      now: () => new Date(),
      signal,
      listenAddress,
      simulated,
      readySeconds,
      approveTrust: async (change) => {
        if (!asks || accepted.has(change.to)) return
        throw new UserError(
          'user',
          'trust.not-approved',
          `${change.what} would change from ${change.from} to ${change.to}`,
          {
            why: 'a change of who can obtain the key is approved apart from other changes',
            next: [`confrouter ${command} --accept-host-data ${change.to}`]
          }
        )
      }
    }
    return {
      run,
      asks,
      acceptHostData: (hostData) => void accepted.add(hostData),
      ...(loopback === undefined ? {} : { endCloud: () => emulatorControl(signal).stop({ stateDir }) }),
      close: release
    }
  } catch (error) {
    await release()
    throw error
  }
}

/** Variables of ours that are no settings of the deployment. */
const otherVariables = ['CONFROUTER_CONFIG', 'CONFROUTER_STATE_DIR', 'CONFROUTER_ACCESS_TOKEN']

async function readConfigFile(file: string, wasNamed: boolean): Promise<string | undefined> {
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

function flagsOf({ cloud, local }: SharedOptions): { cloud?: string } {
  if (local !== true) return cloud === undefined ? {} : { cloud }
  if (cloud !== undefined && cloud !== 'local') {
    throw new UserError('usage', 'usage.conflict', `--local and --cloud ${cloud} exclude each other`, {
      next: ['leave one of them out']
    })
  }
  return { cloud: 'local' }
}

async function loopbackCloud(emulator: EmulatorEnvironment, environment: Environment): Promise<Cloud> {
  const hasOpenAiKey = (environment['OPENAI_API_KEY'] ?? '') !== ''
  return {
    azure: await localEnvironment(emulator),
    defaults: {
      local: {
        subscription: emulator.subscriptionId,
        image: { repository: 'confrouter.local/router', builder: 'native' },
        containerGroup: { port: 18080 },
        sidecar: { image: emulator.sidecarImage, port: 18081 },
        providers: {
          loopback: {
            baseUrl: emulator.loopbackProvider,
            auth: 'none',
            allowPrivate: true,
            ...(hasOpenAiKey ? {} : { default: true })
          },
          ...(hasOpenAiKey ? { openai: { apiKey: { env: 'OPENAI_API_KEY' }, default: true } } : {})
        },
        smoke: { model: 'loopback:echo' }
      }
    },
    imageLayout: emulator.imageLayout,
    openImage: (reference) => openLayoutImage(emulator.imageLayout, reference),
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

function realCloud(config: Config, stateDir: string, environment: Environment, signal: AbortSignal): Cloud {
  if (config.cloud === 'local') throw new Error('the loopback cloud is opened from its running emulator')
  const dockerConfig = environment['DOCKER_CONFIG'] ?? join(homedir(), '.docker')
  const credentials = dockerCredentialSource({
    configFile: join(dockerConfig, 'config.json'),
    runHelper: async (helper, server) => {
      const { runCredentialHelper } = await import('../exec/index.js')
      return runCredentialHelper(helper, server, signal)
    }
  })
  return {
    azure: azureEnvironment(config.cloud, config.tenant),
    defaults: {},
    imageLayout: join(stateDir, 'images'),
    openImage: (reference) => openRegistryImage({ reference, fetch, credentials }),
    trust: { roots: 'amd', uvmIssuer: undefined },
    listenAddress: '0.0.0.0',
    simulated: false,
    readySeconds: 600
  }
}
