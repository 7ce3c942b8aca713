import type { Run } from './run.js'

/** The name of the container group that serves: as recorded, or the configured one before the first upgrade. */
export function activeGroupName(run: Pick<Run, 'config' | 'state'>): string {
  const { active } = run.state.get()
  const { name } = run.config.containerGroup
  // Recorded under another base name, it is the group of a configuration that is no more.
  return active?.base === name ? active.group : name
}

/** The name of the group that a policy gets beside another one: the base name and the first characters of its host data. */
export function groupNameFor(base: string, hostData: string): string {
  return `${base.slice(0, 54).replace(/-+$/, '')}-${hostData.slice(0, 8)}`
}
