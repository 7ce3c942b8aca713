import { sha256Hex } from '../base/digest.js'
import { decodeBase64, utf8 } from '../base/encoding.js'
import type { Json, JsonObject } from '../base/json.js'
import { anyUser, capabilitySets, defaultCapabilities, privilegedCapabilities } from './frames.js'
import { JsonNumber, type JsonNode, parseJsonText } from './json-text.js'
import { pythonJson } from './python-json.js'
import { field, objectField, switchOf, templateError, textsOf } from './template-fields.js'

/** What a container's `securityContext` becomes in the policy. */
export interface SecurityRules {
  readonly allow_elevated: boolean
  readonly no_new_privileges: boolean
  readonly capabilities: JsonObject
  readonly seccomp_profile_sha256: string
  /** Absent when the template says nothing, so that the image's user counts. */
  readonly user: JsonObject | undefined
}

export function securityRules(context: Json | undefined, where: string): SecurityRules {
  const privileged = switchOf(field(context, 'privileged'), false, `${where}.privileged`)
  return {
    allow_elevated: privileged,
    no_new_privileges: !switchOf(field(context, 'allowPrivilegeEscalation'), true, `${where}.allowPrivilegeEscalation`),
    capabilities: capabilities(context, privileged, where),
    seccomp_profile_sha256: seccompDigest(field(context, 'seccompProfile'), `${where}.seccompProfile`),
    user: templateUser(context, where)
  }
}

/** The user of an image configuration: `user`, `uid`, `user:group`, `uid:gid` or a mixture. */
export function imageUser(user: string | undefined): JsonObject {
  if (user === undefined || user === '') return anyUser
  const colon = user.indexOf(':')
  if (colon < 0) return { ...anyUser, user_idname: idOrName(user) }
  return {
    ...anyUser,
    user_idname: idOrName(user.slice(0, colon)),
    group_idnames: [idOrName(user.slice(colon + 1))]
  }
}

function capabilities(context: Json | undefined, privileged: boolean, where: string): JsonObject {
  const initial = privileged ? privilegedCapabilities : defaultCapabilities
  const changes = objectField(context, 'capabilities', where)
  const added = textsOf(field(changes, 'add'), `${where}.capabilities.add`)
  const dropped = new Set(textsOf(field(changes, 'drop'), `${where}.capabilities.drop`))
  const granted = [...new Set([...initial, ...added])].filter((name) => !dropped.has(name)).sort()
  const empty = privileged ? ['ambient'] : ['ambient', 'inheritable']
  return Object.fromEntries(capabilitySets.map((set) => [set, empty.includes(set) ? [] : granted]))
}

function templateUser(context: Json | undefined, where: string): JsonObject | undefined {
  const user = identifier(field(context, 'runAsUser'), `${where}.runAsUser`)
  const group = identifier(field(context, 'runAsGroup'), `${where}.runAsGroup`)
  if (user === undefined && group === undefined) return undefined
  return {
    ...anyUser,
    ...(user === undefined ? {} : { user_idname: idOrName(user) }),
    ...(group === undefined ? {} : { group_idnames: [idOrName(group)] })
  }
}

function identifier(value: Json | undefined, where: string): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw templateError(`${where} must be an integer that is not negative`)
  }
  return String(value)
}

function idOrName(text: string): JsonObject {
  return { pattern: text, strategy: /^[0-9]+$/.test(text) ? 'id' : 'name' }
}

/**
 * SHA-256 of the profile in the form in which the guest hashes it: known members only, in the order
 * of the OCI runtime specification's Go structures, empty defaults filled in.
 */
function seccompDigest(profile: Json | undefined, where: string): string {
  if (profile === undefined || profile === null || profile === '') return ''
  if (typeof profile !== 'string') throw templateError(`${where} must be the base64 of a JSON profile`)
  return sha256Hex(pythonJson(normalProfile(parseProfile(profile, where), where), { sortKeys: false }))
}

function parseProfile(profile: string, where: string): Map<string, JsonNode> {
  let node: JsonNode
  try {
    node = parseJsonText(utf8.decode(decodeBase64(profile, where)), 'last')
  } catch (cause) {
    throw templateError(`${where} must be the base64 of a JSON profile`, { cause })
  }
  return asMap(node, where)
}

function normalProfile(profile: Map<string, JsonNode>, where: string): JsonNode {
  const normal = pick(withDefaults(profile, { defaultAction: '' }), [
    'defaultAction',
    'defaultErrnoRet',
    'architectures',
    'flags',
    'listenerPath',
    'listenerMetadata',
    'syscalls'
  ])
  replaceItems(normal, 'syscalls', where, (syscall) => {
    const rule = pick(withDefaults(syscall, { names: [], action: '' }), ['names', 'action', 'errnoRet', 'args'])
    replaceItems(rule, 'args', `${where}.syscalls`, (argument) =>
      pick(withDefaults(argument, { value: zero, op: '', index: zero }), ['index', 'value', 'valueTwo', 'op'])
    )
    return rule
  })
  return normal
}

const zero = new JsonNumber('0')

function withDefaults(node: Map<string, JsonNode>, defaults: Record<string, JsonNode>): Map<string, JsonNode> {
  return new Map([...Object.entries(defaults), ...node])
}

function pick(node: Map<string, JsonNode>, names: readonly string[]): Map<string, JsonNode> {
  const picked = new Map<string, JsonNode>()
  for (const name of names) {
    const value = node.get(name)
    if (value !== undefined) picked.set(name, value)
  }
  return picked
}

function replaceItems(
  node: Map<string, JsonNode>,
  name: string,
  where: string,
  replace: (item: Map<string, JsonNode>) => JsonNode
): void {
  const items = node.get(name)
  if (items === undefined) return
  if (!Array.isArray(items)) throw templateError(`${where}.${name} must be a list`)
  node.set(
    name,
    (items as readonly JsonNode[]).map((item, index) => replace(asMap(item, `${where}.${name}[${index}]`)))
  )
}

function asMap(node: JsonNode, where: string): Map<string, JsonNode> {
  if (!(node instanceof Map)) throw templateError(`${where} must be an object`)
  return node
}
