import type { IncomingMessage, ServerResponse } from 'node:http'
import { breakOff, lockedDown, refuse } from './answers.js'
import type { RunningCall } from './call-log.js'
import { CallerLeft, ProxyProblem, refusalOf } from './failures.js'
import type { HeldBudget, HeldBytes } from './held-bytes.js'
import { type BodyLimits, type IncomingBody, readBody } from './request-body.js'
import type { ReceiptResult } from '../receipt-check.js'
import type { WatchedRouter } from './watched-router.js'

/**
 * Sends one call through the verified fetch and its answer back, both as they come. An answer that breaks
 * breaks the connection; what fails before that is answered in OpenAI's form.
 */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  {
    target,
    router,
    limits,
    budget,
    record
  }: {
    /** At the router. */
    readonly target: URL
    readonly router: WatchedRouter
    readonly limits: BodyLimits
    /** For what is held of the bodies of all calls. */
    readonly budget: HeldBudget
    readonly record: RunningCall
  }
): Promise<void> {
  const caller = signalOf(response)
  const sent = budget.open()
  const held = budget.open()
  let incoming: IncomingBody | undefined
  try {
    requireSealable(request)
    incoming = await readBody(request, limits, sent)
    const answer = await begin(incoming)
    incoming.answered()
    record.note({ status: answer.status, requestBytes: incoming.bytes() })
    await passOn(answer, response, { record, held })
    record.end('answered')
  } catch (error) {
    fail(incoming?.failure() ?? held.failure ?? error)
  } finally {
    sent.release()
    held.release()
    if (incoming !== undefined) record.note({ requestBytes: incoming.bytes() })
    // Else what is left of the body would stand before the next request on this connection.
    request.resume()
  }

  /** Apart, so that nothing of a function that waits for the end of the answer has the body. */
  function begin(incoming: IncomingBody): Promise<Response> {
    const onReceipt = (receipt: ReceiptResult): void => record.receipt(receipt)
    return router.send(target, requestInit(request, incoming.take(), caller), { onReceipt, held })
  }

  function fail(error: unknown): void {
    if (caller.aborted || error instanceof CallerLeft) {
      record.end('left')
      breakOff(response)
    } else if (response.headersSent) {
      record.end('broken', codeOf(error))
      breakOff(response)
    } else {
      const refusal = refusalOf(error)
      record.note({ status: refusal.status })
      record.end('refused', refusal.code)
      refuse(response, refusal)
    }
  }
}

/** Aborted when the caller goes away before its answer has ended. */
function signalOf(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new CallerLeft('the caller went away'))
  })
  return controller.signal
}

const sealable = ['GET', 'POST', 'DELETE']

function requireSealable({ method = '', headers }: IncomingMessage): void {
  if (!sealable.includes(method)) {
    const message = `a ${method} request cannot be sealed; this proxy takes ${sealable.join(', ')}`
    const allow = { allow: sealable.join(', '), 'x-should-retry': 'false' }
    throw new ProxyProblem({ status: 405, code: 'method_not_allowed', message, headers: allow })
  }
  if (headers.upgrade?.toLowerCase() === 'websocket') {
    throw new ProxyProblem({ status: 400, code: 'call_unsealable', message: 'a websocket cannot be sealed' })
  }
}

function requestInit(
  request: IncomingMessage,
  body: ReturnType<IncomingBody['take']>,
  signal: AbortSignal
): RequestInit {
  return {
    method: request.method ?? '',
    headers: headersOf(request),
    signal,
    ...(body === undefined ? {} : { body }),
    ...(body instanceof ReadableStream ? { duplex: 'half' } : {})
  }
}

/** Without those that are about this connection; the fetch leaves out what is about this machine. */
function headersOf({ headersDistinct }: IncomingMessage): Headers {
  const nominated = (headersDistinct['connection'] ?? []).flatMap((value) => value.toLowerCase().split(/[\s,]+/))
  const headers = new Headers()
  for (const [name, values = []] of Object.entries(headersDistinct)) {
    if (!nominated.includes(name)) for (const value of values) headers.append(name, value)
  }
  return headers
}

async function passOn(
  answer: Response,
  response: ServerResponse,
  { record, held }: { readonly record: RunningCall; readonly held: HeldBytes }
): Promise<void> {
  const reader = answer.body?.getReader()
  let bytes = 0
  try {
    response.writeHead(answer.status, answerHeaders(answer.headers))
    // A stream of events may have its first one much later.
    response.flushHeaders()
    for (;;) {
      const { done = true, value } = (await reader?.read()) ?? {}
      if (done || value === undefined) break
      bytes += value.length
      if (!response.write(value)) await drained(response)
      // All that had come was in this piece, but for less than one piece of the connection.
      held.release()
    }
  } finally {
    record.note({ responseBytes: bytes })
    // Where it was read to its end or broke, this does nothing.
    await reader?.cancel().catch(() => undefined)
  }
  response.end()
}

/** Those that a provider means for its own site, or for browsers, and that would mean this machine here. */
const notPassedOn = new Set([
  'alt-svc',
  'clear-site-data',
  'content-security-policy-report-only',
  'nel',
  'refresh',
  'report-to',
  'reporting-endpoints',
  'service-worker-allowed',
  'set-cookie',
  'strict-transport-security'
])

function answerHeaders(headers: Headers): Record<string, string> {
  const passed = [...headers].filter(([name]) => !notPassedOn.has(name))
  return { ...Object.fromEntries(passed), ...lockedDown }
}

async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) throw new CallerLeft('the caller went away')
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.once('drain', done)
    response.once('close', done)
  })
}

function codeOf(error: unknown): string {
  if (error instanceof ProxyProblem) return error.refusal.code
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'answer_broken'
}
