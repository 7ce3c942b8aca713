import type { IdRule, MountRule, PolicyContainer } from './cce-policy.js'
import { splitEntry } from './container-request.js'
import { capabilitySets, type EnvRule } from './frames.js'
import {
  type Coverage,
  type EnforcedPolicy,
  envCoverage,
  type Excess,
  idCoverage,
  mountCoverage,
  sameSet
} from './rule-coverage.js'

/** The policies that the two containers are of. */
interface Policies {
  readonly than: EnforcedPolicy
  readonly policy: EnforcedPolicy
}

/** What `container` allows beyond `than`, its counterpart in the other policy, in words. */
export function compareContainers(
  than: PolicyContainer,
  container: PolicyContainer,
  policies: Policies
): readonly Excess[] {
  return [
    ...certain(contentExcess(than, container)),
    ...envExcess(than, container),
    ...requiredExcess(than, container),
    ...certain(processExcess(than, container)),
    ...container.mounts.flatMap((mount) => excess(mountWords(mount), mountCoverage(mount, than.mounts))),
    ...userExcess(than, container),
    ...certain(privilegeExcess(than, container)),
    ...certain(capabilityExcess(than, container, policies)),
    ...certain(hostExcess(than, container))
  ]
}

/** How a rule for a variable reads: `environment variable X may be "1"`. */
function envWords({ pattern, strategy }: EnvRule): string {
  const [name, value] = splitEntry(pattern)
  if (strategy === 'string') return `environment variable ${name} may be ${quoted(value)}`
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return `environment variables that match ${pattern}`
  if (value === '.*') return `environment variable ${name} may have any value`
  if (value === '.+') return `environment variable ${name} may have any value but an empty one`
  return `environment variable ${name} may match ${value}`
}

/** How a rule for a mount reads. */
function mountWords({ destination, source, options, type }: MountRule): string {
  const kind = type === 'bind' ? '' : `, type ${type}`
  return `mount at ${destination} from ${source} (${options.join(', ')})${kind}`
}

/** How a rule for a user or group reads. */
export function idWords({ pattern, strategy }: IdRule): string {
  switch (strategy) {
    case 'any':
      return 'any'
    case 're2':
      return `names that match ${pattern}`
    default:
      return `${strategy} ${pattern}`
  }
}

function quoted(text: string): string {
  const short = text.length > 100 ? `${text.slice(0, 100)}…` : text
  return JSON.stringify(short)
}

function commandWords(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ')
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
  const image = container.id === undefined ? '' : ` of ${container.id}`
  return [
    ...(than.layers.join() === container.layers.join() ? [] : [`layers ${container.layers.join(', ')}${image}`]),
    // A null command starts nothing, so it allows nothing.
    ...(container.command === null || isSameList(than.command, container.command)
      ? []
      : [`command ${commandWords(container.command)}`]),
    ...(than.workingDir === container.workingDir ? [] : [`working directory ${container.workingDir}`])
  ]
}

function envExcess(than: PolicyContainer, container: PolicyContainer): readonly Excess[] {
  return container.envRules.flatMap((rule) => {
    const isPattern = rule.strategy === 're2' && !/=\.[*+]$/.test(rule.pattern)
    return excess(envWords(rule), envCoverage(rule, than.envRules), isPattern)
  })
}

/** A variable that is not required any more may be left out. */
function requiredExcess(than: PolicyContainer, container: PolicyContainer): readonly Excess[] {
  const required = container.envRules.filter((rule) => rule.required)
  return than.envRules
    .filter((rule) => rule.required)
    .flatMap((rule) => {
      const isRequired = required.some(
        ({ pattern, strategy }) => pattern === rule.pattern && strategy === rule.strategy
      )
      const what = `to start without environment variable ${splitEntry(rule.pattern)[0]}`
      // Another required rule may demand the same in other words.
      return isRequired ? [] : [{ what, isCertain: required.length === 0 }]
    })
}

function processExcess(than: PolicyContainer, container: PolicyContainer): readonly string[] {
  return container.execProcesses.flatMap(({ command, signals }) => {
    const same = than.execProcesses.filter((other) => isSameList(other.command, command))
    if (same.length === 0) return [`exec ${commandWords(command)}`]
    const added = signals.filter((signal) => !same.some((other) => other.signals.includes(signal)))
    return added.map((signal) => `signal ${signal} to exec ${commandWords(command)}`)
  })
}

function userExcess(than: PolicyContainer, container: PolicyContainer): readonly Excess[] {
  const { user, groups, umask } = container.user
  return [
    ...excess(`user ${idWords(user)}`, idCoverage(user, [than.user.user])),
    ...groups.flatMap((group) => excess(`group ${idWords(group)}`, idCoverage(group, than.user.groups))),
    ...(umask === than.user.umask ? [] : [{ what: `umask ${umask}`, isCertain: true }])
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
      : [seccomp === '' ? 'to run without a seccomp profile' : `the seccomp profile ${seccomp}`])
  ]
}

/** Without dropping, a container has to ask for exactly what the policy lists, and so any other list is another demand. */
function capabilityExcess(than: PolicyContainer, container: PolicyContainer, policies: Policies): readonly string[] {
  const added = new Map<string, string[]>()
  for (const set of capabilitySets) {
    for (const name of new Set(container.capabilities[set])) {
      if (!than.capabilities[set].includes(name)) added.set(name, [...(added.get(name) ?? []), set])
    }
  }
  const words = [...added].map(([name, sets]) => `capability ${name} (${sets.join(', ')})`)
  const isExact = !policies.than.switches.allow_capability_dropping
  const isSubset = words.length === 0
  const differs = capabilitySets.some((set) => !sameSet(than.capabilities[set], container.capabilities[set]))
  return isExact && isSubset && differs ? ['to start with fewer capabilities than before'] : words
}

function hostExcess(than: PolicyContainer, container: PolicyContainer): readonly string[] {
  const signals = container.signals.filter((signal) => !than.signals.includes(signal))
  return [
    ...(container.allowStdioAccess && !than.allowStdioAccess ? ['output that the host can read (stdio)'] : []),
    ...signals.map((signal) => `signal ${signal}`)
  ]
}

function isSameList(a: readonly string[] | null, b: readonly string[]): boolean {
  return a !== null && a.length === b.length && a.every((item, index) => item === b[index])
}
