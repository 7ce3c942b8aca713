import type { Config } from '../config/index.js'
import type { StateFile } from '../steps/index.js'

/** On loopback this variable alone brings a provider; everywhere else providers are in the configuration. */
const variable = 'OPENAI_API_KEY'
const provider = 'openai'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Whether the environment brings the provider. A variable that is absent brings nothing and takes nothing away: where
 * its key is sealed already, a shell without it must not change what is deployed. An empty one takes it away.
 *
 * @param kept providers that the environment brought before and whose key is sealed
 */
export function bringsProvider(environment: Environment, kept: readonly string[]): boolean {
  const value = environment[variable]
  return value === undefined ? kept.includes(provider) : value !== ''
}

/** What a configuration took from the environment by itself, and what is to be said of it. */
export interface Ambient {
  /** To be remembered for the next run. */
  readonly providers: readonly string[]
  readonly warning: string | undefined
}

/**
 * @param origins where each value of the configuration is from: a provider of the file is no business of the environment
 * @param isDeployed whether there is something that a change would change
 */
export function ambientOf(
  {
    config,
    origins
  }: { readonly config: Config; readonly origins: Readonly<Record<string, { readonly source: string }>> },
  environment: Environment,
  { kept, isDeployed }: { readonly kept: readonly string[]; readonly isDeployed: boolean }
): Ambient {
  const isThere = config.providers[provider] !== undefined
  const isAmbient = isThere && origins[`providers.${provider}.apiKey.env`]?.source === 'default'
  const wasThere = kept.includes(provider)
  const providers = isAmbient ? [provider] : []
  if (isAmbient && environment[variable] === undefined) {
    const warning =
      `${variable} is not set: provider ${provider} stays, with the key that is sealed already; ` +
      `${variable}= confrouter up --local takes it out`
    return { providers, warning }
  }
  if (isAmbient && !wasThere && isDeployed) {
    return {
      providers,
      warning: `${variable} is set: it adds provider ${provider} as the default one, so host data change`
    }
  }
  if (!isThere && wasThere) {
    return { providers, warning: `${variable} is empty: it takes provider ${provider} out, so host data change` }
  }
  return { providers, warning: undefined }
}

/** Remembers what the environment brought, so that the next run knows it from what a file had. */
export async function rememberAmbient(state: StateFile, { providers }: Ambient): Promise<void> {
  const known = state.get().ambientProviders ?? []
  if (known.join() === providers.join()) return
  await state.update(({ ambientProviders: _before, ...rest }) =>
    providers.length === 0 ? rest : { ...rest, ambientProviders: providers }
  )
}
