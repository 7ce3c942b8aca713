import type { IdRule, MountRule, PolicyContainer } from './cce-policy.js'
import { splitEntry } from './container-request.js'
import { capabilitySets, type EnvRule } from './frames.js'
import { onOneLine, quotedText } from './printable-text.js'
import {
  type Comparing,
  type Coverage,
  envCoverage,
  type Excess,
  idCoverage,
  indexEnvRules,
  indexIds,
  indexMounts,
  literalName,
  mountCoverage,
  sameSet
} from './rule-coverage.js'

/** What `container` allows beyond `than`, its counterpart in the other policy, in words. */
export function compareContainers(
  than: PolicyContainer,
  container: PolicyContainer,
  comparing: Comparing
): readonly Excess[] {
  return [
    ...certain(contentExcess(than, container)),
    ...envExcess(than, container, comparing),
    ...requiredExcess(than, container),
    ...certain(processExcess(than, container)),
    ...mountExcess(than, container, comparing),
    ...userExcess(than, container, comparing),
    ...certain(privilegeExcess(than, container)),
    ...certain(capabilityExcess(than, container, comparing)),
    ...certain(hostExcess(than, container))
  ]
}

/** How a rule for a variable reads: `environment variable X may be "1"`. */
function envWords(rule: EnvRule): string {
  const { pattern, strategy } = rule
  const [name, value] = splitEntry(pattern)
  if (strategy === 'string') return `environment variable ${onOneLine(name)} may be ${quoted(value)}`
  if (literalName(rule) === undefined) return `environment variables that match ${onOneLine(pattern)}`
  if (value === '.*') return `environment variable ${name} may have any value`
  if (value === '.+') return `environment variable ${name} may have any value but an empty one`
  return `environment variable ${name} may match ${onOneLine(value)}`
}

/** How a rule for a mount reads. */
function mountWords({ destination, source, options, type }: MountRule): string {
  const kind = type === 'bind' ? '' : `, type ${onOneLine(type)}`
  const ways = options.map(onOneLine).join(', ')
  return `mount at ${onOneLine(destination)} from ${onOneLine(source)} (${ways})${kind}`
}

/** How a rule for a user or group reads. */
export function idWords({ pattern, strategy }: IdRule): string {
  switch (strategy) {
    case 'any':
      return 'any'
    case 're2':
      return `names that match ${onOneLine(pattern)}`
    default:
      return `${strategy} ${onOneLine(pattern)}`
  }
}

function quoted(text: string): string {
  const characters = [...text]
  return quotedText(characters.length > 100 ? `${characters.slice(0, 100).join('')}…` : text)
}

function commandWords(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : quotedText(word))).join(' ')
}

function certain(what: readonly string[]): readonly Excess[] {
  return what.map((text) => ({ what: text, isCertain: true }))
}

function excess(what: string, coverage: Coverage, example = false): readonly Excess[] {
  if (coverage === 'covered') return []
  if (coverage === 'undecided') return [{ what, isCertain: false }]
  return [{ what: example ? `${what}, for example ${quoted(coverage.beyond)}` : what, isCertain: true }]
}

function contentExcess(than: PolicyContainer, container: PolicyContainer): readonly string[] {
  const image = container.id === undefined ? '' : ` of ${onOneLine(container.id)}`
  return [
    ...(than.layers.join() === container.layers.join() ? [] : [`layers ${container.layers.join(', ')}${image}`]),
    // A null command starts nothing, so it allows nothing.
    ...(container.command === null || isSameList(than.command, container.command)
      ? []
      : [`command ${commandWords(container.command)}`]),
    ...(than.workingDir === container.workingDir ? [] : [`working directory ${onOneLine(container.workingDir)}`])
  ]
}

function envExcess(than: PolicyContainer, container: PolicyContainer, comparing: Comparing): readonly Excess[] {
  const others = indexEnvRules(than.envRules, comparing.than)
  return container.envRules.flatMap((rule) => {
    const isPattern = rule.strategy === 're2' && !/=\.[*+]$/.test(rule.pattern)
    return excess(envWords(rule), envCoverage(rule, others, comparing), isPattern)
  })
}

