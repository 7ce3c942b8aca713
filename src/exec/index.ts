/** Other people's programs, run with argument arrays: the container their helpers, and `az`. */

export { acipolicygen, type AcipolicygenOptions } from './acipolicygen.js'
export { buildWithEngine, configurationBuiltWithEngine, type EngineBuild } from './build-image.js'
export { runCredentialHelper, type RegistryLogin } from './credential-helper.js'
export { type Engine, findEngine, probeEngine } from './engine.js'
export { type AzState, probeAz } from './probe-az.js'
