import type { JsonObject } from '../base/json.js'
import { type FrameVersion, generatePolicies, type GroupPolicy, type ImageFacts } from '../policy/index.js'

/**
 * The policy of a template of ours, as a deployment has it: what a third party has to make again is made
 * here and nowhere else. The platform's own variables are allowed, a container that no guest would start
 * is refused, and `sealedSecrets` is the one parameter that may have any value. Without `frame` it is of
 * the current one. Throws a `UserError` that names the place in the template.
 */
export function deployedPolicy(
  template: JsonObject,
  images: ReadonlyMap<string, ImageFacts>,
  frame?: FrameVersion
): GroupPolicy {
  const policies = generatePolicies({
    template,
    images,
    options: {
      platformIdentityRules: true,
      refuseNullCommand: true,
      wildcardParameters: ['sealedSecrets'],
      ...(frame === undefined ? {} : { frame })
    }
  })
  const [policy, second] = policies
  if (policy === undefined || second !== undefined) throw new Error('our template has one container group')
  return policy
}

/** The `api_version` of a policy text; undefined if it names none. */
export function policyApi(text: string): string | undefined {
  return /^api_version := "([0-9]+\.[0-9]+\.[0-9]+)"$/m.exec(text)?.[1]
}
