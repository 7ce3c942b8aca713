import { findRoleAssignment } from '../azure/roles.js'
import { getIdentity } from '../azure/identity.js'
import { evaluateReleasePolicy, parseReleasePolicy, type ReleaseFailure } from '../policy/index.js'
import { authorityOf } from './digest-chain.js'
import { hostDataOfGroup } from './group-output.js'
import type { RunResults } from './graph.js'
import type { Run } from './run.js'
import type { UpgradeState } from './state.js'
import { pinsOf } from './release-key.js'
import type { ObservedTrust } from './trust-chain.js'
import { releasePolicyFor, waysBeyond, waysOn } from './upgrade-window.js'

/** One question about trust, answered; `next` mends it if the answer is not `yes`. */
export interface TrustAnswer {
  readonly question: string
  readonly answer: 'yes' | 'no' | 'unknown'
  readonly inOrder: boolean
  readonly why: string
  readonly next: readonly string[]
}

/**
 * Would the running measurement still get its key if it had to start now? It asks what the vault would ask: the
 * release policy of the key against the claims of a token for this group, and the role of the group's identity.
 */
export async function coldStartAnswer(
  run: Run,
  results: RunResults,
  { group, key }: ObservedTrust
): Promise<TrustAnswer> {
  const question = 'would the running measurement get its key at its next cold start?'
  const answer = (word: TrustAnswer['answer'], why: string, next: readonly string[] = []): TrustAnswer => ({
    question,
    answer: word,
    inOrder: word === 'yes',
    why,
    next
  })
  if (group === undefined) return answer('unknown', 'no container group runs', ['confrouter up'])
  const hostData = hostDataOfGroup(group)
  if (hostData === undefined) return answer('no', 'the group has no policy', ['confrouter up'])
  if (key?.releasePolicy === undefined) {
    return answer('unknown', 'the key or its release policy cannot be read', ['confrouter provision', 'confrouter key'])
  }
  const router = group.containers.find(({ name }) => name === 'router')
  const wantedKey = router?.environment['KID']
  if (wantedKey !== key.name) {
    return answer('no', `the group asks for key "${wantedKey ?? ''}", not for "${key.name}"`, ['confrouter up'])
  }
  if (!key.exportable) return answer('no', `key "${key.name}" is not exportable`, ['set key.name to another name'])
  if (!isReadable(key.releasePolicy)) {
    return answer('unknown', 'the release policy of the key cannot be read by this program', ['confrouter up'])
  }
  const decision = evaluateReleasePolicy(parseReleasePolicy(key.releasePolicy), {
    issuer: authorityOf(group) ?? '',
    claims: claimsOf(hostData)
  })
  if (!decision.met) return answer('no', failureInWords(decision.failures, hostData), ['confrouter up'])
  const missing = await withoutRole(run, results, group.identityIds)
  if (missing !== undefined) return answer('no', missing, ['confrouter provision'])
  return answer('yes', `the release policy accepts host data ${hostData}, and the identity may ask for the key`)
}

function isReadable(releasePolicy: string): boolean {
  try {
    parseReleasePolicy(releasePolicy)
    return true
  } catch {
    return false
  }
}

/** Is an upgrade window open: may a measurement other than the running one obtain the key? */
export function windowAnswer(run: Run, { group, key }: ObservedTrust): TrustAnswer {
  const question = 'does the key accept the running measurement only, with no upgrade window open?'
  const { upgrade } = run.state.get()
  const running = group === undefined ? undefined : hostDataOfGroup(group)
  const own = group === undefined ? undefined : releasePolicyFor({ hostData: running, authority: authorityOf(group) })
  const pins = key?.releasePolicy === undefined ? [] : pinsOf(key.releasePolicy)
  if (upgrade !== undefined) {
    return {
      question,
      answer: 'no',
      inOrder: false,
      why:
        `${upgrade.direction} from ${upgrade.from.hostData} to ${upgrade.to.hostData} is open since ${upgrade.openedAt}, ` +
        `next phase: ${upgrade.phase}; the key accepts ${pins.join(' and ') || '(none)'}` +
        openedMeanwhile(upgrade, key?.releasePolicy) +
        (upgrade.failure === undefined ? '' : `; the last attempt ended: ${upgrade.failure}`),
      next: [waysOn(upgrade).on, waysOn(upgrade).back]
    }
  }
  if (key?.releasePolicy === undefined) {
    return { question, answer: 'unknown', inOrder: false, why: 'the key cannot be read', next: ['confrouter key'] }
  }
  const others = waysBeyond(key.releasePolicy, own === undefined ? [] : [own])
  if (others.length === 0) {
    const why = `it accepts ${running ?? '(none)'} and nothing else`
    return { question, answer: 'yes', inOrder: true, why, next: [] }
  }
  return {
    question,
    answer: 'no',
    inOrder: false,
    why: `the key is also released to ${others.join('; ')}, which no recorded upgrade explains`,
    next: ['confrouter up']
  }
}

/** What the window that was opened does not explain. */
function openedMeanwhile({ release }: UpgradeState, releasePolicy: string | undefined): string {
  const others = release === undefined ? [] : waysBeyond(releasePolicy, [release.widened, release.approved])
  return others.length === 0 ? '' : `; somebody else let it out to ${others.join('; ')}`
}

/** What a token of Azure for a genuine group of this policy says (docs/verification.md). */
function claimsOf(hostData: string) {
  return {
    'x-ms-attestation-type': 'sevsnpvm',
    'x-ms-compliance-status': 'azure-compliant-uvm',
    'x-ms-sevsnpvm-hostdata': hostData,
    'x-ms-sevsnpvm-is-debuggable': false,
    'x-ms-sevsnpvm-vmpl': 0
  }
}

function failureInWords(failures: readonly ReleaseFailure[], hostData: string): string {
  const wrong = failures.map((failure) =>
    failure.kind === 'authority'
      ? `it believes ${failure.authority}, the group asks ${failure.issuer}`
      : `${failure.claim} has to be ${failure.expected}, it is ${failure.actual ?? '(absent)'}`
  )
  return `the release policy does not accept host data ${hostData}: ${[...new Set(wrong)].join('; ') || 'it accepts nothing'}`
}

/** Undefined if an identity of the group may release keys of the vault. */
async function withoutRole(run: Run, results: RunResults, identityIds: readonly string[]): Promise<string | undefined> {
  const role = 'Key Vault Crypto Service Release User' as const
  const name = run.config.identity.name
  const identity = await getIdentity(run.azure, run.config.resourceGroup, name)
  if (identity === undefined || !identityIds.some((id) => id.toLowerCase() === identity.id.toLowerCase())) {
    return `the group does not run with identity "${name}"`
  }
  const assignment = {
    scope: results.get('vault').id,
    principalId: identity.principalId,
    principalType: 'ServicePrincipal' as const,
    role
  }
  const found = await findRoleAssignment(run.azure, assignment, 'here-or-above')
  return found === undefined ? `identity "${name}" has no role "${role}" on the vault` : undefined
}
