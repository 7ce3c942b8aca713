import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { TrustPolicy, Verdict } from '../client/index.js'
import type { App, Execute, VerificationAccess } from './app.js'
import { helpEnd, withOutput } from './options.js'
import { collectEvidence, type Collected, type Inputs, readBundle, writeBundle } from './verify-evidence.js'
import { type Pin, pinnedBy, type PinOptions } from './verify-pin.js'
import { requireSameServer } from './same-server.js'
import { drawChain } from './verify-tree.js'
import { type TrustOptions, trustFor, type TrustSource, ways } from './verify-trust.js'

export interface VerifyOptions extends TrustOptions, PinOptions {
  readonly evidence?: string
  readonly at?: Date
  readonly save?: string
  readonly local?: boolean
  readonly stateDir: string
  readonly json?: boolean
}

export function verifyCommand(execute: Execute): Command {
  const command = new Command('verify')
    .description("verify a router's evidence; needs no Azure account")
    .argument('[url]', 'the router; left out: the one that this state directory has deployed')
    .addOption(new Option('--trust <file>', 'trust policy, as `confrouter policy` writes it'))
    .addOption(
      new Option('--host-data <hex>', 'host data that is accepted, or "any"; may be given several times').argParser(
        repeated(hostData)
      )
    )
    .addOption(new Option('--release <file>', 'accept the host data of a published release'))
    .addOption(
      new Option('--rebuild', 'build the release again from this source and compare, before anything is accepted')
    )
    .addOption(
      new Option('--image <reference>', 'work the policy out again from this published image, with the template of')
    )
    .addOption(new Option('--template <file>', 'the ARM template for --image, where there is no --release'))
    .addOption(
      new Option('--maa <origin>', 'attestation service that is accepted; may be given several times').argParser(
        repeated(origin)
      )
    )
    .addOption(
      new Option('--via <way>', 'the report of the hardware, the token of the service, or both')
        .choices(ways)
        .default('both')
    )
    .addOption(new Option('--evidence <file>', 'verify saved evidence, with no network'))
    .addOption(new Option('--at <time>', 'the time of verification, in UTC: 2026-01-31T12:00:00Z').argParser(time))
    .addOption(new Option('--save <file>', 'keep the evidence, to be verified again'))
    .addOption(new Option('--local', 'a router on loopback: trust the certificate of its emulator'))
    .addOption(
      new Option('--state-dir <dir>', 'folder of the deployment').env('CONFROUTER_STATE_DIR').default('.confrouter')
    )
  return withOutput(command)
    .addHelpText('after', helpEnd('confrouter verify https://router.example --trust trust.json'))
    .action(async (url: string | undefined, options: VerifyOptions) =>
      execute<VerifyOptions>('verify', (app, chosen) => verify(app, url, chosen))(options)
    )
}

