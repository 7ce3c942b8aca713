import { type Fault, UserError } from '../base/user-error.js'
import { CallError, CheckError, type VerifiedEvidence } from '../client/index.js'
import { routerAt } from './router-call.js'
import { checkReplica } from './replica-health.js'
import type { Note, Results, Run, SmokeCheck, Step } from './run.js'
import {
  checkChat,
  checkContainers,
  checkDeployedPolicy,
  checkEvidence,
  CheckFailure,
  checkHealth,
  checkPossession,
  checkReady,
  CheckSkipped,
  checkTls,
  checkVaultKey,
  makeResponseKey
} from './smoke-checks.js'

/**
 * Proves the deployment as a caller would: with the host data computed in this run and the key that
 * the vault reports, not with what the router claims about itself.
 */
export const smokeStep: Step<'smoke'> = {
  id: 'smoke',
  title: 'smoke test',
  needs: ['deploy', 'key', 'policy'],
  async observe(run, results, note) {
    const { checks, evidence } = await smokeChecks(run, results, note)
    const failed = checks.find(({ outcome }) => outcome === 'fail')
    if (failed !== undefined) throw new SmokeError(failed, checks)
    const passed = checks.filter(({ outcome }) => outcome === 'pass').length
    const skipped = checks.length - passed
    return {
      action: 'none',
      output: { checks, ...(evidence?.tls === undefined ? {} : { tlsKey: evidence.tls }) },
      did: `${passed} checks passed${skipped === 0 ? '' : `, ${skipped} skipped`}`
    }
  }
}

/** A failed smoke test, with every check that was made. */
export class SmokeError extends UserError {
  constructor(
    failed: Failure,
    readonly checks: readonly SmokeCheck[]
  ) {
    super(
      failed.fault ?? 'cloud',
      failed.code ?? `smoke.${failed.id}`,
      `smoke test failed at "${failed.id}": ${failed.detail}`,
      {
        why: failed.why,
        next: failed.next ?? ['confrouter status', 'confrouter smoke'],
        report: {
          checks: checks.map(({ id, outcome, detail, milliseconds }) => ({ id, outcome, detail, milliseconds }))
        }
      }
    )
  }
}

type Failure = SmokeCheck & {
  readonly fault?: Fault
  readonly code?: string
  readonly why?: string | undefined
  readonly next?: readonly string[]
}

/** Runs the checks in order and stops at the first that fails; what follows would prove nothing. */
async function smokeChecks(
  run: Run,
  results: Results,
  note: Note
): Promise<{ readonly checks: readonly (SmokeCheck | Failure)[]; readonly evidence: VerifiedEvidence | undefined }> {
  const { endpoint, tlsEndpoint } = results.get('deploy')
  // Over TLS too nobody is trusted before the evidence, and nothing is sent that is not for everybody.
  let router = routerAt(run, endpoint, 'any')
  // Making an RSA key takes longer than all the checks before it is needed, so it starts now.
  const responseKey = makeResponseKey()
  responseKey.catch(() => undefined)
  let evidence: VerifiedEvidence | undefined
  const verified = () => {
    if (evidence === undefined) throw new Error('the evidence is checked first')
    return evidence
  }
  const overTls = async (url: string) => {
    const checked = await checkTls(run, url, verified())
    router = checked.router
    return checked.detail
  }
  const checks: readonly (readonly [string, () => Promise<string>])[] = [
    ['hostData', async () => checkDeployedPolicy(results)],
    ['restarts', () => checkContainers(run, results)],
    ['health', () => checkHealth(run, results, router)],
    ['ready', () => checkReady(run, results, router, note)],
    [
      'evidence',
      async () => {
        const { accepted, detail } = await checkEvidence(run, results, router)
        evidence = accepted
        return detail
      }
    ],
    ['key', () => checkVaultKey(results, verified())],
    ...(tlsEndpoint === undefined ? [] : [['tls', () => overTls(tlsEndpoint)] as const]),
    ['possession', async () => checkPossession(run, results, router, await responseKey)],
    ['chat', async () => checkChat(run, results, router, await responseKey)],
    ...(results.get('deploy').replicas ?? []).map(
      (replica) => [`replica ${replica.group}`, () => checkReplica(run, results, replica, note)] as const
    )
  ]
  const outcomes: (SmokeCheck | Failure)[] = []
  for (const [id, check] of checks) {
    note(id)
    const started = performance.now()
    const milliseconds = () => Math.round(performance.now() - started)
    try {
      outcomes.push({ id, outcome: 'pass', detail: await check(), milliseconds: milliseconds() })
    } catch (error) {
      if (error instanceof CheckSkipped) {
        outcomes.push({ id, outcome: 'skipped', detail: error.message, milliseconds: milliseconds() })
        continue
      }
      outcomes.push({ id, outcome: 'fail', milliseconds: milliseconds(), ...failureOf(error) })
      break
    }
  }
  return { checks: outcomes, evidence }
}

function failureOf(error: unknown) {
  if (error instanceof CheckFailure)
    return { fault: error.fault, code: error.code, detail: error.detail, ...error.more }
  if (error instanceof CheckError || error instanceof CallError) {
    return { fault: 'cloud' as const, code: 'smoke.could-not-check', detail: error.message }
  }
  throw error
}
