import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { AddressEvent, NoAddressError, RouterVerdict, Source, TrustPolicy } from '../client/index.js'
import type { CallRecord, Proxy, ProxyOptions } from '../client/proxy/index.js'
import { describeMismatches, differing, mismatchNames } from '../client/mismatches.js'
import type { App, Execute, VerificationAccess } from './app.js'
import { otherKeyProblem, otherKeyWhy, warnOfUnchecked } from './key-endpoints.js'
import { helpEnd, withOutput } from './options.js'
import { publishedFile, publishedUrl, requireReadable, urlOf } from './published.js'
import { isLoopback, meantUrl, withProposals } from './router-url.js'
import { requireSameServer } from './same-server.js'
import { readTrust } from './verify-trust.js'

interface Options {
  readonly url?: readonly string[]
  readonly addresses?: string
  readonly trust?: string
  readonly port: number
  readonly local?: boolean
  readonly stateDir: string
  readonly json?: boolean
}

export function proxyCommand(execute: Execute): Command {
  const command = new Command('proxy')
    .description('local OpenAI-compatible endpoint that verifies the router, then seals every request to it')
    .addOption(
      new Option(
        '--url <url>',
        'the router; several times: its addresses, the best first; left out: the one that this state directory has deployed'
      ).argParser((url: string, before: readonly string[] | undefined) => [...(before ?? []), url])
    )
    .addOption(
      new Option(
        '--addresses <file|url>',
        'addresses.json of whoever runs the router, in place of --url; read again while it runs'
      )
    )
    .addOption(new Option('--trust <file>', 'trust policy, as `confrouter policy` writes it; read again while it runs'))
    .addOption(
      new Option('--port <n>', 'port on 127.0.0.1; 0 for any that is free').argParser(portNumber).default(8788)
    )
    .addOption(new Option('--local', 'a router on loopback: trust the certificate of its emulator'))
    .addOption(
      new Option('--state-dir <dir>', 'folder of the deployment').env('CONFROUTER_STATE_DIR').default('.confrouter')
    )
  return withOutput(command)
    .addHelpText('after', helpEnd('confrouter proxy --url https://router.example --trust trust.json'))
    .action(execute<Options>('proxy', serve))
}

async function serve(app: App, options: Options): Promise<void> {
  try {
    await verifyAndServe(app, options)
  } catch (error) {
    throw withProposals(error, proposalsFor(error, options))
  }
}

const nearlyRight = ['usage.invalid', 'proxy.not-checked', 'proxy.rejected']

/** A URL that is nearly right, and a router of the emulator whose roots nobody else trusts. */
function proposalsFor(error: unknown, { url: urls, local }: Options): string[] {
  const url = urls?.length === 1 ? urls[0] : undefined
  if (url === undefined || !(error instanceof UserError) || !nearlyRight.includes(error.code)) return []
  const meant = error.code === 'proxy.rejected' ? undefined : meantUrl(url)
  const isOfEmulator = error.code !== 'usage.invalid' && local !== true && isLoopback(url)
  return [
    ...(meant === undefined ? [] : [`confrouter proxy --url ${meant} …   (did you mean this URL?)`]),
    ...(isOfEmulator ? ['confrouter proxy --local   (a router that `confrouter up --local` has started)'] : [])
  ]
}

/** Verifies, says the verdict, and serves until the first interruption, which is how this verb ends well. */
async function verifyAndServe(app: App, options: Options): Promise<void> {
  const access = await app.verification(options)
  const target = await targetOf(options, access)
  const proxy = await create(app, { ...target, fetch: access.fetch, transport: access.transport, port: options.port })
  const verdict = await firstVerdict(app, proxy)
  if (verdict.verdict === 'trusted') {
    await requireServer(app, access, target, verdict)
    warnOfUnchecked(app.terminal, verdict.keyEndpoints ?? [])
  }
  const origin = await listen(proxy, options.port)
  app.terminal.result(startedResult(origin, target, verdict))
  await interrupted(app.signal)
  app.terminal.info('stopping when the calls that run have ended; Ctrl+C again stops now')
  await proxy.close()
}

/** Where the router is, and what it has to be. */
type Target = { readonly trust: Source<TrustPolicy> } & (
  { readonly url: string } | { readonly addresses: Source<readonly string[]> }
)

