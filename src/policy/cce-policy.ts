import { parseSha256Hex, type Sha256Hex, sha256Hex } from '../base/digest.js'
import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import {
  capabilitySets,
  type EnvRule,
  type Frame,
  frames,
  type FragmentImport,
  openDoorHostData,
  type PolicySwitches,
  switchNames
} from './frames.js'
import { JsonTextError, parseJsonPrefix, toJson } from './json-text.js'
import { type OpenedPoints, openedPoints } from './open-door.js'
import { compileAnchored, type Re2, Re2SyntaxError } from './re2.js'
import { reasonLine } from './rego.js'

export interface IdRule {
  readonly pattern: string
  readonly strategy: 'any' | 'id' | 'name' | 're2'
}

export interface MountRule {
  readonly destination: string
  readonly options: readonly string[]
  /** `sandbox://` and a pattern for the path behind it, or a text. */
  readonly source: string
  readonly type: string
}

export type CapabilityLists = Readonly<Record<(typeof capabilitySets)[number], readonly string[]>>

export interface PolicyContainer {
  readonly id: string | undefined
  readonly name: string | undefined
  readonly allowElevated: boolean
  readonly allowStdioAccess: boolean
  readonly capabilities: CapabilityLists
  /** Null where neither template nor image named a command; matches no request. */
  readonly command: readonly string[] | null
  readonly envRules: readonly EnvRule[]
  readonly execProcesses: readonly { readonly command: readonly string[]; readonly signals: readonly number[] }[]
  /** Base layer first. */
  readonly layers: readonly Sha256Hex[]
  readonly mounts: readonly MountRule[]
  readonly noNewPrivileges: boolean
  readonly seccompProfileSha256: string
  readonly signals: readonly (number | string)[]
  readonly user: { readonly groups: readonly IdRule[]; readonly umask: string; readonly user: IdRule }
  readonly workingDir: string
}

/** A policy as the guest understands it. `open-door`: the guest enforces nothing. */
export type CcePolicy = { readonly hostData: Sha256Hex } & (
  | { readonly kind: 'open-door'; readonly opened: OpenedPoints }
  | {
      readonly kind: 'enforced'
      readonly frame: Frame
      readonly fragments: readonly FragmentImport[]
      readonly containers: readonly PolicyContainer[]
      readonly switches: PolicySwitches
      /** Every pattern of the policy, compiled once: by the text of the rule. */
      readonly patterns: ReadonlyMap<string, Re2>
    }
)

const maximumText = 1_048_576
/** Of all patterns of a policy together: an automaton of that size takes some ten megabytes. */
const maximumStates = 200_000
const sandboxPrefix = 'sandbox://'

/**
 * Reads a policy text. Only the frames that this package writes and the texts that allow
 * everything are understood; any other Rego is refused, since guessing what it permits would be
 * worse. Throws a `UserError` with the line of the fault.
 */
export function parseCcePolicy(rego: string): CcePolicy {
  if (rego.length > maximumText) throw policyError(`the text is longer than ${maximumText} characters`)
  const hostData = sha256Hex(rego)
  const opened = openedPoints(rego)
  if (opened !== undefined || openDoorHostData.has(hostData)) return { kind: 'open-door', hostData, opened }
  const reader = new TextReader(rego)
  reader.literal('package policy\n\nimport future.keywords.every\nimport future.keywords.in\n\n')
  const frame = readFrame(reader)
  reader.literal('fragments := ')
  const fragments = list(reader.json(), 'fragments').map((entry, index) => readFragment(entry, `fragments[${index}]`))
  reader.literal('\n\ncontainers := ')
  const patterns = new Patterns()
  const containers = list(reader.json(), 'containers').map((entry, index) =>
    readContainer(entry, `containers[${index}]`, patterns)
  )
  reader.literal('\n\n')
  const switches = readSwitches(reader)
  reader.literal(`\n${frame.rules.map((rule) => `${rule} := data.framework.${rule}\n`).join('')}\n${reasonLine}`)
  reader.end()
  return { kind: 'enforced', hostData, frame, fragments, containers, switches, patterns: patterns.compiled }
}

/** The path pattern behind `sandbox://`, or undefined for another kind of source. */
export function sandboxPath(source: string): string | undefined {
  return source.startsWith(sandboxPrefix) ? source.slice(sandboxPrefix.length) : undefined
}

class TextReader {
  private offset = 0

  constructor(private readonly text: string) {}

  literal(expected: string): void {
    if (this.text.startsWith(expected, this.offset)) {
      this.offset += expected.length
      return
    }
    let common = 0
    while (expected[common] === this.text[this.offset + common]) common++
    const wanted = expected.slice(expected.lastIndexOf('\n', common - 1) + 1).split('\n', 1)[0] ?? ''
    throw this.error(`expected ${JSON.stringify(wanted)}`, this.offset + common)
  }

