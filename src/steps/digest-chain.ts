import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { decodeBase64, utf8 } from '../base/encoding.js'
import { UserError } from '../base/user-error.js'
import { CheckError, strictTrustPolicy, verifyRouter } from '../client/index.js'
import { imageFacts } from '../image/index.js'
import { parseCcePolicy } from '../policy/index.js'
import { failingRestarts } from './container-start.js'
import { endpointsOfGroup, hostDataOfGroup } from './group-output.js'
import { callSeconds, routerAt, within } from './router-call.js'
import { activeNaming } from './generation.js'
import { type Place, wantedPlaces } from './places.js'
import { pinsOf } from './release-key.js'
import type { Run } from './run.js'
import { fetchFor } from './smoke-checks.js'
import type { State } from './state.js'
import type { ObservedTrust } from './trust-chain.js'
import { isWithin, releasePolicyFor, waysBeyond } from './upgrade-window.js'

/** One link of the digest chain of what runs now. */
export interface ChainLink {
  readonly id: 'restarts' | 'recorded' | 'image' | 'sidecar image' | 'key policy' | 'evidence' | 'replica'
  /** The equation that was checked, in words. */
  readonly link: string
  readonly outcome: 'match' | 'mismatch' | 'unchecked'
  readonly from: string
  readonly to: string
  /** What it means, in one sentence. */
  readonly says: string
}

type Outcome = Pick<ChainLink, 'outcome' | 'from' | 'to' | 'says'>

/**
 * Checks every link of the chain of the group that serves: image in group = image in policy = host data in key
 * policy = host data in evidence, and what was recorded of it. Nothing is believed twice: the image is measured
 * again, the policy hashed, and the evidence fetched and verified. Empty if there is no group.
 */
export async function digestChain(run: Run, { group, key }: ObservedTrust): Promise<readonly ChainLink[]> {
  if (group === undefined) return []
  const hostData = hostDataOfGroup(group)
  const links: readonly (readonly [Pick<ChainLink, 'id' | 'link'>, () => Promise<Outcome> | Outcome])[] = [
    [
      { id: 'recorded', link: 'host data recorded = host data of the group' },
      () => recordedLink(run.state.get(), hostData)
    ],
    [
      { id: 'image', link: 'layers of the router image in the group = layers in its policy' },
      () => imageLink(run, group, 'router')
    ],
    [
      { id: 'sidecar image', link: 'layers of the sidecar image in the group = layers in its policy' },
      () => imageLink(run, group, 'skr')
    ],
    [
      { id: 'key policy', link: 'hash of the group’s policy = host data in the key’s release policy' },
      () => keyLink(run, key?.releasePolicy, group)
    ],
    [
      { id: 'evidence', link: 'hash of the group’s policy = host data in the evidence' },
      () => evidenceLink(run, group, hostData)
    ],
    ...otherPlaces(run, group).map(
      ({ name }) =>
        [
          { id: 'replica' as const, link: `hash of the policy of "${name}" = host data in its evidence` },
          () => replicaLink(run, name, hostData)
        ] as const
    ),
    [{ id: 'restarts', link: 'no container was started again more than once' }, () => restartLink(group)]
  ]
  return Promise.all(links.map(async ([about, check]) => ({ ...about, ...(await settled(check)) })))
}

/** What cannot be looked at is no mismatch, and no match either. */
async function settled(check: () => Promise<Outcome> | Outcome): Promise<Outcome> {
  try {
    return await check()
  } catch (error) {
    if (error instanceof UserError && error.fault !== 'interrupted') return unchecked(error.problem)
    if (error instanceof CheckError) return unchecked(error.message)
    throw error
  }
}

function unchecked(why: string): Outcome {
  return { outcome: 'unchecked', from: '', to: '', says: `could not be checked: ${why}` }
}

function compared(from: string, to: string, isEqual: boolean, wrong: string): Outcome {
  return { outcome: isEqual ? 'match' : 'mismatch', from, to, says: isEqual ? 'the same' : wrong }
}

/** What was recorded against what runs. One's own open upgrade is no stranger: between two phases the group is ahead of the record. */
export function recordedLink(
  { active, deployed, upgrade }: Pick<State, 'active' | 'deployed' | 'upgrade'>,
  hostData: string | undefined
): Outcome {
  const recorded = active?.hostData ?? deployed?.hostData
  if (recorded === undefined) return unchecked('no deployment is recorded here')
  return compared(
    recorded,
    hostData ?? '(no policy)',
    recorded === hostData,
    upgrade !== undefined && upgrade.to.hostData === hostData
      ? `the open ${upgrade.direction} has deployed it and is not finished, next phase: ${upgrade.phase}`
      : 'somebody deployed another policy than the one that was recorded here'
  )
}