/** What is expected, what is shown, the verdict, and a proof that this run can say no. */
async function verify(app: App, url: string | undefined, options: VerifyOptions): Promise<void> {
  refuseConflicts(url, options)
  const access = await app.verification(options)
  const given = withDeployment(app, url, options, access.deployment)
  const pinned = await pinnedBy(given, access, { signal: app.signal, note: (text) => app.terminal.info(text) })
  if (url === undefined && given.evidence === undefined && access.deployment === undefined) {
    reportRelease(app, pinned)
    return
  }
  const trustAt = await trustFor(given, pinned)
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
  if (verdict.verdict === 'trusted' && given.evidence === undefined) {
    await requireSameServer(access, collected.source, verdict.evidence, app.signal)
  }
  report(app, { verdict, trust, collected, pinned, options: given })
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

/** Of a release that was built again: whom the router believes and where it sends prompts is for a person to judge. */
function valuesToRead(pinned: Pin | undefined, { yellow }: App['terminal']['styles']['stdout']): string[] {
  const values = (pinned?.comparisons ?? []).filter(({ what }) => what.startsWith(toRead))
  if (values.length === 0) return []
  return [
    '',
    yellow('to be read, because nothing can compare it:'),
    ...values.map(({ what, actual }) => `  ${what.slice(toRead.length)}  ${actual}`)
  ]
}

interface Outcome {
  readonly pinned: Pin | undefined
  readonly verdict: Verdict
  readonly trust: TrustSource
  readonly collected: Collected
  readonly options: VerifyOptions
}

function report(app: App, outcome: Outcome): void {
  const { verdict, trust, options, collected } = outcome
  const document = {
    command: 'verify',
    ...documentOf(outcome)
  }
  const looks = app.terminal.styles.stdout
  const human = [
    headline(outcome, app),
    '',
    drawChain(verdict.checks, looks),
    ...valuesToRead(outcome.pinned, looks),
    ...(collected.savedAt === undefined ? [] : ['', looks.yellow(ofFile(collected.savedAt))]),
    '',
    looks.dim(`held against ${trust.origin}; the same evidence against another host data was rejected`)
  ].join('\n')
  if (verdict.verdict === 'trusted') {
    app.terminal.result({ human, json: document })
    return
  }
  if (options.json !== true) app.terminal.result({ human, json: document })
  const wrong = verdict.checks.filter(({ outcome }) => outcome === 'mismatch').map(({ claim }) => claim)
  throw new UserError('evidence', 'verify.rejected', `the evidence was rejected: ${wrong.join(', ')}`, {
    ...adviceFor(wrong, collected),
    report: documentOf(outcome)
  })
}

/** Old evidence is no bad router. */
function adviceFor(
  wrong: readonly string[],
  { savedAt, source }: Collected
): { why: string; next?: readonly string[] } {
  if (savedAt === undefined || wrong.join() !== 'maa.time') {
    return { why: 'send no data to this router, or find out first why it shows something else than is expected' }
  }
  return {
    why: `it is too old by now; whether it held when it was saved is asked with --at`,
    next: [`confrouter verify --evidence ${source} --at ${savedAt} …`]
  }
}

const ofFile = (savedAt: string): string =>
  `saved at ${savedAt}: nonce and keys of the attestation service are those in the file, and worth what the file is`

function documentOf({ verdict, trust, collected }: Outcome): Readonly<Record<string, unknown>> {
  const keys =
    verdict.verdict === 'trusted'
      ? {
          tls: verdict.evidence.tls ?? null,
          rsaThumbprint: verdict.evidence.rsaThumbprint,
          hpke: Buffer.from(verdict.evidence.hpke).toString('base64url')
        }
      : null
  return {
    verdict: verdict.verdict,
    simulated: verdict.simulated,
    source: collected.source,
    trust: trust.origin,
    hostData: verdict.verdict === 'trusted' ? verdict.evidence.hostData : null,
    checks: verdict.checks,
    keys
  }
}

/** Simulated evidence is told from that of hardware before anything else. */
function headline({ verdict, trust, collected, options }: Outcome, app: App): string {
  const { green, red, yellow, bold } = app.terminal.styles.stdout
  const kind = verdict.simulated
    ? yellow(bold('SIMULATED: no hardware stands behind this evidence'))
    : options.via === 'maa'
      ? bold('ATTESTATION SERVICE: by its word alone')
      : bold("HARDWARE: AMD SEV-SNP, under AMD's own root")
  const anything = trust.policy.hostData === 'any' ? yellow(' (whatever it runs: any host data was accepted)') : ''
  const word = verdict.verdict === 'trusted' ? green(bold('trusted')) : red(bold('REJECTED'))
  return `${kind}\n${word}: ${collected.source}${anything}`
}

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

/** What no comparison can judge, such as the hosts that prompts go to. */
const toRead = 'read: '

/** Without a router there is a verdict on the release alone. */
function reportRelease(app: App, pinned: Pin | undefined): void {
  if (pinned === undefined || pinned.comparisons.length === 0) {
    throw new UserError('usage', 'verify.no-router', 'no URL was given, and this state directory has no deployment', {
      next: ['confrouter verify URL --trust trust.json', 'confrouter verify --local']
    })
  }
  const { green, yellow, dim, symbols } = app.terminal.styles.stdout
  const { comparisons, hostData, origin } = pinned
  app.terminal.result({
    human: [
      ...comparisons.map(({ what, actual }) =>
        what.startsWith(toRead)
          ? `${yellow('read')} ${what.slice(toRead.length)}  ${actual}`
          : `${green(symbols.done)} ${what}  ${dim(actual)}`
      ),
      `${hostData.join(' or ')}: ${origin}`,
      dim('nothing was said about a router: give its URL')
    ].join('\n'),
    json: { command: 'verify', release: { hostData, origin, comparisons } }
  })
}

function refuseConflicts(url: string | undefined, options: VerifyOptions): void {
  const conflicts: readonly (readonly [boolean, string])[] = [
    [url !== undefined && options.evidence !== undefined, 'a URL and --evidence exclude each other'],
    [options.hostData !== undefined && options.release !== undefined, '--host-data and --release exclude each other'],
    [options.hostData !== undefined && options.image !== undefined, '--host-data and --image exclude each other'],
    [options.image !== undefined && options.rebuild === true, '--image and --rebuild exclude each other'],
    [options.template !== undefined && options.release !== undefined, '--template and --release exclude each other'],
    [
      options.evidence !== undefined && options.via === 'maa',
      '--via maa cannot be asked of saved evidence, which brings the keys of the attestation service along'
    ],
    [options.save !== undefined && options.evidence !== undefined, '--save and --evidence exclude each other'],
    [options.maa !== undefined && options.via === 'hardware', '--maa and --via hardware exclude each other'],
    [options.at !== undefined && options.evidence === undefined, '--at needs --evidence'],
    [options.template !== undefined && options.image === undefined, '--template needs --image']
  ]
  for (const [isThere, problem] of conflicts) {
    if (isThere) throw new UserError('usage', 'usage.conflict', problem, { next: ['confrouter verify --help'] })
  }
}

const repeated =
  (parse: (text: string) => string) =>
  (text: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), parse(text)]

function hostData(text: string): string {
  if (text !== 'any' && !/^[0-9a-f]{64}$/.test(text)) {
    throw new InvalidArgumentError('expected 64 lower-case hex characters, or "any"')
  }
  return text
}

function origin(text: string): string {
  if (URL.canParse(text) && new URL(text).origin === text && text.startsWith('https://')) return text
  throw new InvalidArgumentError(
    'expected an https origin without a path, such as https://sharedeus.eus.attest.azure.net'
  )
}

function time(text: string): Date {
  const date = new Date(text)
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z$/.test(text) || Number.isNaN(date.getTime())) {
    throw new InvalidArgumentError('expected a time in UTC, such as 2026-01-31T12:00:00Z')
  }
  return date
}
