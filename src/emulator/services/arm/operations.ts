import { randomUUID } from 'node:crypto'
import type { Collection } from '../../store.js'

/** The body that a failed operation, a deployment and a plain error share. */
export interface ArmError {
  readonly code?: string
  readonly message: string
  readonly target?: string
  readonly details?: readonly ArmError[]
}

/** Thrown by the work of an operation to end it as `Failed` with this error. */
export class OperationFailure extends Error {
  override readonly name = 'OperationFailure'
  constructor(readonly error: ArmError) {
    super(error.message)
  }
}

/** One long-running operation. It is kept on disk, so that a client may go on polling after a restart. */
export interface Operation {
  readonly id: string
  readonly kind: string
  /** Id of the resource that it works on. */
  readonly target: string
  readonly startedAt: string
  readonly status: 'InProgress' | 'Succeeded' | 'Failed'
  readonly error?: ArmError
}

/** Does the work of an operation; must be safe to repeat, because a restart begins it again. */
type OperationWork = (target: string, signal: AbortSignal) => Promise<void>

export interface Operations {
  /** Says what an operation of a kind does. Kinds must be known before `resume`. */
  define(kind: string, work: OperationWork): void
  /**
   * Records the operation, lets `prepare` record what it works on, and begins. In this order, so that
   * a kill never leaves a resource waiting for an operation that nobody knows.
   */
  start(kind: string, target: string, prepare?: () => Promise<void>): Promise<Operation>
  get(id: string): Operation | undefined
  /** Whether an operation on this target has not ended, be it running or waiting for `resume`. */
  hasPending(target: string): boolean
  /** The operation once it has ended; rejects when the emulator stops first. */
  ended(id: string): Promise<Operation>
  /** Begins again what a stopped emulator left undone. */
  resume(): void
  /** Stops waiting for work; what is unfinished stays so on disk. */
  close(): Promise<void>
}

/** More than any client still polls for. */
const keptOperations = 500

export function createOperations(options: {
  readonly records: Collection<Operation>
  readonly clock: () => Date
  readonly log?: ((line: string) => void) | undefined
}): Operations {
  const { records, clock, log } = options
  const kinds = new Map<string, OperationWork>()
  const running = new Map<string, Promise<void>>()
  const stopping = new AbortController()

  function run(operation: Operation): void {
    const work = kinds.get(operation.kind)
    if (!work) throw new TypeError(`no work is defined for operations of kind ${operation.kind}`)
    const done = work(operation.target, stopping.signal)
      .then(
        (): Partial<Operation> => ({ status: 'Succeeded' }),
        (error: unknown): Partial<Operation> => ({ status: 'Failed', error: toArmError(error, log) })
      )
      .then(async (outcome) => {
        // Work that was cut short by the emulator's own end has not failed: it is begun again.
        if (!stopping.signal.aborted) await records.set(operation.id, { ...operation, ...outcome })
      })
      .catch((error: unknown) => log?.(`operation ${operation.kind} could not be recorded: ${String(error)}`))
      .finally(() => running.delete(operation.id))
    running.set(operation.id, done)
  }

  async function forgetOldest(): Promise<void> {
    const finished = records.values().filter(({ status }) => status !== 'InProgress')
    for (const { id } of finished.slice(0, Math.max(0, finished.length - keptOperations))) await records.delete(id)
  }

  return {
    define: (kind, work) => void kinds.set(kind, work),
    start: async (kind, target, prepare) => {
      const operation: Operation = {
        id: randomUUID(),
        kind,
        target,
        startedAt: clock().toISOString(),
        status: 'InProgress'
      }
      await forgetOldest()
      await records.set(operation.id, operation)
      await prepare?.()
      run(operation)
      return operation
    },
    get: (id) => records.get(id.toLowerCase()),
    hasPending: (target) => records.values().some((each) => each.target === target && each.status === 'InProgress'),
    ended: async (id) => {
      await running.get(id)
      const operation = records.get(id)
      if (!operation || operation.status === 'InProgress')
        throw new Error('the emulator stopped before the operation ended')
      return operation
    },
    resume: () => {
      for (const operation of records.values()) {
        if (operation.status === 'InProgress' && !running.has(operation.id)) run(operation)
      }
    },
    close: async () => {
      stopping.abort()
      await Promise.allSettled(running.values())
    }
  }
}

function toArmError(error: unknown, log?: (line: string) => void): ArmError {
  if (error instanceof OperationFailure) return error.error
  log?.(`internal error in an operation: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return { code: 'InternalServerError', message: 'Encountered an internal server error.' }
}
