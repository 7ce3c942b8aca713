import type { Naming } from './places.js'
import type { Run } from './run.js'
import type { Generation } from './state.js'

/** The name of the first container group that serves: as recorded, or the configured one before the first deployment. */
export function activeGroupName(run: Pick<Run, 'config' | 'state'>): string {
  const { active } = run.state.get()
  const { name } = run.config.containerGroup
  // Recorded under another base name, it is the group of a configuration that is no more.
  return active?.base === name ? active.group : name
}

/** From what the names of the groups that serve follow: as recorded, or as the first deployment will have it. */
export function activeNaming(run: Pick<Run, 'config' | 'state'>): Naming {
  const { active } = run.state.get()
  const { name } = run.config.containerGroup
  return active?.base === name ? namingOf(run, active) : firstNaming(run, name)
}

/** Of a deployment as recorded. Before regions were, its groups were in the one location. */
export function namingOf(
  { config }: Pick<Run, 'config'>,
  { group, stem, home }: Pick<Generation, 'group' | 'stem' | 'home'>
): Naming {
  return { stem: stem ?? group, home: home ?? config.location }
}

/** Of groups that are not there yet: those of the first region have the short names. */
export function firstNaming({ config }: Pick<Run, 'config'>, stem: string): Naming {
  return { stem, home: config.containerGroup.regions[0] ?? config.location }
}

/** What the groups that a policy gets beside others are called: the base name and the first characters of its host data. */
export function groupNameFor(base: string, hostData: string): string {
  return `${base.slice(0, 54).replace(/-+$/, '')}-${hostData.slice(0, 8)}`
}

/**
 * The same for groups that are made while others serve, whose names begin with `serving`. After an upgrade by
 * replacement those may have the end of just these host data, and would be deleted for them: then the new ones have the
 * base name, which is free.
 */
export function groupNameBeside(serving: string, base: string, hostData: string): string {
  const name = groupNameFor(base, hostData)
  return name === serving ? base : name
}
