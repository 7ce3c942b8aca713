import { equalBytes } from '../base/bytes.js'
import { encodeHex } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { encodeKeyConfiguration } from '../seal/ehbp.js'
import { rsaThumbprint } from '../seal/rsa-key.js'
import type { VerifiedEvidence } from '../verify/index.js'
import { type BytesExchange, exchangeBytes, ExchangeError, type Fetch, routerUrl } from './http.js'

/** Where a router publishes its keys a second time, for clients that verify nothing. */
export type KeyEndpoint = '/v1/crypto/jwk' | '/.well-known/hpke-keys'

/**
 * What one of them says, held against verified evidence. `unchecked`: it is not served, cannot be reached, or
 * is a text with nothing that a client would take for a key. That is no sign of anything: a router need not serve it
 * to be the one that its evidence is about. All else that is not the verified key is a `mismatch`.
 */
export type KeyEndpointCheck = { readonly path: KeyEndpoint } & Compared

type Compared =
  | { readonly outcome: 'match' }
  | { readonly outcome: 'mismatch'; readonly expected: string; readonly actual: string }
  | { readonly outcome: 'unchecked'; readonly reason: string }

/** A JWK of 4096 bits has about 800 bytes. */
const maximumBytes = 64 * 1024
/** Longest wait for one of them: nothing of the verdict on the evidence hangs on it. */
const longestMs = 10_000

/**
 * Reads the keys that a router publishes beside its evidence and compares them with the verified ones. Nothing is
 * ever sealed to what stands there; but whoever shows another key there means to read what clients without a
 * verifier send. So it is read as such clients read it: whatever the status says, and as lenient. Wrong keys are
 * outcomes, and so is an endpoint that cannot be read: throws only what the signal was aborted with.
 */
export async function checkKeyEndpoints({
  url,
  evidence,
  fetch,
  signal
}: {
  /** Base URL of the router. */
  readonly url: string
  readonly evidence: VerifiedEvidence
  readonly fetch: Fetch
  readonly signal?: AbortSignal | undefined
}): Promise<readonly KeyEndpointCheck[]> {
  const compare = async (path: KeyEndpoint, expected: string, comparison: Comparison): Promise<KeyEndpointCheck> => {
    const target = routerUrl(url, path)
    if (target === undefined) return { path, ...unchecked('the URL is not one of a router') }
    const limit = AbortSignal.timeout(longestMs)
    const init: RequestInit = {
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
      cache: 'no-store',
      redirect: 'manual'
    }
    try {
      const answer = await exchangeBytes(fetch, target, init, maximumBytes)
      return { path, ...(isAbsent(answer) ? unchecked(statusOf(answer)) : await comparison(answer, evidence)) }
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof ExchangeError)) throw error
      // A client has no such limit, and would go on to a key behind it.
      if (error.reason === 'too-large') return { path, ...mismatch(expected, error.message) }
      return { path, ...unchecked(error.message) }
    }
  }
  return Promise.all([
    compare('/v1/crypto/jwk', evidence.rsaThumbprint, compareJwk),
    compare('/.well-known/hpke-keys', encodeHex(encodeKeyConfiguration(evidence.hpke)), compareConfiguration)
  ])
}

type Comparison = (answer: BytesExchange, evidence: VerifiedEvidence) => Compared | Promise<Compared>

const unchecked = (reason: string): Compared => ({ outcome: 'unchecked', reason })
const mismatch = (expected: string, actual: string): Compared => ({ outcome: 'mismatch', expected, actual })

const statusOf = ({ status }: BytesExchange): string => `it answers with status ${status}`

const isAbsent = ({ status }: BytesExchange): boolean => status === 404 || status === 405

/** In a browser the status of one is 0. */
const isRedirect = ({ status }: BytesExchange): boolean => status < 200 || (status >= 300 && status < 400)

async function compareJwk(
  answer: BytesExchange,
  { rsa, rsaThumbprint: expected }: VerifiedEvidence
): Promise<Compared> {
  if (isRedirect(answer)) return mismatch(expected, 'a redirect to another place')
  const text = textIn(answer.bytes)
  if (text === undefined) return mismatch(expected, 'bytes that are no text')
  const value = parse(text)
  if (isJsonObject(value) && typeof value['n'] === 'string' && typeof value['e'] === 'string') {
    const { kty, n, e, kid } = value
    if (kty !== 'RSA') return mismatch(expected, 'a key that is not RSA')
    if (n !== rsa.n || e !== rsa.e) return mismatch(expected, await describeKey(n, e))
    // Clients find the key again by its name.
    return kid === undefined || kid === expected ? { outcome: 'match' } : mismatch(expected, 'a "kid" of another key')
  }
  if (/"n"\s*:/.test(respelled(text))) return mismatch(expected, 'a key in another form')
  return unchecked(answer.status < 300 ? 'it is no JWK' : statusOf(answer))
}

/** Without a byte order mark, as clients decode it; `undefined` for what is not UTF-8. */
function textIn(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    // UTF-16, which some clients read as well, and keys that are no text have these.
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** As JSON again, in which a name has one spelling; as it is if it is none. */
function respelled(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}

async function describeKey(n: string, e: string): Promise<string> {
  return n === '' || e === '' ? 'a key without a modulus or exponent' : rsaThumbprint({ kty: 'RSA', n, e })
}

/** EHBP's clients take the first key of what stands there; that of its type, or of any. */
function compareConfiguration(answer: BytesExchange, { hpke }: VerifiedEvidence): Compared {
  const { bytes, contentType } = answer
  const expected = encodeKeyConfiguration(hpke)
  if (isRedirect(answer)) return mismatch(encodeHex(expected), 'a redirect to another place')
  if (equalBytes(bytes, expected)) return { outcome: 'match' }
  // The two bytes that name its algorithm are among those that no text has.
  if (textIn(bytes) !== undefined && !/^application\/ohttp-keys\b/i.test(contentType)) {
    return unchecked(answer.status < 300 ? 'it is no key configuration' : statusOf(answer))
  }
  return mismatch(encodeHex(expected), shown(bytes))
}

/** Hex of what is as long as a key configuration is; the length of all else. */
function shown(bytes: Uint8Array): string {
  return bytes.length === configurationLength ? encodeHex(bytes) : `${bytes.length} bytes`
}

const configurationLength = 41
