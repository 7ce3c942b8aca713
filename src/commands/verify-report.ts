import { UserError } from '../base/user-error.js'
import type { KeyEndpointCheck, Verdict } from '../client/index.js'
import { differing, mismatchNames } from '../client/mismatches.js'
import type { App } from './app.js'
import { otherKeyProblem, otherKeyWhy } from './key-endpoints.js'
import { isLoopback } from './router-url.js'
import type { Collected } from './verify-evidence.js'
import { proposeLocal, type VerifyOptions } from './verify-options.js'
import type { Pin } from './verify-pin.js'
import { coverageDocument, drawCoverage, valuesToRead } from './verify-release.js'
import { drawChain } from './verify-tree.js'
import type { TrustSource } from './verify-trust.js'
import { waiversOf } from './verify-waivers.js'

/** What a verification of a router came to, with what it was held against. */
export interface Outcome {
  readonly pinned: Pin | undefined
  /** On the evidence alone. */
  readonly verdict: Verdict
  /** `undefined` where no router was asked, or one whose evidence is rejected. */
  readonly keyEndpoints: readonly KeyEndpointCheck[] | undefined
  readonly trust: TrustSource
  readonly collected: Collected
  readonly options: VerifyOptions
}

/** Writes the verdict. Throws a {@link UserError} of fault `evidence` unless it is trusted. */
export function report(app: App, outcome: Outcome): void {
  const { options } = outcome
  const document = {
    command: 'verify',
    ...documentOf(outcome)
  }
  for (const waiver of waiversOf(outcome.verdict.checks, outcome.trust.policy)) app.terminal.caution(waiver)
  const human = options.quiet === true ? verdictLine(outcome, app) : everything(outcome, app)
  if (isTrusted(outcome)) {
    app.terminal.result({ human, json: document })
    return
  }
  if (options.json !== true) app.terminal.result({ human, json: document })
  throw rejection(outcome)
}

const isTrusted = ({ verdict, keyEndpoints = [] }: Outcome): boolean =>
  verdict.verdict === 'trusted' && differing(keyEndpoints).length === 0

function everything(outcome: Outcome, app: App): string {
  const { verdict, trust, collected } = outcome
  const looks = app.terminal.styles.stdout
  // Beside a rejection it would read as if something were well.
  const control = isTrusted(outcome) ? '; the same evidence against another host data was rejected' : ''
  return [
    headline(outcome, app),
    '',
    drawChain(verdict.checks, looks),
    ...drawKeyEndpoints(outcome.keyEndpoints ?? [], looks),
    ...drawCoverage(outcome.pinned, looks),
    ...valuesToRead(outcome.pinned, looks),
    ...(collected.savedAt === undefined ? [] : ['', looks.yellow(ofFile(collected.savedAt))]),
    '',
    looks.dim(`held against ${trust.origin}${control}`)
  ].join('\n')
}

/** No part of the chain: nothing vouches for what stands there, and no client of ours takes a key from it. */
function drawKeyEndpoints(checks: readonly KeyEndpointCheck[], looks: App['terminal']['styles']['stdout']): string[] {
  if (checks.length === 0) return []
  const { green, red, dim, bold, symbols } = looks
  const lines = checks.flatMap((check) => {
    switch (check.outcome) {
      case 'match':
        return [`${green(symbols.done)} ${check.path}  ${dim('the same key')}`]
      case 'unchecked':
        return [`${dim(symbols.skipped)} ${check.path}  ${dim(`not compared: ${check.reason}`)}`]
      case 'mismatch':
        return [
          `${red(symbols.failed)} ${check.path}`,
          `    ${red(`${bold('key endpoint')} differs from the evidence`)}`,
          `      expected ${check.expected}`,
          `      found    ${check.actual}`
        ]
      default:
        return check satisfies never
    }
  })
  return ['', 'keys that it publishes beside its evidence', ...lines]
}

function rejection({ verdict, keyEndpoints = [], collected, options, ...rest }: Outcome): UserError {
  const report = documentOf({ verdict, keyEndpoints, collected, options, ...rest })
  const endpoints = differing(keyEndpoints)
  if (endpoints.length > 0) {
    return new UserError('evidence', 'verify.rejected', otherKeyProblem(endpoints), {
      why: otherKeyWhy,
      next: ['run the same command again, and send no data while it says this'],
      report
    })
  }
  const wrong = mismatchNames(verdict)
  return new UserError('evidence', 'verify.rejected', `the evidence was rejected: ${wrong.join(', ')}`, {
    ...(nonceAdvice(wrong, collected, options) ?? adviceFor(wrong, collected, options)),
    report
  })
}

