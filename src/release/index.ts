/** `release.json`: what was deployed, from which source, in a form that others can make again and compare. */
export { bundleRouter } from './bundle-router.js'
export { checkRelease } from './check-release.js'
export { compare, type Comparison } from './comparison.js'
export { type Coverage, coverageOf, type Depth, type UncheckedPart } from './coverage.js'
export { deployedPolicy, policyApi } from './deployed-policy.js'
export { parseRelease } from './parse-release.js'
export { publicTemplate } from './public-template.js'
export { rebuildRelease, type RebuildOptions } from './rebuild-release.js'
export { regeneratePolicy, type RegenerateOptions } from './regenerate-policy.js'
export {
  type Builder,
  type BuiltRelease,
  type CompleteRelease,
  encodeRelease,
  type ImageLayers,
  type Release,
  type ReleaseImage,
  type ReleaseSource,
  requireComplete
} from './release.js'
export { routerConfig, routerImage, type RouterLabels, routerLabels } from './router-image.js'
export { policiesOfTemplate, type TemplatePolicies } from './template-policies.js'
export type { Image } from '../image/index.js'
export { describeSource } from './source.js'
export { type ValueToRead, valuesToRead } from './values-to-read.js'