/** A variable that is not required any more may be left out. */
function requiredExcess(than: PolicyContainer, container: PolicyContainer): readonly Excess[] {
  const keyOf = ({ pattern, strategy }: EnvRule) => `${strategy} ${pattern}`
  const required = new Set(container.envRules.filter((rule) => rule.required).map(keyOf))
  return than.envRules
    .filter((rule) => rule.required && !required.has(keyOf(rule)))
    .map((rule) => ({
      what: `to start without environment variable ${onOneLine(splitEntry(rule.pattern)[0])}`,
      // Another required rule may demand the same in other words.
      isCertain: required.size === 0
    }))
}

function processExcess(than: PolicyContainer, container: PolicyContainer): readonly string[] {
  const known = new Map<string, Set<number>>()
  for (const { command, signals } of than.execProcesses) {
    const key = JSON.stringify(command)
    known.set(key, new Set([...(known.get(key) ?? []), ...signals]))
  }
  return container.execProcesses.flatMap(({ command, signals }) => {
    const same = known.get(JSON.stringify(command))
    if (same === undefined) return [`exec ${commandWords(command)}`]
    return signals
      .filter((signal) => !same.has(signal))
      .map((signal) => `signal ${signal} to exec ${commandWords(command)}`)
  })
}

function mountExcess(than: PolicyContainer, container: PolicyContainer, comparing: Comparing): readonly Excess[] {
  const others = indexMounts(than.mounts, comparing.than)
  return container.mounts.flatMap((mount) => excess(mountWords(mount), mountCoverage(mount, others, comparing)))
}

function userExcess(than: PolicyContainer, container: PolicyContainer, comparing: Comparing): readonly Excess[] {
  const { user, groups, umask } = container.user
  const users = indexIds([than.user.user], comparing.than)
  const others = indexIds(than.user.groups, comparing.than)
  return [
    ...excess(`user ${idWords(user)}`, idCoverage(user, users, comparing)),
    ...groups.flatMap((group) => excess(`group ${idWords(group)}`, idCoverage(group, others, comparing))),
    ...(umask === than.user.umask ? [] : [{ what: `umask ${onOneLine(umask)}`, isCertain: true }])
  ]
}

function privilegeExcess(than: PolicyContainer, container: PolicyContainer): readonly string[] {
  const seccomp = container.seccompProfileSha256
  return [
    ...(container.allowElevated && !than.allowElevated ? ['to run privileged'] : []),
    ...(!container.noNewPrivileges && than.noNewPrivileges
      ? ['to gain new privileges (no_new_privileges is off)']
      : []),
    ...(seccomp === than.seccompProfileSha256
      ? []
      : [seccomp === '' ? 'to run without a seccomp profile' : `the seccomp profile ${onOneLine(seccomp)}`])
  ]
}

/** Without dropping, a container has to ask for exactly what the policy lists, and so any other list is another demand. */
function capabilityExcess(
  than: PolicyContainer,
  container: PolicyContainer,
  { than: { switches } }: Comparing
): readonly string[] {
  const added = new Map<string, string[]>()
  for (const set of capabilitySets) {
    for (const name of new Set(container.capabilities[set])) {
      if (!than.capabilities[set].includes(name)) added.set(name, [...(added.get(name) ?? []), set])
    }
  }
  const words = [...added].map(([name, sets]) => `capability ${onOneLine(name)} (${sets.join(', ')})`)
  const isExact = !switches.allow_capability_dropping
  const isSubset = words.length === 0
  const differs = capabilitySets.some((set) => !sameSet(than.capabilities[set], container.capabilities[set]))
  return isExact && isSubset && differs ? ['to start with fewer capabilities than before'] : words
}

/** The guest's framework lets the host send these to every container, whatever its policy lists. */
const impliedSignals: ReadonlySet<number | string> = new Set([9, 15])

function hostExcess(than: PolicyContainer, container: PolicyContainer): readonly string[] {
  const known = new Set(than.signals)
  // The host asks with a number, so that a name is never what it asks for.
  const signals = container.signals.filter(
    (signal) => typeof signal === 'number' && !impliedSignals.has(signal) && !known.has(signal)
  )
  return [
    ...(container.allowStdioAccess && !than.allowStdioAccess ? ['output that the host can read (stdio)'] : []),
    ...signals.map((signal) => `signal ${signal}`)
  ]
}

function isSameList(a: readonly string[] | null, b: readonly string[]): boolean {
  return a !== null && a.length === b.length && a.every((item, index) => item === b[index])
}
