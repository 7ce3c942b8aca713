export type { ApiKeySource, Config, ProviderConfig } from './config.js'
export { ConfigError, type ConfigProblem, type Origin } from './config-error.js'
export { jsonSchema } from './json-schema.js'
export type { ConfigFlags, FlagValue } from './layer.js'
export {
  draftConfig,
  parseConfig,
  type ConfigDefaults,
  type ConfigDraft,
  type ConfigSources,
  type ParsedConfig
} from './parse-config.js'
export { configPaths, flagOf, variableOf, type ConfigPath } from './paths.js'
export { clouds, type Cloud, type RawConfig } from './schema.js'
