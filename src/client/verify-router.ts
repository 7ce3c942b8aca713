import {
  type Check,
  type EvidenceDocument,
  isHttpsOrigin,
  type MaaKeySet,
  type TrustPolicy,
  type Verdict,
  type VerifiedEvidence,
  verifyEvidence
} from '../verify/index.js'
import { CheckError } from './errors.js'
import { fetchEvidence } from './fetch-evidence.js'
import { fetchMaaKeys } from './fetch-maa-keys.js'
import type { Fetch } from './http.js'
import { checkKeyEndpoints, type KeyEndpointCheck } from './key-endpoints.js'

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
  /** Ends the verification; after {@link longestVerificationMs} if left out. */
  readonly signal?: AbortSignal | undefined
  /** Keys of attestation providers, where they are not to be fetched. */
  readonly maaKeys?: MaaKeySource | undefined
  /**
   * Also compares the keys that the router publishes beside its evidence, and rejects it where they differ; two
   * more requests. Left out, nothing but the evidence is asked for.
   */
  readonly compareKeyEndpoints?: boolean | undefined
  /** What makes the connections for that comparison, in place of `fetch`, as in `createFetch`. */
  readonly transport?: ((evidence: VerifiedEvidence) => Fetch) | undefined
}

/** Keys of attestation providers, or who gives them when they are needed. */
export type MaaKeySource = readonly MaaKeySet[] | (() => Promise<readonly MaaKeySet[]>)

/**
 * The verdict, and the document as it was served. `keyEndpoints` is there if they were compared; a verdict may be
 * a rejection for their sake alone, and then every one of `checks` matches.
 */
export type RouterVerdict = Verdict & {
  readonly document: string
  readonly keyEndpoints?: readonly KeyEndpointCheck[]
}

/**
 * Asks a router for evidence about a fresh nonce, fetches the keys of its attestation provider and
 * verifies. Throws a {@link CheckError} if it could not come to a verdict.
 */
export async function verifyRouter(options: VerifyRouterOptions): Promise<RouterVerdict> {
  const { url, fetch, signal = AbortSignal.timeout(longestVerificationMs) } = options
  const nonce = options.randomNonce?.() ?? crypto.getRandomValues(new Uint8Array(32))
  const { document, evidence } = await fetchEvidence({ url, nonce, fetch, signal })
  const appraise = (maaKeys: readonly MaaKeySet[]): Promise<Verdict> =>
    verifyEvidence(evidence, options.trust, { now: options.now(), nonce, maaKeys })
  const verdict = await appraiseWith(() => keysFrom(options.maaKeys, evidence, { ...options, signal }), appraise)
  if (options.compareKeyEndpoints !== true || verdict.verdict === 'rejected') return { ...verdict, document }
  const connect = options.transport?.(verdict.evidence) ?? fetch
  const keyEndpoints = await checkKeyEndpoints({ url, evidence: verdict.evidence, fetch: connect, signal }).catch(
    (error: unknown) => {
      if (!signal.aborted) throw error
      throw new CheckError('check.aborted', 'the comparison of the key endpoints was ended', undefined, error)
    }
  )
  if (keyEndpoints.every(({ outcome }) => outcome !== 'mismatch')) return { ...verdict, document, keyEndpoints }
  const { simulated, checks } = verdict
  return { verdict: 'rejected', simulated, checks, document, keyEndpoints }
}

const keysFrom = async (
  source: MaaKeySource | undefined,
  evidence: EvidenceDocument,
  options: VerifyRouterOptions
): Promise<readonly MaaKeySet[]> =>
  source === undefined ? fetchKeysFor(evidence, options) : typeof source === 'function' ? source() : source

/**
 * A verdict with the keys of attestation providers. Where they cannot be had, what needs none may be wrong all
 * the same: that is a rejection, whose claims about the token were not checked. Only if all of it matches the error of `keys` is thrown, and nothing is known.
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
    const isOfToken = ({ claim }: Check): boolean => claim.startsWith('maa.')
    if (!verdict.checks.some((check) => check.outcome === 'mismatch' && !isOfToken(check))) throw error
    const reason = `could not be checked: ${error instanceof Error ? error.message : 'the keys of the provider were not to be had'}`
    const checks = verdict.checks.map((check): Check =>
      isOfToken(check) && check.outcome === 'mismatch' ? { claim: check.claim, outcome: 'not-required', reason } : check
    )
    return { verdict: 'rejected', simulated: verdict.simulated, checks }
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