async function imageLink(run: Run, group: ContainerGroup, name: string): Promise<Outcome> {
  const container = group.containers.find((each) => each.name === name)
  if (container === undefined) {
    return compared('(none)', '(none)', false, `the group has no container "${name}"`)
  }
  const image = await run.imageStore.open(container.image)
  const { layers } = await imageFacts(image, { cacheFile: run.imageStore.hashCache, signal: run.signal })
  const allowed = policyOf(group)
  if (allowed.kind === 'open-door') {
    return compared(layers.join(' '), 'any', false, 'the policy of the group allows every image')
  }
  const isAllowed = allowed.containers.some((each) => each.layers.join() === layers.join())
  return compared(
    `${container.image}: ${layers.join(' ')}`,
    isAllowed ? layers.join(' ') : allowed.containers.map((each) => each.layers.join(' ')).join(' or '),
    isAllowed,
    `the policy of the group does not allow the image of its container "${name}"`
  )
}

function policyOf(group: ContainerGroup) {
  return parseCcePolicy(utf8.decode(decodeBase64(group.ccePolicy ?? '', 'ccePolicy')))
}

/** Whole policies: the right host data with another authority, or without a condition, is another trust. */
function keyLink(run: Run, releasePolicy: string | undefined, group: ContainerGroup): Outcome {
  if (releasePolicy === undefined) return unchecked('there is no key, or it cannot be read')
  const hostData = hostDataOfGroup(group)
  const pins = pinsOf(releasePolicy)
  const own = releasePolicyFor({ hostData, authority: authorityOf(group) })
  const widened = run.state.get().upgrade?.release?.widened
  const beyond = waysBeyond(
    releasePolicy,
    [own, widened].filter((each) => each !== undefined)
  )
  const isPinned = hostData !== undefined && pins.includes(hostData)
  return compared(
    hostData ?? '(no policy)',
    pins.join(' or ') || '(none)',
    own !== undefined && isWithin(own, releasePolicy) && beyond.length === 0,
    pins.includes('any')
      ? 'the release policy does not pin host data, so any container may obtain the key'
      : isPinned
        ? `the key is not released on the terms of this program alone: ${beyond.join('; ') || 'it asks more'}`
        : 'the running group would not get its key again'
  )
}

async function evidenceLink(run: Run, group: ContainerGroup, hostData: string | undefined): Promise<Outcome> {
  if (hostData === undefined || group.ip === undefined) return unchecked('the group has no policy or no address')
  const authority = authorityOf(group)
  const trust = strictTrustPolicy({
    hostData: [hostData],
    maaEndpoints: authority === undefined ? 'none' : [authority],
    roots: run.trust.roots,
    ...(run.trust.uvmIssuer === undefined ? {} : { uvmIssuer: run.trust.uvmIssuer })
  })
  const { endpoint } = endpointsOfGroup(run, group)
  const router = routerAt(run, endpoint, 'any')
  const verdict = await within(run, callSeconds, (signal) =>
    verifyRouter({ url: endpoint, trust, fetch: fetchFor(run, router), now: run.now, signal })
  )
  if (verdict.verdict === 'trusted') return compared(hostData, hostData, true, '')
  const wrong = verdict.checks.filter((check) => check.outcome === 'mismatch')
  return compared(
    wrong.map((check) => `${check.claim}: ${check.expected}`).join('; '),
    wrong.map((check) => `${check.claim}: ${check.actual}`).join('; '),
    false,
    `the evidence that the router shows is not that of this group: ${wrong.map(({ claim }) => claim).join(', ')}`
  )
}

/** The other groups that are wanted, in whatever region. */
function otherPlaces(run: Run, { name: first }: ContainerGroup): readonly Place[] {
  return wantedPlaces(run, activeNaming(run)).filter(({ name }) => name !== first)
}

/** Of one that stands beside the first group: it must show the first one's host data, and not only its own. */
async function replicaLink(run: Run, name: string, hostData: string | undefined): Promise<Outcome> {
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, name)
  if (group === undefined) return compared('(none)', hostData ?? '(no policy)', false, `there is no group "${name}"`)
  return evidenceLink(run, group, hostData)
}

function restartLink(group: ContainerGroup): Outcome {
  const worst = group.containers.toSorted((a, b) => b.restartCount - a.restartCount)[0]
  const count = worst?.restartCount ?? 0
  return compared(
    `${count} restarts`,
    `fewer than ${failingRestarts}`,
    count < failingRestarts,
    `container "${worst?.name ?? ''}" was started again ${count} times while the group says ${group.state}`
  )
}

/** The attestation service that the group's router goes to, as an origin. */
export function authorityOf(group: Pick<ContainerGroup, 'containers'>): string | undefined {
  const host = group.containers.find(({ name }) => name === 'router')?.environment['MAA_ENDPOINT']
  return host === undefined || host === '' ? undefined : `https://${host}`
}
