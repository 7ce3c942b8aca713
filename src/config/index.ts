export type { ApiKeySource, Config, ProviderConfig } from './config.js'
export type { ConfigProblem, Origin } from './config-error.js'
export type { ConfigFlags, FlagValue } from './layer.js'
export {
  draftConfig,
  parseConfig,
  type ConfigDefaults,
  type ConfigDraft,
  type ConfigSources,
  type ParsedConfig
} from './parse-config.js'
export type { ConfigPath } from './paths.js'
export { usualRouter } from './resolve-router.js'
export { routerLimits, type RouterNumber, routerNumbers } from './router-numbers.js'
export { didYouMean, suggest } from './suggest.js'
export { type Cloud, maximumReplicas, type RawConfig } from './schema.js'
