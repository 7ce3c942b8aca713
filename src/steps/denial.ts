import type { ContainerGroup, GroupEvent } from '../azure/container-group.js'
import { denialIn, type PolicyDenial } from '../azure/policy-denial.js'

/** The first policy denial in a group's events, or undefined if there is none. */
export function findDenial(group: ContainerGroup): PolicyDenial | undefined {
  const sources: readonly { container: string | undefined; events: readonly GroupEvent[] }[] = [
    ...group.containers.map(({ name, events }) => ({ container: name, events })),
    { container: undefined, events: group.events }
  ]
  for (const { container, events } of sources) {
    for (const { message } of events) {
      const denial = denialIn(message)
      if (denial !== undefined) return { ...denial, container: container ?? denial.container }
    }
  }
  return undefined
}