  match(pattern: RegExp, expected: string): string {
    pattern.lastIndex = this.offset
    const found = pattern.exec(this.text)
    if (found === null) throw this.error(`expected ${expected}`, this.offset)
    this.offset += found[0].length
    return found[1] ?? ''
  }

  json(): Json {
    try {
      const { node, end } = parseJsonPrefix(this.text, this.offset, 'refuse')
      this.offset = end
      return toJson(node)
    } catch (cause) {
      if (!(cause instanceof JsonTextError)) throw cause
      throw this.error(cause.problem, cause.offset, cause)
    }
  }

  /** One newline at the end changes the hash and nothing else. */
  end(): void {
    const rest = this.text.slice(this.offset)
    if (rest !== '' && rest !== '\n') throw this.error('unexpected text after the policy', this.offset)
  }

  private error(problem: string, offset: number, cause?: unknown): UserError {
    return policyError(`line ${this.text.slice(0, offset).split('\n').length}: ${problem}`, cause)
  }
}

function readFrame(reader: TextReader): Frame {
  const apiVersion = reader.match(/api_version := "([^"\n]*)"\n/y, 'api_version')
  const frameworkVersion = reader.match(/framework_version := "([^"\n]*)"\n\n/y, 'framework_version')
  const frame = Object.values(frames).find(
    (known) => known.apiVersion === apiVersion && known.frameworkVersion === frameworkVersion
  )
  if (frame !== undefined) return frame
  throw policyError(`api_version ${apiVersion} with framework_version ${frameworkVersion} is not known`)
}

function readSwitches(reader: TextReader): PolicySwitches {
  const values = switchNames.map((name) => {
    reader.literal(`${name} := `)
    return [name, reader.match(/(true|false)\n/y, 'true or false') === 'true']
  })
  return Object.fromEntries(values) as Record<(typeof switchNames)[number], boolean>
}

function readFragment(entry: Json, where: string): FragmentImport {
  const fragment = object(entry, where, ['feed', 'includes', 'issuer', 'minimum_svn'], [])
  return {
    feed: text(fragment['feed'], `${where}.feed`),
    includes: texts(fragment['includes'], `${where}.includes`),
    issuer: text(fragment['issuer'], `${where}.issuer`),
    minimum_svn: text(fragment['minimum_svn'], `${where}.minimum_svn`)
  }
}

const requiredMembers = [
  'allow_elevated',
  'allow_stdio_access',
  'capabilities',
  'command',
  'env_rules',
  'exec_processes',
  'layers',
  'mounts',
  'no_new_privileges',
  'seccomp_profile_sha256',
  'signals',
  'user',
  'working_dir'
]

function readContainer(entry: Json, where: string, patterns: Patterns): PolicyContainer {
  const container = object(entry, where, requiredMembers, ['id', 'name'])
  const member = (name: string): [Json | undefined, string] => [container[name], `${where}.${name}`]
  return {
    id: container['id'] === undefined ? undefined : text(...member('id')),
    name: container['name'] === undefined ? undefined : text(...member('name')),
    allowElevated: boolean(...member('allow_elevated')),
    allowStdioAccess: boolean(...member('allow_stdio_access')),
    capabilities: readCapabilities(...member('capabilities')),
    command: container['command'] === null ? null : texts(...member('command')),
    envRules: list(...member('env_rules')).map((rule, index) =>
      readEnvRule(rule, `${where}.env_rules[${index}]`, patterns)
    ),
    execProcesses: list(...member('exec_processes')).map((process, index) =>
      readProcess(process, `${where}.exec_processes[${index}]`)
    ),
    layers: texts(...member('layers')).map((layer, index) => rootHash(layer, `${where}.layers[${index}]`)),
    mounts: list(...member('mounts')).map((mount, index) => readMount(mount, `${where}.mounts[${index}]`, patterns)),
    noNewPrivileges: boolean(...member('no_new_privileges')),
    seccompProfileSha256: text(...member('seccomp_profile_sha256')),
    signals: list(...member('signals')).map((signal, index) =>
      typeof signal === 'number' ? signal : text(signal, `${where}.signals[${index}]`)
    ),
    user: readUser(...member('user'), patterns),
    workingDir: text(...member('working_dir'))
  }
}

function readCapabilities(value: Json | undefined, where: string): CapabilityLists {
  const sets = object(value, where, capabilitySets, [])
  return Object.fromEntries(capabilitySets.map((set) => [set, texts(sets[set], `${where}.${set}`)])) as Record<
    (typeof capabilitySets)[number],
    readonly string[]
  >
}

function readEnvRule(value: Json, where: string, patterns: Patterns): EnvRule {
  const rule = object(value, where, ['pattern', 'required', 'strategy'], [])
  const pattern = text(rule['pattern'], `${where}.pattern`)
  const { strategy } = rule
  if (strategy !== 'string' && strategy !== 're2') throw policyError(`${where}.strategy must be "string" or "re2"`)
  if (strategy === 're2') patterns.add(pattern, where)
  return { pattern, required: boolean(rule['required'], `${where}.required`), strategy }
}

