import { ReadableStream } from 'node:stream/web'
import { ImageError } from './image-error.js'

interface TransportOptions {
  /** For messages. */
  readonly registry: string
  readonly fetch: typeof globalThis.fetch
  readonly signal: AbortSignal | undefined
  /** How long the registry may neither take nor give a byte; a minute if not given. */
  readonly silenceMs?: number
}

/** An answer whose body is read once, or discarded. */
export interface RegistryAnswer {
  readonly status: number
  readonly headers: Headers
  body(): AsyncIterable<Uint8Array>
  discard(): Promise<void>
}

/** A body that is made of pieces as they are sent. The caller says its length in `content-length`. */
interface StreamedRequest extends RequestInit {
  readonly content?: AsyncIterable<Uint8Array>
}

type Transport = (url: string, init: StreamedRequest, label: string) => Promise<RegistryAnswer>

/** No answer, or one that broke off: another attempt may succeed. */
export class TransientError extends ImageError {
  constructor(problem: string, cause?: unknown) {
    super('registry.unreachable', problem, { cause })
  }
}

const defaultSilenceMs = 60_000

/**
 * `fetch` for a registry: redirects are left to the caller, a silence ends the exchange, and
 * what the network does becomes a `TransientError`. The caller's abort passes through as its own reason.
 */
export function createTransport({
  registry,
  fetch,
  signal,
  silenceMs = defaultSilenceMs
}: TransportOptions): Transport {
  return async (url, { content, ...init }, label) => {
    signal?.throwIfAborted()
    const silence = new AbortController()
    const signals = signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal])
    const failure = (cause: unknown) => {
      signal?.throwIfAborted()
      return new TransientError(`${registry} could not be reached for ${label}`, cause)
    }
    const timer = setTimeout(abort, silenceMs, silence)
    let damage: unknown
    const sent = content === undefined ? {} : streamed(content, timer, (error) => (damage = error))
    let response: Response
    try {
      response = await fetch(url, { redirect: 'manual', ...init, ...sent, signal: signals })
    } catch (cause) {
      // What cannot be read here is no fault of the registry, and no other attempt helps.
      if (damage !== undefined) throw damage as Error
      throw failure(cause)
    } finally {
      clearTimeout(timer)
    }
    return {
      status: response.status,
      headers: response.headers,
      body: () => readBody(response, silence, silenceMs, failure),
      discard: async () => response.body?.cancel()
    }
  }
}

/** Each piece that the registry takes starts the clock of its silence again. */
function streamed(
  content: AsyncIterable<Uint8Array>,
  timer: NodeJS.Timeout,
  onDamage: (error: unknown) => void
): RequestInit & { duplex: 'half' } {
  async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const piece of content) {
        timer.refresh()
        yield piece
      }
    } catch (error) {
      onDamage(error)
      throw error
    }
  }
  const body = ReadableStream.from(pieces()) as BodyInit
  // Otherwise undici keeps a second copy of all that was sent, for a redirect or a login it might have to follow.
  return { body, duplex: 'half', redirect: 'error', window: null }
}

async function* readBody(
  response: Response,
  silence: AbortController,
  silenceMs: number,
  failure: (cause: unknown) => unknown
): AsyncGenerator<Uint8Array, void, undefined> {
  if (response.body === null) return
  const reader = response.body.getReader()
  try {
    for (;;) {
      // The clock runs only while we wait for the registry, not while the consumer works.
      const timer = setTimeout(abort, silenceMs, silence)
      const chunk = await reader.read().finally(() => {
        clearTimeout(timer)
      })
      if (chunk.done) return
      yield chunk.value
    }
  } catch (cause) {
    throw failure(cause)
  } finally {
    // Gives the connection back when the consumer leaves early; after the end it does nothing.
    await reader.cancel().catch(() => undefined)
  }
}

function abort(controller: AbortController): void {
  controller.abort()
}
