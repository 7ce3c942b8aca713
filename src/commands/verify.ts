import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { KeyEndpointCheck, TrustPolicy, Verdict } from '../client/index.js'
import { isHttpsOrigin } from '../client/http.js'
import { differing, mismatchNames } from '../client/mismatches.js'
import type { App, Execute, VerificationAccess } from './app.js'
import { compareKeyEndpoints, otherKeyProblem, otherKeyWhy } from './key-endpoints.js'
import { helpEnd, withOutput } from './options.js'
import { isLoopback, meantUrl, withProposals } from './router-url.js'
import { collectEvidence, type Collected, type Inputs, readBundle, writeBundle } from './verify-evidence.js'
import { type Pin, pinnedBy, type PinOptions } from './verify-pin.js'
import { requireSameServer } from './same-server.js'
import { drawChain } from './verify-tree.js'
import { readTrust, type TrustOptions, trustFor, type TrustSource, ways } from './verify-trust.js'

export interface VerifyOptions extends TrustOptions, PinOptions {
  readonly evidence?: string
  readonly at?: Date
  readonly save?: string
  readonly local?: boolean
  readonly stateDir: string
  readonly json?: boolean
  readonly quiet?: boolean
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

const proposeLocal = 'confrouter verify --local   (a router that `confrouter up --local` has started)'

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
  /** On the evidence alone. */
  readonly verdict: Verdict
  /** `undefined` where no router was asked, or one whose evidence is rejected. */
  readonly keyEndpoints: readonly KeyEndpointCheck[] | undefined
  readonly trust: TrustSource
  readonly collected: Collected
  readonly options: VerifyOptions
}

function report(app: App, outcome: Outcome): void {
  const { options } = outcome
  const document = {
    command: 'verify',
    ...documentOf(outcome)
  }
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
    ...adviceFor(wrong, collected, options),
    report
  })
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
  if (isHttpsOrigin(text)) return text
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