function readProcess(value: Json, where: string): PolicyContainer['execProcesses'][number] {
  const process = object(value, where, ['command', 'signals'], [])
  return {
    command: texts(process['command'], `${where}.command`),
    signals: list(process['signals'], `${where}.signals`).map((signal) => {
      if (typeof signal !== 'number') throw policyError(`${where}.signals must be numbers`)
      return signal
    })
  }
}

function readMount(value: Json, where: string, patterns: Patterns): MountRule {
  const mount = object(value, where, ['destination', 'options', 'source', 'type'], [])
  const source = text(mount['source'], `${where}.source`)
  const path = sandboxPath(source)
  if (path !== undefined) patterns.add(path, where)
  return {
    destination: text(mount['destination'], `${where}.destination`),
    options: texts(mount['options'], `${where}.options`),
    source,
    type: text(mount['type'], `${where}.type`)
  }
}

function readUser(value: Json | undefined, where: string, patterns: Patterns): PolicyContainer['user'] {
  const user = object(value, where, ['group_idnames', 'umask', 'user_idname'], [])
  return {
    groups: list(user['group_idnames'], `${where}.group_idnames`).map((group, index) =>
      readIdRule(group, `${where}.group_idnames[${index}]`, patterns)
    ),
    umask: text(user['umask'], `${where}.umask`),
    user: readIdRule(user['user_idname'], `${where}.user_idname`, patterns)
  }
}

function readIdRule(value: Json | undefined, where: string, patterns: Patterns): IdRule {
  const rule = object(value, where, ['pattern', 'strategy'], [])
  const pattern = text(rule['pattern'], `${where}.pattern`)
  const { strategy } = rule
  if (strategy !== 'any' && strategy !== 'id' && strategy !== 'name' && strategy !== 're2') {
    throw policyError(`${where}.strategy must be "any", "id", "name" or "re2"`)
  }
  if (strategy === 're2') patterns.add(pattern, where)
  return { pattern, strategy }
}

/** Compiles the patterns of a policy, each once, and not more of them than fit into memory with ease. */
class Patterns {
  readonly compiled = new Map<string, Re2>()
  private states = 0

  /** Throws a `UserError` for a pattern that cannot be read, or that is one too many. */
  add(pattern: string, where: string): void {
    if (this.compiled.has(pattern)) return
    const compiled = compile(pattern, where)
    this.states += compiled.program.states.length
    if (this.states > maximumStates) throw policyError(`${where}: the patterns up to here are too large together`)
    this.compiled.set(pattern, compiled)
  }
}

function compile(pattern: string, where: string): Re2 {
  try {
    return compileAnchored(pattern)
  } catch (cause) {
    if (!(cause instanceof Re2SyntaxError)) throw cause
    throw policyError(`${where}: ${cause.message}`, cause)
  }
}

function object(
  value: Json | undefined,
  where: string,
  required: readonly string[],
  optional: readonly string[]
): JsonObject {
  if (!isJsonObject(value)) throw policyError(`${where} must be an object`)
  const missing = required.find((name) => !Object.hasOwn(value, name))
  if (missing !== undefined) throw policyError(`${where} has no "${missing}"`)
  const unknown = Object.keys(value).find((name) => !required.includes(name) && !optional.includes(name))
  if (unknown !== undefined) throw policyError(`${where} has an unknown member ${JSON.stringify(unknown.slice(0, 80))}`)
  return value
}

function list(value: Json | undefined, where: string): readonly Json[] {
  if (!Array.isArray(value)) throw policyError(`${where} must be a list`)
  return value as readonly Json[]
}

function text(value: Json | undefined, where: string): string {
  if (typeof value !== 'string') throw policyError(`${where} must be a text`)
  // The guest reads another character in its place, and no pattern is about what is none.
  if (/\p{Surrogate}/u.test(value)) throw policyError(`${where} has half of a surrogate pair, which is no character`)
  return value
}

function texts(value: Json | undefined, where: string): readonly string[] {
  return list(value, where).map((item, index) => text(item, `${where}[${index}]`))
}

function boolean(value: Json | undefined, where: string): boolean {
  if (typeof value !== 'boolean') throw policyError(`${where} must be true or false`)
  return value
}

function rootHash(value: string, where: string): Sha256Hex {
  try {
    return parseSha256Hex(value, where)
  } catch (cause) {
    throw policyError(`${where} is not a SHA-256 in lower-case hex`, cause)
  }
}

function policyError(problem: string, cause?: unknown): UserError {
  return new UserError('config', 'cce-policy.unknown', `CCE policy: ${problem}`, {
    why: 'only policy texts of known frames are evaluated; any other Rego could permit anything.',
    cause
  })
}
