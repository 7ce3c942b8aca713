/** One line of a container's or a group's history, with the names that ACI uses. */
export interface ContainerEvent {
  readonly count: number
  readonly firstTimestamp: string
  readonly lastTimestamp: string
  readonly name:
    | 'Pulling'
    | 'Pulled'
    | 'Started'
    | 'Failed'
    | 'BackOff'
    | 'Killing'
    | 'DeploymentFailedReason'
    | 'ContainerPortInUse'
    /** The platform's own words end here: what follows happens on this emulator alone. */
    | 'NodeLent'
    | 'EnvironmentVariablesDropped'
  readonly message: string
  readonly type: 'Normal' | 'Warning'
}

/** Far more than one life of a group yields; a container that restarts for ever counts up instead. */
const keptEvents = 100

/** Appends an event, or counts up the last one if it said the same. */
export function withEvent(
  events: readonly ContainerEvent[],
  event: Pick<ContainerEvent, 'name' | 'message' | 'type'>,
  now: Date
): readonly ContainerEvent[] {
  const timestamp = `${now.toISOString().slice(0, 19)}Z`
  const same = events.find(({ name, message }) => name === event.name && message === event.message)
  if (same) {
    const counted = { ...same, count: same.count + 1, lastTimestamp: timestamp }
    return [...events.filter((each) => each !== same), counted]
  }
  return [...events, { count: 1, firstTimestamp: timestamp, lastTimestamp: timestamp, ...event }].slice(-keptEvents)
}
