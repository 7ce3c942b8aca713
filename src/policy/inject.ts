import { decodeBase64, utf8 } from '../base/encoding.js'
import type { JsonObject } from '../base/json.js'
import { containerGroups, groupNameOf } from './generate.js'
import type { GroupPolicy } from './generate.js'
import { type JsonNode, JsonTextError, parseJsonText } from './json-text.js'
import { pythonJson } from './python-json.js'
import { field, groupTypes, templateError } from './template-fields.js'
import { TemplateTexts } from './template-text.js'

/**
 * The template file with each group's policy in `confidentialComputeProperties.ccePolicy`, as
 * confcom rewrites it: two spaces, member order kept, ASCII, no newline at the end.
 *
 * A group without a policy in the list stays as it is. Give the file's text where it is at hand: a parsed template no longer says whether a number was
 * written `1` or `1.0`.
 */
export function injectPolicies(template: string | JsonObject, policies: readonly (GroupPolicy | undefined)[]): string {
  const root = parseTemplate(typeof template === 'string' ? template : JSON.stringify(template))
  const groups = groupNodes(root)
  if (groups.length !== policies.length) {
    throw templateError(`the template has ${groups.length} container groups, and there are ${policies.length} policies`)
  }
  groups.forEach((group, index) => {
    const policy = policies[index]
    if (policy !== undefined) setPolicy(group, policy.base64)
  })
  return pythonJson(root, { indent: 2, sortKeys: false })
}

export interface ExistingPolicy {
  readonly groupName: string
  /** `ccePolicy` as the template holds it; empty when there is none. */
  readonly base64: string
}

/** The policies that a template already holds, in the order of its groups. */
export function existingPolicies(template: JsonObject, parameters?: JsonObject): readonly ExistingPolicy[] {
  const texts = new TemplateTexts(template, parameters, undefined)
  return containerGroups(template).map((group) => {
    const held = field(field(field(group, 'properties'), 'confidentialComputeProperties'), 'ccePolicy') ?? ''
    if (typeof held !== 'string') throw templateError('ccePolicy must be a text')
    return { groupName: groupNameOf(group, texts), base64: held }
  })
}

/** A heading and the decoded text for each group, as `--print-existing-policy` shows them. */
export function describeExistingPolicies(policies: readonly ExistingPolicy[]): string {
  return policies
    .map(({ groupName, base64 }) => {
      if (base64 === '') throw templateError(`container group "${groupName}" has no ccePolicy`)
      return `CCE Policy for Container Group: ${groupName}\n\n${decodePolicy(base64, groupName)}\n`
    })
    .join('')
}

/** The text of a `ccePolicy`. */
export function decodePolicy(base64: string, groupName: string): string {
  try {
    return utf8.decode(decodeBase64(base64, 'ccePolicy'))
  } catch (cause) {
    throw templateError(`the ccePolicy of container group "${groupName}" is not base64 of a text`, { cause })
  }
}

function parseTemplate(text: string): JsonNode {
  try {
    return parseJsonText(text, 'last')
  } catch (cause) {
    if (!(cause instanceof JsonTextError)) throw cause
    throw templateError(`the template is not JSON: ${cause.message}`, { cause })
  }
}

function groupNodes(root: JsonNode): readonly Map<string, JsonNode>[] {
  const resources = root instanceof Map ? memberNode(root, 'resources')?.value : undefined
  if (!Array.isArray(resources)) throw templateError('the template has no list of resources')
  return (resources as readonly JsonNode[]).filter((resource): resource is Map<string, JsonNode> => {
    const type = resource instanceof Map ? resource.get('type') : undefined
    return typeof type === 'string' && groupTypes.has(type)
  })
}

function setPolicy(group: Map<string, JsonNode>, base64: string): void {
  const properties = memberNode(group, 'properties')?.value
  if (!(properties instanceof Map)) throw templateError('a container group has no properties')
  const existing = memberNode(properties, 'confidentialComputeProperties')
  if (existing?.value instanceof Map) {
    existing.value.set(memberNode(existing.value, 'ccePolicy')?.key ?? 'ccePolicy', base64)
    return
  }
  // A null is replaced where it stands; a missing member is added at the end.
  properties.set(existing?.key ?? 'confidentialComputeProperties', new Map([['ccePolicy', base64]]))
}

/** A member by name without regard to case; the exact name wins. */
function memberNode(node: Map<string, JsonNode>, name: string): { key: string; value: JsonNode } | undefined {
  const key = node.has(name) ? name : [...node.keys()].find((member) => member.toLowerCase() === name.toLowerCase())
  const value = key === undefined ? undefined : node.get(key)
  return key === undefined || value === undefined ? undefined : { key, value }
}
