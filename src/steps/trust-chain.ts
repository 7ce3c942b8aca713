import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { getKey, type VaultKey } from '../azure/vault-key.js'
import type { TrustDelta } from '../plan/plan.js'
import { templateImages } from '../plan/group-properties.js'
import { hostDataOfGroup } from './group-output.js'
import { activeGroupName } from './generation.js'
import type { RunResults } from './graph.js'
import { authoritiesOf, pinsOf } from './release-key.js'
import type { Note, Run, StepId } from './run.js'
import type { Survey } from './survey.js'

const nothing = '(none)'

/** What there is of the chain now: the group that runs, and the key as the vault keeps it. */
export interface ObservedTrust {
  readonly group: ContainerGroup | undefined
  /** Undefined if there is none, or if it cannot be read yet. */
  readonly key: VaultKey | undefined
}

/** Whether there is a group that may have callers, or an upgrade between two of them. */
export async function isAnybodyServing(run: Run): Promise<boolean> {
  if (run.state.get().upgrade !== undefined) return true
  return (await getContainerGroup(run.azure, run.config.resourceGroup, activeGroupName(run))) !== undefined
}

/** Looks at both. The key is read only where the roles are in place: without them the vault would be waited for. */
export async function observeTrust(
  run: Run,
  results: RunResults,
  onWait: Note = () => undefined
): Promise<ObservedTrust> {
  const hasGroup = results.has('resource-group')
  const mayRead = results.has('vault') && results.has('roles')
  const [group, key] = await Promise.all([
    hasGroup ? getContainerGroup(run.azure, run.config.resourceGroup, activeGroupName(run)) : undefined,
    mayRead
      ? getKey({ azure: run.azure, vaultUri: results.get('vault').vaultUri, onWait }, run.config.key.name)
      : undefined
  ])
  return { group, key }
}

/**
 * The chain of trust as it is and as it would be, link by link: image, policy, release policy, and who can
 * obtain the key afterwards. Links that stay as they are are left out. What depends on a change that is not
 * made yet says on which one.
 */
export function trustDeltas(
  observed: ObservedTrust,
  wanted: { readonly list: readonly Survey[]; readonly results: RunResults; readonly isWidened: boolean }
): readonly TrustDelta[] {
  const { list, results, isWidened } = wanted
  const { group, key } = observed
  const template = results.has('policy') ? results.get('policy') : undefined
  const images = template === undefined ? undefined : templateImages(template.template)
  const later = (id: StepId) => laterThan(list, id)
  const imageNow = (name: string) => group?.containers.find((container) => container.name === name)?.image ?? nothing
  const pins = key?.releasePolicy === undefined ? [] : [...pinsOf(key.releasePolicy)].sort()
  const authorities = key?.releasePolicy === undefined ? [] : [...new Set(authoritiesOf(key.releasePolicy))].sort()
  const hostData = template?.hostData ?? later('policy')
  const authority = results.has('attestation')
    ? results.get('attestation').attestUri.replace(/\/$/, '')
    : later('attestation')
  const release = template === undefined ? later('policy') : releaseText([hostData], [authority])
  const afterwards = holdersText([hostData], [authority])
  const rows: readonly TrustDelta[] = [
    {
      what: 'image',
      from: imageNow('router'),
      to: results.has('image') ? results.get('image').reference : later('image')
    },
    { what: 'sidecar image', from: imageNow('skr'), to: images?.['skr'] ?? later('policy') },
    { what: 'host data', from: (group && hostDataOfGroup(group)) ?? nothing, to: hostData },
    {
      what: 'release policy',
      from: key === undefined ? nothing : releaseText(pins, authorities),
      to: release
    },
    {
      what: 'who can obtain the key',
      from: key === undefined ? nothing : holdersText(pins, authorities),
      to: isWidened
        ? `${holdersText([...new Set([...pins, hostData])], [authority])}, while the upgrade goes on; then ${afterwards}`
        : afterwards
    }
  ]
  return rows.filter(({ from, to }) => from !== to)
}

function releaseText(pins: readonly string[], authorities: readonly string[]): string {
  return `host data ${pins.join(' or ') || nothing}, attested by ${authorities.join(' or ') || nothing}`
}

function holdersText(pins: readonly string[], authorities: readonly string[]): string {
  return `containers with host data ${pins.join(' or ') || nothing} that ${authorities.join(' or ') || nothing} vouches for`
}

/** In the words of the plan: which change has to be made before a value is known. */
function laterThan(list: readonly Survey[], id: StepId): string {
  const survey = list.find((each) => each.id === id)
  if (survey === undefined || survey.action === 'unknown') return `(${survey?.reason ?? 'not looked at'})`
  return `(known after ${survey.title})`
}
