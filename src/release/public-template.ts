import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { publicTemplateShape, type PublicTemplate } from './template-shape.js'

/**
 * A filled template as it may be published: without the policy, which is beside it, and without the id of
 * the identity, which names the subscription. The policy that is made from it is the same. Throws an
 * `Error` for a template with anything in it that is not known to be public.
 */
export function publicTemplate(filled: JsonObject): PublicTemplate {
  const problems: string[] = []
  const template = publicTemplateShape(withoutPrivateParts(filled), 'template', problems)
  if (template === undefined) throw new Error(`the template cannot be published: ${problems.join('; ')}`)
  return template
}

function withoutPrivateParts(template: JsonObject): JsonObject {
  const resources = Array.isArray(template['resources']) ? (template['resources'] as readonly Json[]) : []
  return { ...template, resources: resources.map((group) => (isJsonObject(group) ? withoutPolicy(group) : group)) }
}

function withoutPolicy(group: JsonObject): JsonObject {
  const { identity, properties } = group
  return {
    ...group,
    ...(isJsonObject(identity) ? { identity: { ...identity, userAssignedIdentities: {} } } : {}),
    ...(isJsonObject(properties)
      ? { properties: { ...properties, confidentialComputeProperties: { ccePolicy: '' } } }
      : {})
  }
}
