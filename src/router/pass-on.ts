import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { CallerGoneError } from './body.js'
import type { Call } from './call.js'
import type { Destination } from './credentials.js'
import { type Declined, forward, type Forwarded, UpstreamError } from './forward.js'
import { requestHeaders } from './headers.js'
import { checkRedirect } from './redirect.js'
import { retryDelayMs } from './retry-delay.js'

/**
 * Sends the call to its destinations in order until one answers, and passes that answer on as it
 * comes. What fails before anything was passed on is tried again: at the next destination, or at the
 * last one once more, after the time that it asked for.
 */
export async function passOn(call: Call): Promise<void> {
  const attempts = plannedAttempts(call)
  for (const [index, destination] of attempts.entries()) {
    const next = attempts[index + 1]
    if (index > 0) call.record.attempts = index + 1
    const result = await attempt(call, destination, next)
    if ('firstByteMs' in result) {
      const { outcome, upstreamStatus, firstByteMs } = result
      Object.assign(call.record, { outcome, upstreamStatus, firstByteMs: Math.round(firstByteMs) })
      return
    }
    if (next === destination) await pause(call, delayAfter(result, index))
    if (call.gone) throw new CallerGoneError()
  }
}

/** A body that is passed on as it comes is there once. */
function plannedAttempts({ destinations, stream, context }: Call): readonly Destination[] {
  const last = destinations.at(-1)
  if (last === undefined) throw new Error('the pipeline has not chosen a key')
  if (stream !== undefined) return [last]
  return [...destinations, ...Array<Destination>(context.settings.retries).fill(last)]
}

/** Throws a `Problem` if the destination failed and `next` may not be tried. */
async function attempt(
  call: Call,
  destination: Destination,
  next: Destination | undefined
): Promise<Forwarded | Declined | UpstreamError> {
  const { provider, base, path, wrap } = destination
  const { settings, egress } = call.context
  const isRepeat = next === destination
  const isSafe = call.method === 'GET' || call.method === 'HEAD'
  const declines = (status: number, headers: IncomingHttpHeaders): boolean =>
    isTemporary(status) && (!isRepeat || isWelcomeAgain(headers, settings.limits.retryMs))
  const mayDecline = next !== undefined && (isSafe || !destination.wholeApi)
  call.record.provider = provider.name
  const body = destination.body?.()
  // A copy with another model is kept beside the caller's own body while it is sent.
  const copied = body === undefined || body === call.body ? 0 : body.length
  call.hold(copied)
  try {
    return await forward(
      {
        dispatcher: egress.dispatcher(provider),
        origin: base.origin,
        method: call.method,
        path: `${base.basePath}${path}${call.query}`,
        headers: headersFor(call, destination),
        body: body ?? call.stream?.body ?? null
      },
      wrap === undefined ? call.reply : wrap(call.reply),
      call,
      {
        idleMs: settings.limits.idleMs,
        adapt: (status, headers) => checkRedirect(destination, status, headers),
        ...(mayDecline ? { declines } : {}),
        // Only receipts tell of it.
        ...(call.opened === undefined ? {} : { onSend: (peer) => call.addUpstream(destination, peer) })
      }
    )
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error
    // A connection that was never made has sent nothing; one that broke may have cost the caller an answer.
    const isHopeless = error.problem.code === 'egress_refused' || (error.sent && !isSafe)
    if (next === undefined || (isRepeat && isHopeless)) throw error.problem
    return error
  } finally {
    call.release(copied)
  }
}

/** Too many requests, or a failure of the server; 501 will not pass. */
const isTemporary = (status: number): boolean => status === 429 || (status >= 500 && status !== 501)

/** OpenAI says `X-Should-Retry: false` to whom a repetition brings nothing, as to an account without money. */
const isWelcomeAgain = (headers: IncomingHttpHeaders, longestMs: number): boolean =>
  headers['x-should-retry'] !== 'false' && retryDelayMs(headers, 0) <= longestMs

function headersFor(call: Call, { provider, key, isRouters, wrap }: Destination): Record<string, string> {
  const { stream, record, seal } = call
  const headers = requestHeaders(call.headers, provider.auth, key, {
    usesRouterKey: isRouters,
    // With the extension the headers that count are protected like the body.
    sealed: record.sealed !== undefined && seal?.extension === undefined
  })
  // An answer that is sealed or given another form is read here, so it must come as it is.
  if (record.sealed !== undefined || wrap !== undefined) headers['accept-encoding'] = 'identity'
  if (stream?.length !== undefined) headers['content-length'] = String(stream.length)
  const { 'content-encoding': encoding } = call.headers
  if (stream !== undefined && typeof encoding === 'string') headers['content-encoding'] = encoding
  return headers
}

const delayAfter = (failed: Declined | UpstreamError, attempt: number): number =>
  failed instanceof UpstreamError ? 100 : retryDelayMs(failed.headers, attempt)

/** Ends early when there is nobody to answer any more. */
async function pause(call: Call, milliseconds: number): Promise<void> {
  const gone = new AbortController()
  call.onGone(() => gone.abort())
  await sleep(milliseconds, undefined, { signal: gone.signal }).catch(() => undefined)
}
