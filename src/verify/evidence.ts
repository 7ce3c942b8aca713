import { decodeBase64 } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { attemptSync } from './check.js'
import { VerifyError } from './errors.js'
import { object, oneOf, optional, type Reader, text } from './shape.js'
import { parseStrictJson } from './strict-json.js'

/**
 * The evidence document as a router serves it, with base64 decoded. Nothing in it is authenticated;
 * its parts stay as bytes and text until {@link verifyEvidence} reads them. A part that may be left
 * out is not thereby dispensed with: the claims that need it become mismatches.
 */
export interface EvidenceDocument {
  readonly version: 1
  /** The exact bytes whose SHA-256 is in REPORT_DATA. */
  readonly runtimeData: Uint8Array
  readonly maa?: MaaEvidence | undefined
  readonly snp: SnpEvidence
  /** The exact bytes of the CCE policy, whose SHA-256 is HOST_DATA. */
  readonly ccePolicy?: Uint8Array | undefined
  /** When the router made it, by its own word. */
  readonly createdAt: string
  /** By its own word too: a verdict goes by the root of the chain alone. */
  readonly simulated: boolean
}

export interface MaaEvidence {
  /** As the router names it; the issuer in the token must be the same. */
  readonly endpoint: string
  readonly token: string
}

export interface SnpEvidence {
  readonly report: Uint8Array
  /** PEM: VCEK, ASK, ARK. */
  readonly certificates: string
  /** COSE_Sign1. */
  readonly uvmEndorsements?: Uint8Array | undefined
}

/** Longest document that is read, in characters: above what the limits of its parts can add up to. */
export const maximumEvidenceLength = 1024 * 1024

/**
 * Parses an evidence document, given as JSON text or as the value of it. Throws a {@link VerifyError}:
 * `evidence.too-large`, or `evidence.unreadable` with every problem of form.
 */
export function parseEvidence(document: unknown): EvidenceDocument {
  const value = typeof document === 'string' ? parseText(document) : document
  const problems: string[] = []
  if (isSavedFile(value)) throw unreadable([savedFile])
  const evidence = evidenceDocument(value, '', problems)
  if (evidence === undefined) throw unreadable(problems)
  return evidence
}

/** What `confrouter verify --save` writes has the nonce and the provider's keys too, which are no part of evidence. */
function isSavedFile(value: unknown): boolean {
  return isJsonObject(value) && Object.hasOwn(value, 'evidence') && Object.hasOwn(value, 'savedAt')
}

const savedFile = 'it is a file of `confrouter verify --save`: the document is its member "evidence"'

function parseText(json: string): unknown {
  if (json.length > maximumEvidenceLength) {
    throw new VerifyError('evidence.too-large', 'evidence cannot be read', [
      `it has ${json.length} characters, more than ${maximumEvidenceLength}`
    ])
  }
  const value = attemptSync(() => parseStrictJson(json, 'it'))
  if (!value.ok) throw unreadable([value.problem])
  return value.value
}

function unreadable(problems: readonly string[]): VerifyError {
  return new VerifyError('evidence.unreadable', 'evidence cannot be read', problems)
}

function base64(maximumLength: number): Reader<Uint8Array> {
  return text('canonical base64 with padding', maximumLength, (value) => {
    const bytes = attemptSync(() => decodeBase64(value, 'it'))
    return bytes.ok ? bytes.value : undefined
  })
}

function string(maximumLength: number): Reader<string> {
  return text('a text', maximumLength, (value) => value)
}

const instant = text('a UTC time in ISO 8601', 40, (value) =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(value) && !Number.isNaN(Date.parse(value)) ? value : undefined
)

const evidenceDocument: Reader<EvidenceDocument> = object<EvidenceDocument>({
  version: oneOf(1),
  runtimeData: base64(32 * 1024),
  maa: optional(object<MaaEvidence>({ endpoint: string(300), token: string(64 * 1024) })),
  snp: object<SnpEvidence>({
    report: base64(8 * 1024),
    certificates: string(64 * 1024),
    uvmEndorsements: optional(base64(128 * 1024))
  }),
  ccePolicy: optional(base64(512 * 1024)),
  createdAt: instant,
  simulated: oneOf(true, false)
})
