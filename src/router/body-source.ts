import { once } from 'node:events'
import { SealError } from '../seal/errors.js'
import { type OpenedRequest, openSealed } from '../seal/node/ehbp.js'
import { type BodyDecoder, type BodyLimits, CallerGoneError, hasBody, LimitedBody, readBody } from './body.js'
import type { Call } from './call.js'
import { Problem, retryLater, StaleKeyProblem } from './problem.js'
import { SealedReply } from './sealed-reply.js'

/** Reads the whole body of a call, opened if it is sealed. From then on the answer is sealed too. */
export async function readWholeBody(call: Call, limits: BodyLimits): Promise<Buffer> {
  const opening = beginOpening(call, { countHeld: false })
  const body = await readBody(call.request, limits, (bytes) => call.hold(bytes), opening?.decoder)
  call.record.bytesIn = body.length
  if (opening !== undefined) await refuseReplay(call)
  return body
}

/**
 * The body of a call as it comes, opened if it is sealed; `null` if there is none. A sealed one has
 * begun by then: what does not open can still be answered with words.
 */
export async function streamBody(call: Call, limits: BodyLimits): Promise<LimitedBody | null> {
  if (!hasBody(call.request)) {
    // Else a header alone would pass for sealing, and the answer would be in the open.
    if (call.seal !== undefined) throw new Problem('bad_sealed_request', 'the sealed request has no body')
    return null
  }
  const opening = beginOpening(call, { countHeld: true })
  const body = new LimitedBody(call.request, limits, opening?.decoder)
  body.once('close', () => {
    call.record.bytesIn = body.bytes
  })
  // It can fail before anybody reads it; whoever reads it later finds the failure in the stream.
  body.on('error', () => undefined)
  // With an error, because somebody may wait for its first frame.
  call.onClose(() => body.destroy(new CallerGoneError()))
  if (opening === undefined) return body
  if (!opening.request.authenticated) await once(body, 'readable')
  await refuseReplay(call)
  return body
}

interface Opening {
  readonly request: OpenedRequest
  readonly decoder: BodyDecoder
}

function beginOpening(call: Call, { countHeld }: { countHeld: boolean }): Opening | undefined {
  const { seal, context } = call
  const { limits } = context.settings
  const { active } = context.state
  if (seal === undefined || active === undefined) return undefined
  // EHBP's own client makes one frame of a whole upload, which the router has to hold until it is authentic.
  const maximumFrameBytes = countHeld ? Math.min(limits.uploadBytes, context.buffers.limitPerCaller) : limits.bodyBytes
  const head = { method: call.request.method ?? '', path: call.request.url ?? '', headers: call.request.headers }
  const request = asProblem(() => openSealed(head, seal, active.keys.hpke, { maximumFrameBytes }))
  call.opened = {
    keys: active.keys,
    measure: () => ({ sha256: request.sha256(), bytes: request.sealedBytes })
  }
  return { request, decoder: new OpeningDecoder(call, request, countHeld) }
}

class OpeningDecoder implements BodyDecoder {
  #counted = 0

  constructor(
    private readonly call: Call,
    private readonly request: OpenedRequest,
    /** Whether what waits for its frame to be whole still has to be counted as held by the call. */
    private readonly countHeld: boolean
  ) {}

  push(chunk: Uint8Array): readonly Uint8Array[] {
    const wasAuthenticated = this.request.authenticated
    let pieces: readonly Uint8Array[]
    try {
      pieces = asProblem(() => this.request.push(chunk))
    } finally {
      // Also where a later frame of the same chunk does not open.
      if (!wasAuthenticated && this.request.authenticated) this.#sealAnswer()
    }
    const more = this.request.held - this.#counted
    if (this.countHeld && more > 0) {
      this.call.hold(more)
      this.#counted += more
    }
    return pieces
  }

  end(): void {
    asProblem(() => this.request.end())
  }

  /** Whoever sealed the request can open what is sealed for it, so from here on even errors are. */
  #sealAnswer(): void {
    const { call, request } = this
    call.reply = new SealedReply(call, request)
  }
}

async function refuseReplay({ seal, context, opened }: Call): Promise<void> {
  if (seal?.extension === undefined || opened === undefined) return
  const verdict = await context.replays.check(seal.encapsulatedKey, seal.extension.timeMs)
  switch (verdict) {
    case 'ok':
      return
    case 'expired':
      throw new Problem(
        'request_expired',
        'the time stamp of the sealed request is too far from the clock of the router; compare yours with the Date header'
      )
    case 'replayed':
      throw new Problem('request_replayed', 'this sealed request was sent before; seal it again to repeat it')
    case 'full':
      throw retryLater('overloaded', 'the router has as many sealed requests as it can tell apart', 5)
    default:
      verdict satisfies never
  }
}

/** The codes that speak of the caller's request; any other error is our own fault. */
export function asProblem<Result>(act: () => Result): Result {
  try {
    return act()
  } catch (error) {
    if (!(error instanceof SealError)) throw error
    switch (error.code) {
      case 'stale_key':
        throw new StaleKeyProblem()
      case 'bad_sealed_request':
        throw new Problem('bad_sealed_request', error.message)
      default:
        throw error
    }
  }
}
