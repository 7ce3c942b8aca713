import { SealError } from '../seal/errors.js'
import { type Receipt, verifyReceipt } from '../seal/receipt.js'
import type { VerifiedEvidence } from '../verify/index.js'

/** A receipt that is about the call, or why there is none. */
export type ReceiptResult =
  | { readonly path: string; readonly receipt: Receipt }
  | {
      readonly path: string
      readonly problem: string
      /** `wrong` is checked and wrong; `unchecked` says nothing of the receipt: no WebCrypto for it, or a request cut short. */
      readonly kind: 'missing' | 'wrong' | 'unchecked'
    }

/**
 * Verifies the receipt of one answer and compares it with what was sent. Gives `undefined` for an
 * answer that was not read to its end, or failed: who reads it learns of that there.
 */
export async function checkReceipt(
  jws: Promise<string | undefined>,
  sentSha256: Promise<string>,
  {
    path,
    status,
    keys
  }: {
    /** Of the request, without its query. */
    readonly path: string
    /** Of the answer. */
    readonly status: number
    readonly keys: VerifiedEvidence
  }
): Promise<ReceiptResult | undefined> {
  let text: string | undefined
  try {
    text = await jws
  } catch {
    return undefined
  }
  if (text === undefined || text === '') return { path, problem: 'the answer came without a receipt', kind: 'missing' }
  try {
    const receipt = await verifyReceipt(text, keys.ed25519)
    const sha256 = await sentSha256.catch(() => undefined)
    // A provider may answer, with a refusal above all, while the request is still on its way.
    if (sha256 === undefined) return { path, problem: 'the request was not sent to its end', kind: 'unchecked' }
    const problem = problemOf(receipt, path, status, sha256)
    return problem === undefined ? { path, receipt } : { path, problem, kind: 'wrong' }
  } catch (error) {
    if (!(error instanceof SealError)) throw error
    return { path, problem: error.message, kind: error.code === 'unsupported' ? 'unchecked' : 'wrong' }
  }
}

function problemOf({ request, response }: Receipt, path: string, status: number, sha256: string): string | undefined {
  if (request.sha256 !== sha256) return 'the receipt is about another request'
  if (request.method !== 'POST' || request.path !== path) return 'the receipt names another path'
  return response.status === status ? undefined : 'the receipt names another status'
}
