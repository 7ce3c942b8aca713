/**
 * What a caller of a router needs: verify it, then talk to it under a key that was verified. The
 * parts of `verify` that belong to this come along, so that one import is enough.
 */
export { parseAddresses, type RouterAddress } from './addresses.js'
export { createFetch, type CreateFetchOptions, noKey } from './create-fetch.js'
export {
  type AddressFailure,
  AttestationError,
  CallError,
  type CallErrorCode,
  CheckError,
  type CheckErrorCode,
  NoAddressError
} from './errors.js'
export { type FetchedEvidence, fetchEvidence } from './fetch-evidence.js'
export { fetchMaaKeys } from './fetch-maa-keys.js'
export type { Fetch } from './http.js'
export { checkKeyEndpoints, type KeyEndpoint, type KeyEndpointCheck } from './key-endpoints.js'
export {
  type EhbpExtension,
  type EhbpRequest,
  type EhbpResponse,
  type OpenedEhbpResponse,
  sealEhbp,
  type SealedEhbpRequest
} from '../seal/ehbp-client.js'
export { SealError, type SealErrorCode } from '../seal/errors.js'
export { sealProviderKey } from '../seal/provider-key.js'
export { type Receipt, verifyReceipt } from '../seal/receipt.js'
export type { ReceiptResult } from './receipt-check.js'
export type { AddressEvent, Look, Source } from './routers.js'
export { type PinnedRsaKey, sealedCall, type SealedCallOptions } from './sealed-call.js'
export {
  appraiseWith,
  fetchKeysFor,
  longestVerificationMs,
  type MaaKeySource,
  type RouterVerdict,
  verifyRouter,
  type VerifyRouterOptions
} from './verify-router.js'
export {
  azureUvmIssuer,
  type Check,
  type Claim,
  claims,
  defaultMinimumTcb,
  type EvidenceDocument,
  isAzureAttestation,
  type MaaKeySet,
  parseEvidence,
  parseTrustPolicy,
  type StrictTrustOptions,
  strictTrustPolicy,
  type TrustPolicy,
  type Verdict,
  type VerifiedEvidence,
  verifyEvidence,
  VerifyError
} from '../verify/index.js'
