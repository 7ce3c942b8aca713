import { readFile, writeFile } from 'node:fs/promises'
import { UserError } from '../base/user-error.js'
import type { EvidenceDocument, MaaKeySet, TrustPolicy } from '../client/index.js'
import { unreadable } from './file-input.js'

/** Evidence with what it takes to verify it. */
export interface Collected {
  /** Where it comes from: a URL or a file. */
  readonly source: string
  /** The text as it was served. */
  readonly document: string
  readonly evidence: EvidenceDocument
  /** Chosen for this verification, or found in the file. */
  readonly nonce: Uint8Array | undefined
  /** When a file of `--save` was written; then also nonce and keys are out of the file. */
  readonly savedAt: string | undefined
  maaKeys(this: void, trust: TrustPolicy): Promise<readonly MaaKeySet[]>
}

export interface Inputs {
  readonly now: Date
  readonly nonce: Uint8Array | undefined
  readonly maaKeys: readonly MaaKeySet[]
}

/** Asks a router about a nonce of this moment. Throws a {@link UserError} for what could not be checked. */
export async function collectEvidence(
  url: string | undefined,
  fetch: typeof globalThis.fetch,
  signal: AbortSignal
): Promise<Collected> {
  if (url === undefined) throw new Error('there is no URL')
  const { CheckError, fetchEvidence, fetchKeysFor, longestVerificationMs } = await import('../client/index.js')
  const nonce = crypto.getRandomValues(new Uint8Array(32))
  const checked = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const limit = new AbortController()
    const stop = (): void => limit.abort(signal.reason)
    const timer = setTimeout(stop, longestVerificationMs)
    signal.addEventListener('abort', stop, { once: true })
    try {
      return await work(limit.signal)
    } catch (error) {
      if (!(error instanceof CheckError)) throw error
      signal.throwIfAborted()
      throw notChecked(error.code, error)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
    }
  }
  const { document, evidence } = await checked((limit) => fetchEvidence({ url, nonce, fetch, signal: limit }))
  return {
    source: url,
    document,
    evidence,
    nonce,
    savedAt: undefined,
    maaKeys: (trust) => checked((limit) => fetchKeysFor(evidence, { trust, fetch, signal: limit }))
  }
}

function notChecked(code: string, error: Error): UserError {
  if (code === 'check.url') {
    return new UserError('usage', 'usage.invalid', error.message, { next: ['confrouter verify --help'] })
  }
  return new UserError('cloud', 'verify.not-checked', `could not check: ${error.message}`, {
    why: 'this says nothing about the router: no verdict was reached',
    next: ['run the same command again'],
    cause: error.cause
  })
}

/** What `--save` writes: the evidence as it was served, and what else a verification needs. */
interface Bundle {
  readonly version: 1
  readonly savedAt: string
  readonly source: string
  /** Base64url. */
  readonly nonce: string
  readonly maaKeys: readonly MaaKeySet[]
  readonly evidence: unknown
}

/** The keys in it are those that were fetched over TLS then: whoever can change the file can change them. */
export async function writeBundle(file: string, { source, document }: Collected, inputs: Inputs): Promise<void> {
  const bundle: Bundle = {
    version: 1,
    savedAt: inputs.now.toISOString(),
    source,
    nonce: Buffer.from(inputs.nonce ?? []).toString('base64url'),
    maaKeys: inputs.maaKeys,
    evidence: JSON.parse(document)
  }
  try {
    await writeFile(file, `${JSON.stringify(bundle, null, 2)}\n`)
  } catch (error) {
    throw new UserError('machine', 'verify.not-saved', `${file} cannot be written`, { cause: error })
  }
}

/** Reads saved evidence: a file of `--save`, or a document as a router serves it, which has no nonce and no keys beside it. */
export async function readBundle(file: string): Promise<Collected> {
  const { parseEvidence, VerifyError } = await import('../client/index.js')
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw unreadable(file, error)
  })
  try {
    const { document, nonce, maaKeys, savedAt } = partsOf(text)
    const evidence = parseEvidence(document)
    return { source: file, document: text, evidence, nonce, savedAt, maaKeys: () => Promise.resolve(maaKeys) }
  } catch (error) {
    if (!(error instanceof VerifyError) && !(error instanceof SyntaxError)) throw error
    throw new UserError('usage', 'verify.unreadable-evidence', `${file} is no saved evidence`, {
      why: error instanceof SyntaxError ? 'it is not JSON' : error.message
    })
  }
}

function partsOf(text: string): {
  readonly document: unknown
  readonly nonce: Uint8Array | undefined
  readonly maaKeys: readonly MaaKeySet[]
  readonly savedAt: string | undefined
} {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || !('evidence' in value)) {
    return { document: text, nonce: undefined, maaKeys: [], savedAt: undefined }
  }
  const { evidence, nonce, maaKeys, savedAt } = value as Bundle
  const bytes = typeof nonce === 'string' ? new Uint8Array(Buffer.from(nonce, 'base64url')) : new Uint8Array()
  return {
    document: JSON.stringify(evidence),
    nonce: bytes.length >= 16 && bytes.length <= 64 ? bytes : undefined,
    maaKeys: Array.isArray(maaKeys) ? maaKeys : [],
    savedAt:
      typeof savedAt === 'string' && !Number.isNaN(Date.parse(savedAt))
        ? new Date(savedAt).toISOString()
        : 'an unknown time'
  }
}
