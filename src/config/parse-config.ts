import type { Config } from './config.js'
import { ConfigError, type Origin } from './config-error.js'
import { defaultLayer, environmentLayer, fileLayer, flagLayer, type ConfigFlags } from './layer.js'
import { mergeLayers } from './merge.js'
import { resolveConfig } from './resolve.js'
import { builtInDefaults, type Cloud, type RawConfig } from './schema.js'

/** Defaults that depend on the cloud; what is not here is built in. */
export type ConfigDefaults = Readonly<Partial<Record<Cloud, RawConfig>>>

export interface ConfigSources {
  /** Text of the file; absent when there is none, which is no problem in itself. */
  readonly text?: string | undefined
  /** Name of the file as the person knows it, for messages. */
  readonly fileName: string
  readonly flags: ConfigFlags
  readonly environment: Readonly<Record<string, string | undefined>>
  /** `CONFROUTER_*` variables that other parts of the program read, such as CONFROUTER_CONFIG. */
  readonly otherVariables?: readonly string[] | undefined
  readonly defaults: ConfigDefaults
}

export interface ParsedConfig {
  readonly config: Config
  /** Where each value of `config` comes from, by dotted path; what was filled in is `default`. */
  readonly origins: Readonly<Record<string, Origin>>
}

/** What the defaults of a cloud may depend on. */
export interface ConfigDraft {
  readonly cloud: Cloud
  readonly emulator: { readonly port?: number | undefined }
}

/**
 * A first look, for whoever has to know the cloud before there are defaults for it: the emulator
 * has to run before it can say what they are.
 *
 * @throws {ConfigError} so that nothing is started for a configuration that is wrong anyway: for
 *   `local` with the problems of all single values, for other clouds with every problem
 */
export function draftConfig(sources: Omit<ConfigSources, 'defaults'>): ConfigDraft {
  const { layers, problems, cloud } = readLayers(sources)
  if (cloud !== 'local') return parseConfig({ ...sources, defaults: {} }).config
  if (problems.length > 0) throw new ConfigError(sources.fileName, problems)
  const { raw } = mergeLayers(layers)
  return { cloud, emulator: raw.emulator?.port === undefined ? {} : { port: raw.emulator.port } }
}

/**
 * Resolves the configuration: flag, environment, file, default, the first that is there wins.
 *
 * @throws {ConfigError} with every problem of every source at once. A value that a stronger source
 *   overrides is still checked: the file is wrong with or without the flag.
 */
export function parseConfig(sources: ConfigSources): ParsedConfig {
  const { layers, file, problems, cloud } = readLayers(sources)
  // What a file that cannot be read leaves out is not missing.
  if (!file.readable) throw new ConfigError(sources.fileName, problems)
  const merged = mergeLayers([...layers, defaultLayer(sources.defaults[cloud] ?? {})])
  const { config, problems: conflicts } = resolveConfig(merged, problems, file.originOf)
  if (problems.length + conflicts.length > 0) {
    throw new ConfigError(sources.fileName, [...problems, ...conflicts], sources.text !== undefined)
  }
  return { config, origins: originsOf(config, merged.origins) }
}

/** Each source by itself, the strongest first, and the cloud that they name. */
function readLayers(sources: Omit<ConfigSources, 'defaults'>) {
  const flags = flagLayer(sources.flags)
  const environment = environmentLayer(sources.environment, sources.otherVariables ?? [])
  const file = fileLayer(sources.text ?? '', sources.fileName)
  const layers = [flags, environment, file]
  return {
    layers,
    file,
    problems: layers.flatMap((layer) => layer.problems),
    cloud: flags.raw.cloud ?? environment.raw.cloud ?? file.raw.cloud ?? builtInDefaults.cloud
  }
}

function originsOf(config: Config, given: Readonly<Record<string, Origin>>): Readonly<Record<string, Origin>> {
  const origins: Record<string, Origin> = {}
  for (const path of leafPaths(config, '')) {
    origins[path] = given[path] ?? { source: 'default', place: 'default' }
  }
  return origins
}

function leafPaths(value: object, prefix: string): string[] {
  return Object.entries(value).flatMap(([key, child]: [string, unknown]) => {
    const path = `${prefix}${key}`
    if (typeof child !== 'object' || child === null || Array.isArray(child)) return [path]
    return Object.keys(child).length === 0 ? [] : leafPaths(child, `${path}.`)
  })
}
