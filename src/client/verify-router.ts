import {
  type EvidenceDocument,
  isHttpsOrigin,
  type MaaKeySet,
  type TrustPolicy,
  type Verdict,
  verifyEvidence
} from '../verify/index.js'
import { fetchEvidence } from './fetch-evidence.js'
import { fetchMaaKeys } from './fetch-maa-keys.js'
import type { Fetch } from './http.js'

/** Longest time for one verification: a router may wait for its own attestation service. */
export const longestVerificationMs = 60_000

export interface VerifyRouterOptions {
  /** Base URL of the router. */
  readonly url: string
  readonly trust: TrustPolicy
  readonly fetch: Fetch
  /** Asked once, after everything was fetched. */
  readonly now: () => Date
  /** 16 to 64 bytes that nobody can foresee; 32 from the platform if left out. */
  readonly randomNonce?: (() => Uint8Array) | undefined
  readonly signal?: AbortSignal | undefined
  /** Keys of attestation providers, where they are not to be fetched. */
  readonly maaKeys?: MaaKeySource | undefined
}

/** Keys of attestation providers, or who gives them when they are needed. */
export type MaaKeySource = readonly MaaKeySet[] | (() => Promise<readonly MaaKeySet[]>)

/** The verdict, and the document as it was served. */
export type RouterVerdict = Verdict & { readonly document: string }

/**
 * Asks a router for evidence about a fresh nonce, fetches the keys of its attestation provider and
 * verifies. Throws a {@link CheckError} if it could not come to a verdict.
 */
export async function verifyRouter(options: VerifyRouterOptions): Promise<RouterVerdict> {
  const { url, fetch, signal } = options
  const nonce = options.randomNonce?.() ?? crypto.getRandomValues(new Uint8Array(32))
  const { document, evidence } = await fetchEvidence({ url, nonce, fetch, signal })
  const appraise = (maaKeys: readonly MaaKeySet[]): Promise<Verdict> =>
    verifyEvidence(evidence, options.trust, { now: options.now(), nonce, maaKeys })
  const verdict = await appraiseWith(() => keysFrom(options.maaKeys, evidence, options), appraise)
  return { ...verdict, document }
}

const keysFrom = async (
  source: MaaKeySource | undefined,
  evidence: EvidenceDocument,
  options: VerifyRouterOptions
): Promise<readonly MaaKeySet[]> =>
  source === undefined ? fetchKeysFor(evidence, options) : typeof source === 'function' ? source() : source

/**
 * A verdict with the keys of attestation providers. Where they cannot be had, what needs none may be wrong all
 * the same: that is a rejection. Only if all of it matches the error of `keys` is thrown, and nothing is known.
 */
export async function appraiseWith(
  keys: () => Promise<readonly MaaKeySet[]>,
  appraise: (maaKeys: readonly MaaKeySet[]) => Promise<Verdict>
): Promise<Verdict> {
  let maaKeys: readonly MaaKeySet[]
  try {
    maaKeys = await keys()
  } catch (error) {
    const verdict = await appraise([])
    if (verdict.checks.some(({ claim, outcome }) => outcome === 'mismatch' && !claim.startsWith('maa.'))) return verdict
    throw error
  }
  return appraise(maaKeys)
}

/** Fetches the keys under which the token in this evidence may be signed. Throws a {@link CheckError}. */
export function fetchKeysFor(
  evidence: EvidenceDocument,
  { trust, fetch, signal }: Pick<VerifyRouterOptions, 'trust' | 'fetch' | 'signal'>
): Promise<readonly MaaKeySet[]> {
  const endpoints = providersToAsk(evidence, trust)
  return Promise.all(endpoints.map((endpoint) => fetchMaaKeys({ endpoint, fetch, signal })))
}

/**
 * The provider that the evidence names, if the trust policy accepts it: what the router says must not
 * make us call a host that nobody trusts. Without keys the token's claims are mismatches.
 */
function providersToAsk({ maa }: EvidenceDocument, trust: TrustPolicy): string[] {
  if (maa === undefined || trust.maa === 'none') return []
  const accepted = trust.maa === 'any' ? isHttpsOrigin(maa.endpoint) : trust.maa.endpoints.includes(maa.endpoint)
  return accepted ? [maa.endpoint] : []
}
