import type { Run } from './run.js'

/** Status and JSON body, or undefined while nothing answers. */
export async function get(run: Run, url: string): Promise<{ status: number; body: unknown } | undefined> {
  try {
    return await within(run, lookSeconds, async (signal) => {
      const response = await run.fetch(url, { redirect: 'error', signal })
      const text = await response.text()
      return { status: response.status, body: text.length < 65536 ? parse(text) : undefined }
    })
  } catch (error) {
    if (run.signal.aborted) throw error
    return undefined
  }
}

const lookSeconds = 10
/** For evidence and sealed calls, which wait for the attestation provider and the model. */
export const callSeconds = 90

/**
 * Runs `work` with a signal that ends it in time. A timer of its own: on Node 20 the signal of
 * `AbortSignal.timeout` that only an `AbortSignal.any` holds may be collected and never fire.
 */
export async function within<T>(run: Run, seconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const abort = () => controller.abort()
  const timer = setTimeout(abort, seconds * 1000)
  run.signal.addEventListener('abort', abort, { once: true })
  try {
    return await work(controller.signal)
  } finally {
    clearTimeout(timer)
    run.signal.removeEventListener('abort', abort)
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