/** What is named is looked at once, so that its mistakes are those of the command, and then again while it runs. */
async function targetOf(options: Options, { fetch, deployment }: VerificationAccess): Promise<Target> {
  const place = placeOf(options, deployment)
  const trustFile = trustFileOf(options, place, deployment)
  const initial = await readTrust(trustFile)
  const { parseAddresses, parseTrustPolicy } = await import('../client/index.js')
  const trust = publishedFile(trustFile, parseTrustPolicy, { initial })
  if ('url' in place) return { url: place.url, trust }
  if (typeof place.addresses !== 'string') return { addresses: place.addresses, trust }
  // Over TLS to the container who looks on does not see paths and queries either.
  const parse = (text: string): string[] =>
    parseAddresses(text).map(({ endpoint, tlsEndpoint }) => tlsEndpoint ?? endpoint)
  const url = urlOf('--addresses', place.addresses)
  const addresses = url === undefined ? publishedFile(place.addresses, parse) : publishedUrl(url, parse, fetch)
  await requireReadable(place.addresses, addresses)
  return { addresses, trust }
}

/** One URL, several, or the file or URL of a list. */
type Place = { readonly url: string } | { readonly addresses: string | readonly string[] }

const next = [
  'confrouter proxy --url URL --trust trust.json   (the file from whoever runs the router)',
  'confrouter proxy --addresses addresses.json --trust trust.json   (both files, while routers come and go)',
  'confrouter up --local, then confrouter proxy --local   (a router of this machine)'
]

function placeOf({ url, addresses }: Options, deployment: VerificationAccess['deployment']): Place {
  if (url !== undefined && addresses !== undefined) {
    throw new UserError('usage', 'usage.conflict', '--url and --addresses both say where the router is', { next })
  }
  if (addresses !== undefined) return { addresses }
  const [only, ...others] = url ?? []
  if (only !== undefined) return others.length === 0 ? { url: only } : { addresses: [only, ...others] }
  if (deployment === undefined) {
    throw new UserError('usage', 'proxy.no-router', 'nothing says which router to talk to', { next })
  }
  return deployment.addressesFile === undefined ? { url: deployment.url } : { addresses: deployment.addressesFile }
}

function trustFileOf(
  { url, addresses, trust }: Options,
  place: Place,
  deployment: VerificationAccess['deployment']
): string {
  if (trust !== undefined && /^[a-z][a-z0-9+.-]+:\/\//i.test(trust)) {
    throw new UserError('usage', 'usage.invalid', '--trust: expected a file', {
      why: 'whoever serves a trust policy decides what is trusted: take it by a way that you trust, and put it in place by rename',
      next
    })
  }
  // What was deployed from here says nothing about another router.
  const isOfDeployment =
    (url === undefined && addresses === undefined) || ('url' in place && place.url === deployment?.url)
  const file = trust ?? (isOfDeployment ? deployment?.trustFile : undefined)
  if (file !== undefined) return file
  const router = 'url' in place ? place.url : 'the router'
  throw new UserError('usage', 'proxy.no-trust', `nothing says what ${router} is expected to be`, {
    why: 'without a trust policy any program in any container would pass',
    next
  })
}

async function create(
  { terminal }: App,
  options: Target & Pick<ProxyOptions, 'fetch' | 'transport' | 'port'>
): Promise<Proxy> {
  const { CallError } = await import('../client/index.js')
  const { createProxy } = await import('../client/proxy/index.js')
  const isList = 'addresses' in options
  let isFirst = true
  try {
    return createProxy({
      ...options,
      // With each renewal too: whoever comes in between later has no place there either.
      compareKeyEndpoints: true,
      onVerdict: (verdict) => {
        const wrong = isFirst || isList ? [] : mismatchNames(verdict)
        // The first one is the result of the command, or its error.
        isFirst = false
        if (wrong.length > 0) terminal.warn(`the router was rejected, and nothing is sent to it: ${wrong.join(', ')}`)
      },
      onEvent: (event) => tellEvent(terminal, event, isList),
      onCall: (call) => terminal.debug(callLine(call))
    })
  } catch (error) {
    if (!(error instanceof CallError)) throw error
    const given = 'url' in options ? [options.url] : Array.isArray(options.addresses) ? options.addresses : []
    throw new UserError('usage', 'usage.invalid', `--url ${given.join(' --url ')}: ${error.message}`, {
      next: ['confrouter proxy --help']
    })
  }
}

/** *Checked and wrong* and *could not check* in words of their own; of a single address its calls and verdicts tell. */
function tellEvent(terminal: App['terminal'], event: AddressEvent, isList: boolean): void {
  if (event.what === 'kept') {
    const what = event.source === 'trust' ? 'the new trust policy' : 'the new list of addresses'
    const problem = event.error instanceof Error ? event.error.message : String(event.error)
    terminal.warn(`${what} cannot be read, and the one of before stays in force: ${problem}`)
  } else if (event.what === 'moved') {
    terminal.info(`calls go to ${event.to} from now on, and not to ${event.from}`)
  } else if (isList) {
    const { address, error } = event
    const wrong = ['attestation.rejected', 'call.other-server'].includes(error.code)
    if (wrong) terminal.warn(`${address} was checked and is wrong, and nothing is sent to it: ${error.message}`)
    else terminal.warn(`${address} could not be checked or reached, and calls go elsewhere: ${error.message}`)
  }
}

