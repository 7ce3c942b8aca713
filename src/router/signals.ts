import process from 'node:process'

export interface Signals {
  /** Resolves at the first SIGTERM or SIGINT. Those that follow are heard and change nothing. */
  readonly stopped: Promise<void>
  /** Without a listener SIGHUP ends the process, as it does by default. */
  readonly onHangup: (listener: () => void) => void
}

export function listenToSignals(): Signals {
  const stopped = new Promise<void>((resolve) => {
    process.on('SIGTERM', () => resolve())
    process.on('SIGINT', () => resolve())
  })
  return { stopped, onHangup: (listener) => void process.on('SIGHUP', listener) }
}

/**
 * For a worker. A terminal, and some supervisors, send a signal to the whole process group; what it means
 * is decided by the primary, which tells its workers.
 */
export function leaveSignalsToPrimary(): void {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
}
