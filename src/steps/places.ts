import { UserError } from '../base/user-error.js'
import type { ContainerGroup } from '../azure/container-group.js'
import { maximumReplicas } from '../config/index.js'
import { resourceId } from './created.js'
import type { Run } from './run.js'

/** A container group that is wanted: which one, where, and with which label of a public name. */
export interface Place {
  readonly name: string
  /** Azure region, in its short form. */
  readonly location: string
  readonly label: string | undefined
}

/**
 * From what the names of one deployment's groups follow. It is recorded and stays as long as they do: a group cannot
 * move, so a name that has been in one region is never wanted in another one, in whatever order the regions are.
 */
export interface Naming {
  /** What all the names begin with. */
  readonly stem: string
  /** The region whose groups have no region in their names. */
  readonly home: string
}

/** Of a container group, in characters. */
const longestName = 63

/**
 * The name of one group, from 1 on: `STEM`, `STEM-2`; outside of the home region `STEM-REGION`, `STEM-REGION-2`. A name
 * that has no room for its end loses its last characters before it.
 */
export function groupName({ stem, home }: Naming, location: string, number: number): string {
  const end = `${location === home ? '' : `-${location}`}${number === 1 ? '' : `-${number}`}`
  return end === '' ? stem : `${stem.slice(0, longestName - end.length).replace(/-+$/, '')}${end}`
}

/**
 * The groups that are wanted, the first one first: region after region in the order of the configuration, or of those
 * that an upgrade was opened with. A label is unique in its region, so the first group of each has it.
 */
export function wantedPlaces(
  run: Pick<Run, 'config'>,
  naming: Naming,
  regions: readonly string[] = run.config.containerGroup.regions
): readonly [Place, ...Place[]] {
  const { replicas, dnsLabel } = run.config.containerGroup
  const [first, ...others] = regions.flatMap((location) =>
    Array.from({ length: replicas }, (_, index) => ({
      name: groupName(naming, location, index + 1),
      location,
      label: index === 0 ? dnsLabel : undefined
    }))
  )
  if (first === undefined) throw new TypeError('there is a first group')
  return [first, ...others]
}

/**
 * The names of the groups with this stem that were made here, wanted or not, in all regions that ever had one: no other
 * one is ever deleted.
 */
export function recordedGroups(run: Pick<Run, 'config' | 'azure' | 'state'>, stem: string): readonly string[] {
  const { created, regions: before = [] } = run.state.get()
  const made = new Set(created.map((id) => id.toLowerCase()))
  const regions = new Set([...before, ...run.config.containerGroup.regions])
  // Whichever is the home: both forms are looked for.
  const names = ['', ...regions].flatMap((location) =>
    Array.from({ length: maximumReplicas }, (_, index) => groupName({ stem, home: '' }, location, index + 1))
  )
  return names.filter((name) =>
    made.has(resourceId(run, 'Microsoft.ContainerInstance/containerGroups', name).toLowerCase())
  )
}

/** What the names of all groups of one side of an upgrade begin with. */
export function stemOf({ stem, group }: { readonly stem?: string; readonly group: string }): string {
  return stem ?? group
}

/** The groups of one side of an upgrade that were made here, but for its first one. */
export function othersOf(
  run: Pick<Run, 'config' | 'azure' | 'state'>,
  side: { readonly stem?: string; readonly group: string }
): readonly string[] {
  return recordedGroups(run, stemOf(side)).filter((name) => name !== side.group)
}

/** Where a group is, in the short form that configurations have. */
export function locationOf({ location }: Pick<ContainerGroup, 'location'>): string {
  return location.toLowerCase().replaceAll(' ', '')
}

/** Throws `deploy.other-region` if the group of this name is in another region: Azure cannot move it, and nothing is deleted for it. */
export function requireInPlace(run: Pick<Run, 'config'>, group: ContainerGroup, { name, location }: Place): void {
  const actual = locationOf(group)
  if (actual === location) return
  const { resourceGroup } = run.config
  throw new UserError(
    'config',
    'deploy.other-region',
    `container group "${name}" is in ${actual}, and the configuration wants it in ${location}`,
    {
      why: 'a container group cannot move, and no record in the state directory says that this one belongs to its region',
      next: [
        `put ${actual} first in containerGroup.regions`,
        'use the state directory of this deployment',
        `az container delete -g ${resourceGroup} -n ${name}   (it stops serving)`
      ]
    }
  )
}
