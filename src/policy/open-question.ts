import type { CcePolicy, IdRule, PolicyContainer } from './cce-policy.js'
import { containerRequest } from './container-request.js'
import type { WrittenStart } from './container-start.js'
import type { Identity } from './enforcement.js'
import type { StartDenial } from './guest.js'
import { onOneLine } from './printable-text.js'
import { mayBeginWith } from './re2-inclusion.js'
import { literalName } from './rule-coverage.js'

type Layers = Pick<WrittenStart['facts'], 'layers'>

/**
 * Why a container that was refused may start all the same: only such errors were found as depend on what the
 * deployment, the platform or the image's own files decide. Undefined where the refusal is certain.
 */
export function openQuestion(
  { container, rule, errors }: StartDenial,
  wanted: WrittenStart,
  policy: CcePolicy,
  ofPlatform: readonly string[]
): string | undefined {
  if (container !== wanted.start.name || rule !== 'create_container') return undefined
  const candidates = candidatesOf(wanted.facts, policy)
  const open = new Set([...wanted.standIns, ...ofPlatform])
  const reasons = errors.map((error) => reasonFor(error, wanted, candidates, { policy, open }))
  if (reasons.length === 0 || reasons.includes(undefined)) return undefined
  return `${[...new Set(reasons)].join('; ')} (otherwise: ${errors.join('; ')})`
}

/** Whether a rule of the policy may be for a variable, whatever its value. */
export function mayBeAllowed(name: string, facts: Layers, policy: CcePolicy): boolean {
  return candidatesOf(facts, policy).some((candidate) => hasRuleFor(candidate, name, policy))
}

function candidatesOf({ layers }: Layers, policy: CcePolicy): readonly PolicyContainer[] {
  if (policy.kind === 'open-door') return []
  return policy.containers.filter((candidate) => candidate.layers.join() === layers.join())
}

function reasonFor(
  error: string,
  wanted: WrittenStart,
  candidates: readonly PolicyContainer[],
  { policy, open }: { readonly policy: CcePolicy; readonly open: ReadonlySet<string> }
): string | undefined {
  const listed = 'invalid env list: '
  if (error.startsWith(listed)) {
    const names = error.slice(listed.length).split(',')
    const areOpen = names.every((name) => open.has(name) && candidates.some((each) => hasRuleFor(each, name, policy)))
    return areOpen ? valueOf(names) : undefined
  }
  if (error === 'missing required environment variable') {
    const names = candidates.flatMap(({ envRules }) =>
      envRules.filter(({ required }) => required).map((rule) => literalName(rule) ?? '')
    )
    const found = [...new Set(names)].filter((name) => open.has(name))
    return found.length === 0 ? undefined : valueOf(found)
  }
  if (error === 'containers only distinguishable by env_list') {
    return wanted.standIns.length === 0 ? undefined : valueOf(wanted.standIns)
  }
  return error === 'invalid user' ? userReason(wanted, candidates, policy) : undefined
}

function hasRuleFor({ envRules }: PolicyContainer, name: string, policy: CcePolicy): boolean {
  return envRules.some(({ pattern, strategy }) => {
    if (strategy === 'string') return pattern.startsWith(`${name}=`)
    const compiled = policy.kind === 'enforced' ? policy.patterns.get(pattern) : undefined
    return compiled !== undefined && mayBeginWith(compiled, `${name}=`)
  })
}

function valueOf(names: readonly string[]): string {
  return `it depends on the value of ${names.map(onOneLine).join(', ')}, which only the deployment knows`
}

/** A number and a name may be one user, which the image's own files tell. */
function userReason(
  { start, facts }: WrittenStart,
  candidates: readonly PolicyContainer[],
  policy: CcePolicy
): string | undefined {
  const { user } = containerRequest(start, facts, {})
  if (user === undefined) return undefined
  const isOpen = candidates.some(
    (candidate) =>
      candidate.user.umask === user.umask &&
      mayMatch(candidate.user.user, user.user, policy) &&
      user.groups.every((group) => candidate.user.groups.some((rule) => mayMatch(rule, group, policy)))
  )
  if (!isOpen) return undefined
  const names = [user.user, ...user.groups].map(({ id, name }) => onOneLine(name || id))
  return `it depends on who ${[...new Set(names)].join(', ')} is, which only the image's own files tell`
}

/** By what is known of an id, the rule is met, or what is not known of it decides. */
function mayMatch({ pattern, strategy }: IdRule, { id, name }: Identity, policy: CcePolicy): boolean {
  switch (strategy) {
    case 'any':
      return true
    case 'id':
      return id === '' || id === pattern
    case 'name':
      return name === '' || name === pattern
    case 're2':
      return name === '' || (policy.kind === 'enforced' && policy.patterns.get(pattern)?.matches(name) === true)
  }
}
