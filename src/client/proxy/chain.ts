import type { Check, Claim } from '../../verify/index.js'
import { type ChainPartId, claimsOf } from '../chain-of-trust.js'

export type Outcome = Check['outcome'] | 'unknown'

/** One thing in the chain of trust, with everything that is compared before the next one is believed. */
export interface ChainPart {
  readonly id: ChainPartId
  readonly title: string
  /** Who vouches for it. */
  readonly vouched: string
  /** What is compared. */
  readonly compared: string
  readonly claims: readonly Claim[]
  /** The worst of its claims; `unknown` before the first verdict. */
  readonly outcome: Outcome
  /** What was found, where one value says it. */
  readonly value: string | null
}

/** The hardware's line first, each part vouching for the next; then what hangs on its report, side by side. */
export interface Chain {
  readonly line: readonly ChainPart[]
  readonly branches: readonly ChainPart[]
}

type Plan = Omit<ChainPart, 'claims' | 'outcome' | 'value'> & {
  /** The claim whose actual value says most. */
  readonly shows: Claim
}

const line: readonly Plan[] = [
  {
    id: 'ark',
    title: 'Root key (ARK)',
    vouched: 'Named by your trust policy',
    compared: 'SHA-256 of its certificate is one that you accept',
    shows: 'ark.pinned'
  },
  {
    id: 'ask',
    title: 'Intermediate key (ASK)',
    vouched: 'Signed by the root key',
    compared: 'Signatures, names and dates of the whole chain',
    shows: 'vcek.chain'
  },
  {
    id: 'vcek',
    title: 'Key of this chip (VCEK)',
    vouched: 'Signed by the intermediate key',
    compared: 'Chip id and firmware levels are those of the report, and new enough',
    shows: 'vcek.tcb'
  },
  {
    id: 'report',
    title: 'Report on the guest',
    vouched: 'Signed by the key of this chip',
    compared: 'A genuine report; debugging and migration are off',
    shows: 'report.format'
  }
]

const branches: readonly Plan[] = [
  {
    id: 'uvm',
    title: 'Utility VM',
    vouched: 'Endorsement signed by its maker',
    compared: 'MEASUREMENT in the report = the measurement that was endorsed',
    shows: 'uvm.measurement'
  },
  {
    id: 'policy',
    title: 'Policy: what may run',
    vouched: 'Stated in the report',
    compared: 'HOST_DATA in the report = SHA-256 of the policy = the host data that you expect',
    shows: 'hostData'
  },
  {
    id: 'keys',
    title: 'Keys of the router',
    vouched: 'Stated in the report',
    compared: 'REPORT_DATA in the report = SHA-256 of the runtime data, which has the keys and your nonce',
    shows: 'runtimeData.keys'
  },
  {
    id: 'maa',
    title: 'Attestation service',
    vouched: 'Token signed by the service',
    compared: 'The token says the same of the same guest; the service’s keys come over TLS',
    shows: 'maa.issuer'
  }
]

/** Fits the checks of a verdict into the chain; without checks every part is unknown. */
export function chainOf(checks: readonly Check[]): Chain {
  const byClaim = new Map(checks.map((check) => [check.claim, check]))
  const fill = ({ shows, ...plan }: Plan): ChainPart => {
    const claims = claimsOf(plan.id)
    const shown = byClaim.get(shows)
    return {
      ...plan,
      claims,
      outcome: worst(claims.map((claim) => byClaim.get(claim)?.outcome ?? 'unknown')),
      value: shown === undefined || shown.outcome === 'not-required' ? null : shown.actual
    }
  }
  return { line: line.map(fill), branches: branches.map(fill) }
}

/** What is left open in a part is told, though the rest of it matches: nobody should take it for compared. */
function worst(outcomes: readonly Outcome[]): Outcome {
  const order: readonly Outcome[] = ['mismatch', 'unknown', 'not-required']
  return order.find((outcome) => outcomes.includes(outcome)) ?? 'match'
}
