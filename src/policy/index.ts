export { ArmTemplateError, type DeploymentContext, evaluateText, type ExpressionScope } from './arm-expression.js'
export {
  evaluateTemplate,
  type EvaluatedTemplate,
  type TemplateInput,
  type TemplateOutput,
  templateScope
} from './arm-template.js'
export type { ImageFacts, TemplateForm } from './container.js'
export type { WildcardQuestion } from './env-rules.js'
export { type FragmentImport, type FrameVersion, openDoorHostData } from './frames.js'
export {
  generatePolicies,
  type GroupPolicy,
  hasNoSidecars,
  type PolicyInput,
  type PolicyOptions,
  templateNeeds,
  wildcardQuestions
} from './generate.js'
export {
  decodePolicy,
  describeExistingPolicies,
  existingPolicies,
  type ExistingPolicy,
  injectPolicies
} from './inject.js'
export { templateOfImage, templateOfInputFile } from './input-file.js'
export { differenceFromExisting } from './policy-difference.js'
export {
  type CapabilityLists,
  type CcePolicy,
  type IdRule,
  type MountRule,
  parseCcePolicy,
  type PolicyContainer
} from './cce-policy.js'
export {
  type ContainerDecision,
  type ContainerMount,
  type ContainerRequest,
  createEnforcer,
  type Enforcer,
  type Identity,
  type MountDecision
} from './enforcement.js'
export type { AuthorityRule, ClaimCondition, Condition } from './release-grammar.js'
export {
  createReleasePolicy,
  encodeReleasePolicy,
  evaluateReleasePolicy,
  hostDataOf,
  parseReleasePolicy,
  type ReleaseDecision,
  type ReleaseFailure,
  type ReleasePolicy,
  sameReleasePolicy
} from './release-policy.js'
export { type GuestOptions, openGuest } from './guest.js'
export { comparePolicies, type ComparisonFinding, describeFinding, type PolicyComparison } from './policy-comparison.js'
export { type ExplainedContainer, explainPolicy, type PolicyExplanation } from './policy-explanation.js'
export { policyOfFile } from './policy-text.js'
export { pythonYaml } from './python-yaml.js'
export { identityAnnotation, podsOfManifest, type PodResource, withPolicyAnnotation } from './pod.js'
export { type SimulatedContainer, type SimulatedGroup, simulateTemplate } from './simulation.js'
