import type { Worker } from 'node:cluster'

/**
 * Gives the function that breaks the connections that are on their way to a worker; for when it is lost.
 * Node's cluster gives a listener's connections to a worker one after the other, and closes its own end of
 * one when the worker says that it has it. A worker that ends in between never says so, and the caller
 * would wait for ever on a connection that nobody serves.
 */
export function watchHandOver(worker: Worker): () => void {
  /** The last one of each listener. To close one that is closed changes nothing. */
  const last = new Map<unknown, { close(): void }>()
  const send = worker.process.send.bind(worker.process) as (...parameters: unknown[]) => boolean
  worker.process.send = (message: unknown, handle?: unknown, ...others: unknown[]) => {
    if (isClosable(handle)) last.set((message as { key?: unknown }).key, handle)
    return send(message, handle, ...others)
  }
  return () => {
    for (const handle of last.values()) handle.close()
  }
}

const isClosable = (handle: unknown): handle is { close(): void } =>
  typeof handle === 'object' && handle !== null && 'close' in handle && typeof handle.close === 'function'