/** Before anything listens: a program that finds the port open may send what it has at once. */
async function firstVerdict({ signal }: App, proxy: Proxy): Promise<RouterVerdict & { readonly address: string }> {
  const { CheckError, NoAddressError } = await import('../client/index.js')
  let verdict: RouterVerdict & { readonly address: string }
  try {
    verdict = await Promise.race([proxy.verify(), interrupted(signal).then(() => signal.throwIfAborted() as never)])
  } catch (error) {
    if (error instanceof NoAddressError) throw noAddress(error)
    if (!(error instanceof CheckError)) throw error
    throw new UserError('cloud', 'proxy.not-checked', `could not check: ${error.message}`, {
      why: 'this says nothing about the router: no verdict was reached, and nothing listens',
      next: ['run the same command again'],
      cause: error.cause
    })
  }
  if (verdict.verdict === 'trusted') return verdict
  throw rejection(verdict)
}

/** One that is wrong decides, whatever became of the others. */
function noAddress({ code, message }: NoAddressError): UserError {
  if (code === 'addresses.unavailable') {
    return new UserError('cloud', 'proxy.not-checked', `could not check: ${message}`, {
      why: 'this says nothing about the router: no verdict was reached, and nothing listens',
      next: ['run the same command again']
    })
  }
  return new UserError('evidence', 'proxy.rejected', message, {
    next: ['confrouter verify URL --trust trust.json   (shows every check of one address)'],
    report: { verdict: 'rejected' }
  })
}

/** With other addresses a call simply goes past one that shows another TLS key; with a single one nothing would be left. */
async function requireServer(
  { signal, terminal }: App,
  access: VerificationAccess,
  target: Target,
  verdict: Extract<RouterVerdict, { readonly verdict: 'trusted' }> & { readonly address: string }
): Promise<void> {
  try {
    await requireSameServer(access, verdict.address, verdict.evidence, signal)
  } catch (error) {
    if ('url' in target || !(error instanceof UserError)) throw error
    terminal.warn(`${verdict.address}: ${error.problem}`)
  }
}

/** Also where nothing is wrong but a key that stands beside the evidence: who put it there is between. */
function rejection({ verdict, simulated, checks, keyEndpoints }: RouterVerdict): UserError {
  const endpoints = differing(keyEndpoints)
  if (endpoints.length > 0) {
    return new UserError('evidence', 'proxy.rejected', otherKeyProblem(endpoints), {
      why: otherKeyWhy,
      next: ['run the same command again, and send no data while it says this'],
      report: { verdict, simulated, checks, keyEndpoints }
    })
  }
  return new UserError(
    'evidence',
    'proxy.rejected',
    `the evidence was rejected: ${mismatchNames({ checks }).join(', ')}`,
    {
      why: describeMismatches({ checks }),
      next: ['confrouter verify URL --trust trust.json   (shows every check)'],
      report: { verdict, simulated, checks }
    }
  )
}

async function listen(proxy: Proxy, port: number): Promise<string> {
  try {
    return await proxy.listen()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error
    throw new UserError('machine', 'proxy.port-taken', `port ${port} on 127.0.0.1 is not free`, {
      next: ['confrouter proxy --port 0   (any free port)', `lsof -i :${port}   (says who has it)`],
      cause: error
    })
  }
}

function startedResult(
  origin: string,
  target: Target,
  { verdict, simulated, address }: RouterVerdict & { readonly address: string }
): { readonly human: string; readonly json: object } {
  return {
    human: [
      `base URL  ${origin}/v1`,
      `page      ${origin}/`,
      `router    ${address}, ${verdict}${'addresses' in target ? '; the first of its addresses that is' : ''}`,
      ...(simulated ? ['', 'simulated: no hardware protection'] : []),
      '',
      'Ctrl+C stops it'
    ].join('\n'),
    json: {
      schemaVersion: 1,
      ok: true,
      command: 'proxy',
      url: origin,
      baseUrl: `${origin}/v1`,
      router: address,
      verdict,
      simulated
    }
  }
}

function callLine({ method, path, status, state, milliseconds, problem }: CallRecord): string {
  const parts = [method, path, status ?? '-', state, `${milliseconds ?? 0} ms`, problem ?? '']
  return parts.join(' ').trimEnd()
}

async function interrupted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

function portNumber(text: string): number {
  const value = Number(text)
  if (!/^\d{1,5}$/.test(text) || value > 65_535) {
    throw new InvalidArgumentError('expected a whole number from 0 to 65535')
  }
  return value
}