/** Where nothing but the nonce is wrong, the evidence is genuine, and is of another question than this one. */
function nonceAdvice(
  wrong: readonly string[],
  { nonce, savedAt, source }: Collected,
  { evidence }: VerifyOptions
): { why: string; next: readonly string[] } | undefined {
  if (nonce === undefined && wrong.includes('nonce')) {
    return {
      why: `${source} has no nonce beside the evidence, so nothing can tell how fresh it is; this says nothing about the router`,
      next: [
        'confrouter verify URL --save FILE …   (keeps the evidence with the nonce that it was asked for with)',
        'set "nonce": "any" in the trust policy, if evidence of any age will do'
      ]
    }
  }
  if (wrong.join() !== 'nonce') return undefined
  if (evidence === undefined) {
    return {
      why: 'all else holds, and the evidence answers another nonce than the one that was sent, or none: it may be an old one that somebody shows again',
      next: ['run the same command again, and send no data while it says this']
    }
  }
  return {
    why: `all else holds, and the nonce in ${source}${savedAt === undefined ? '' : ` (saved at ${savedAt})`} is not the one in its evidence: nonce and evidence are of two verifications, or the file was changed`,
    next: ['confrouter verify URL --save FILE …   (asks the router again)']
  }
}

/** Old evidence is no bad router. */
function adviceFor(
  wrong: readonly string[],
  { savedAt, source }: Collected,
  { local, evidence }: VerifyOptions
): { why: string; next?: readonly string[] } {
  if (savedAt === undefined || wrong.join() !== 'maa.time') {
    const isOfEmulator = evidence === undefined && local !== true && isLoopback(source) && wrong.includes('ark.pinned')
    return {
      why: 'send no data to this router, or find out first why it shows something else than is expected',
      ...(isOfEmulator ? { next: [proposeLocal] } : {})
    }
  }
  return {
    why: `it is too old by now; whether it held when it was saved is asked with --at`,
    next: [`confrouter verify --evidence ${source} --at ${savedAt} …`]
  }
}

const ofFile = (savedAt: string): string =>
  `saved at ${savedAt}: nonce and keys of the attestation service are those in the file, and worth what the file is`

function documentOf(outcome: Outcome): Readonly<Record<string, unknown>> {
  const { verdict, trust, collected, keyEndpoints } = outcome
  const release = coverageDocument(outcome.pinned)
  const evidence = verdict.verdict === 'trusted' && isTrusted(outcome) ? verdict.evidence : undefined
  const keys =
    evidence === undefined
      ? null
      : {
          tls: evidence.tls ?? null,
          rsaThumbprint: evidence.rsaThumbprint,
          hpke: Buffer.from(evidence.hpke).toString('base64url')
        }
  return {
    verdict: evidence === undefined ? 'rejected' : 'trusted',
    simulated: verdict.simulated,
    source: collected.source,
    trust: trust.origin,
    hostData: evidence?.hostData ?? null,
    checks: verdict.checks,
    ...(keyEndpoints === undefined ? {} : { keyEndpoints }),
    ...(release === undefined ? {} : { release }),
    keys
  }
}

/** Simulated evidence is told from that of hardware before anything else. */
function headline(outcome: Outcome, app: App): string {
  const { verdict, options } = outcome
  const { yellow, bold } = app.terminal.styles.stdout
  const kind = verdict.simulated
    ? yellow(bold('SIMULATED: no hardware stands behind this evidence'))
    : options.via === 'maa'
      ? bold('ATTESTATION SERVICE: by its word alone')
      : bold("HARDWARE: AMD SEV-SNP, under AMD's own root")
  return `${kind}\n${wordOf(outcome, app)}`
}

/** All that --quiet leaves; even there a simulation is called one. */
function verdictLine(outcome: Outcome, app: App): string {
  const { yellow } = app.terminal.styles.stdout
  return `${wordOf(outcome, app)}${outcome.verdict.simulated ? yellow(' (simulated: no hardware protection)') : ''}`
}

function wordOf(outcome: Outcome, app: App): string {
  const { green, red, yellow, bold } = app.terminal.styles.stdout
  const { trust, collected } = outcome
  const anything = trust.policy.hostData === 'any' ? yellow(' (whatever it runs: any host data was accepted)') : ''
  return `${isTrusted(outcome) ? green(bold('trusted')) : red(bold('REJECTED'))}: ${collected.source}${anything}`
}
