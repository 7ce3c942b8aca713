import { createHash } from 'node:crypto'
import { createTransport } from 'ehbp'
import { decodeBase64Url } from '../../src/base/encoding.js'
import { sealEhbp } from '../../src/seal/ehbp-client.js'
import { type Receipt, verifyReceipt } from '../../src/seal/receipt.js'

/** What one call says of itself, beside its answer. */
export interface SealedCall {
  /** As it went over the wire. */
  readonly method: string
  readonly path: string
  readonly sha256: string
  readonly requestId: string | null
  /** Verified; fails as the answer does. */
  readonly receipt: Promise<Receipt>
}

export interface SealingFetch {
  readonly fetch: typeof globalThis.fetch
  readonly calls: SealedCall[]
}

/** Beside the body, these are what the router has to act on. */
const isCovered = (name: string): boolean =>
  ['accept', 'authorization', 'content-type', 'confrouter-method'].includes(name) || /^(openai|anthropic)-/.test(name)

/**
 * A `fetch` that seals every call by the extension, for SDKs that take one: the least that an
 * application has to do. The keys are those of the router's evidence, whose verification is another
 * test's matter.
 */
export async function createSealingFetch(routerUrl: string): Promise<SealingFetch> {
  const keys = await keysOfEvidence(routerUrl)
  const calls: SealedCall[] = []
  const sealing = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init)
    const { pathname, search } = new URL(request.url)
    const path = pathname + search
    const headers = Object.fromEntries(request.headers)
    // What has no body travels as a POST, so that it is authentic and its answer can be sealed.
    if (request.method === 'GET' || request.method === 'DELETE') headers['confrouter-method'] = request.method
    else if (request.method !== 'POST') throw new TypeError(`${request.method} cannot be sealed`)
    const sealed = await sealEhbp({
      recipient: keys.hpke,
      method: 'POST',
      path,
      headers,
      body: new Uint8Array(await request.arrayBuffer()),
      extension: { timeMs: Date.now(), cover: Object.keys(headers).filter(isCovered), pad: true }
    })
    const body = sealed.body as Uint8Array<ArrayBuffer>
    const answer = await fetch(request.url, {
      method: 'POST',
      headers: { ...headers, ...sealed.headers },
      body,
      signal: init?.signal ?? null
    })
    const opened = sealed.openResponse(answer)
    const receipt = opened.receipt.then((jws) => verifyReceipt(jws ?? '', keys.ed25519))
    // Whoever does not look at the receipt learns of a failure from the body.
    receipt.catch(() => undefined)
    calls.push({
      method: 'POST',
      path: pathname,
      sha256: createHash('sha256').update(body).digest('hex'),
      requestId: answer.headers.get('x-confrouter-request-id'),
      receipt
    })
    return new Response(opened.body, { status: answer.status, headers: answer.headers })
  }
  // Else the SDK would find out by a call of its own whether this `fetch` knows forms.
  return { fetch: Object.assign(sealing, { Response }), calls }
}

/** Of the exact bytes that the report is about. */
async function keysOfEvidence(routerUrl: string): Promise<{ readonly hpke: Uint8Array; readonly ed25519: Uint8Array }> {
  const evidence = await (await fetch(`${routerUrl}/.well-known/confrouter`)).json()
  const { confrouter } = JSON.parse(Buffer.from(evidence.runtimeData, 'base64').toString())
  return {
    hpke: decodeBase64Url(confrouter.hpke, 'the HPKE key'),
    ed25519: decodeBase64Url(confrouter.ed25519, 'the Ed25519 key')
  }
}

/** The npm package `ehbp` as a `fetch`. It takes no signal, and leaves calls without a body in the open. */
export async function createEhbpFetch(routerUrl: string): Promise<typeof globalThis.fetch> {
  const transport = await createTransport(routerUrl)
  return (input, init) => transport.request(input, init)
}
