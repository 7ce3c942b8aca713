import type { Command } from 'commander'
import { UserError } from '../base/user-error.js'
import type { TrustPolicy, Verdict } from '../client/index.js'
import type { App, Execute, VerificationAccess } from './app.js'
import { compareKeyEndpoints } from './key-endpoints.js'
import { helpEnd, withOutput } from './options.js'
import { isLoopback, meantUrl, withProposals } from './router-url.js'
import { requireSameServer } from './same-server.js'
import { collectEvidence, type Inputs, readBundle, writeBundle } from './verify-evidence.js'
import { proposeLocal, refuseConflicts, verifyFlags, type VerifyOptions } from './verify-options.js'
import { type Pin, pinnedBy } from './verify-pin.js'
import { reportRelease } from './verify-release.js'
import { type Outcome, report } from './verify-report.js'
import { readTrust, trustFor } from './verify-trust.js'

export function verifyCommand(execute: Execute): Command {
  return withOutput(verifyFlags())
    .addHelpText('after', helpEnd('confrouter verify https://router.example --trust trust.json'))
    .action(async (url: string | undefined, options: VerifyOptions) =>
      execute<VerifyOptions>('verify', (app, chosen) => verify(app, url, chosen))(options)
    )
}

async function verify(app: App, url: string | undefined, options: VerifyOptions): Promise<void> {
  refuseConflicts(url, options)
  try {
    await judge(app, url, options)
  } catch (error) {
    const isAboutUrl = error instanceof UserError && ['usage.invalid', 'verify.not-checked'].includes(error.code)
    throw isAboutUrl && url !== undefined ? withProposals(error, proposalsFor(url, options, error.code)) : error
  }
}

/** A URL that is nearly right, and a router of the emulator, are what most could-not-checks come from. */
function proposalsFor(url: string, { local }: VerifyOptions, code: string): string[] {
  const meant = meantUrl(url)
  const isOfEmulator = code === 'verify.not-checked' && local !== true && isLoopback(url)
  return [
    ...(meant === undefined ? [] : [`confrouter verify ${meant} …   (did you mean this URL?)`]),
    ...(isOfEmulator ? [proposeLocal] : [])
  ]
}

/** What is expected, what is shown, the verdict, and a proof that this run can say no. */
async function judge(app: App, url: string | undefined, options: VerifyOptions): Promise<void> {
  const access = await app.verification(options)
  const given = withDeployment(app, url, options, access.deployment)
  const pinned = await pinnedBy(given, access, { signal: app.signal, note: (text) => app.terminal.info(text) })
  if (url === undefined && given.evidence === undefined && access.deployment === undefined) {
    reportRelease(app, pinned)
    return
  }
  const trustAt = await trustFor(given, pinned)
  await sayWhatReplaces(app, given, pinned)
  const collected =
    given.evidence === undefined
      ? await collectEvidence(url ?? access.deployment?.url, access.fetch, app.signal)
      : await readBundle(given.evidence)
  const trust = trustAt(collected.evidence.maa?.endpoint)
  const { appraiseWith, VerifyError, verifyEvidence } = await import('../client/index.js')
  let inputs: Inputs = { now: given.at ?? new Date(), nonce: collected.nonce, maaKeys: [] }
  const appraise = (policy: TrustPolicy): Promise<Verdict> =>
    verifyEvidence(collected.evidence, policy, { ...inputs, via: given.via === 'maa' ? 'maa' : 'both' }).catch(
      (error: unknown) => {
        if (!(error instanceof VerifyError)) throw error
        throw notArguments(error.code, error.message)
      }
    )
  const verdict = await appraiseWith(
    () => collected.maaKeys(trust.policy),
    (maaKeys) => {
      inputs = { ...inputs, maaKeys }
      return appraise(trust.policy)
    }
  )
  await requireRefusal(appraise, trust.policy)
  if (given.save !== undefined) await writeBundle(given.save, collected, inputs)
  let keyEndpoints: Outcome['keyEndpoints']
  if (verdict.verdict === 'trusted' && given.evidence === undefined) {
    await requireSameServer(access, collected.source, verdict.evidence, app.signal)
    keyEndpoints = await compareKeyEndpoints(app, access, collected.source, verdict.evidence)
  }
  report(app, { verdict, keyEndpoints, trust, collected, pinned, options: given })
}

/** A trust policy that is asked for, and of which the deciding part does not count, is worth a word. */
async function sayWhatReplaces(app: App, options: VerifyOptions, pinned: Pin | undefined): Promise<void> {
  const named = pinned?.hostData ?? options.hostData
  if (options.trust === undefined || named === undefined) return
  const { hostData } = await readTrust(options.trust)
  const [before, after] = [hostData === 'any' ? ['any'] : hostData, named].map((all) =>
    [...new Set(all)].sort().join(' or ')
  )
  if (before === after) return
  const by = pinned === undefined ? 'that of --host-data' : pinned.origin
  app.terminal.warn(
    `the host data of ${options.trust} does not count: ${by} is accepted in its place (${after}, not ${before})`
  )
}

function notArguments(code: string, message: string): UserError {
  return code === 'trust.invalid'
    ? new UserError('config', 'trust.invalid', message, { next: ['confrouter verify --help'] })
    : new UserError('usage', 'verify.unreadable-evidence', message)
}

/**
 * The negative control: the same evidence, held against host data of nothing, must be rejected for just
 * that. If it is not, this program is broken, and its verdict is worth nothing.
 */
async function requireRefusal(appraise: (policy: TrustPolicy) => Promise<Verdict>, policy: TrustPolicy): Promise<void> {
  const control = await appraise({ ...policy, hostData: [ofNothing] as unknown as TrustPolicy['hostData'] })
  const refused = control.checks.some(({ claim, outcome }) => claim === 'hostData' && outcome === 'mismatch')
  if (control.verdict !== 'rejected' || !refused) throw new Error('the negative control was not rejected')
}

/** SHA-256 of the text "confrouter negative control": no policy is that. */
const ofNothing = '8ea132f2f7fcd98d2794380338ad8d8daf47f6c95d10f0f4b8dc6188a3c4b286'

/** The deployment of the state directory stands in for a URL, and its trust policy for one that is not named. */
function withDeployment(
  app: App,
  url: string | undefined,
  options: VerifyOptions,
  deployment: VerificationAccess['deployment']
): VerifyOptions {
  if (options.rebuild === true && options.release === undefined) {
    if (deployment !== undefined)
      return withDeployment(app, url, { ...options, release: deployment.releaseFile }, deployment)
    throw new UserError('usage', 'usage.conflict', '--rebuild needs --release', {
      why: 'this state directory has no deployment with a release of its own',
      next: ['confrouter verify --release release.json --rebuild']
    })
  }
  const isOther = url !== undefined && url !== deployment?.url
  const isNamed = isOther || options.evidence !== undefined || options.trust !== undefined
  if (isNamed || deployment === undefined) return options
  app.terminal.info(`held against the trust policy of this deployment, ${deployment.trustFile}`)
  return { ...options, trust: deployment.trustFile }
}
