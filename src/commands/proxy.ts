import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { RouterVerdict } from '../client/index.js'
import type { CallRecord, Proxy, ProxyOptions } from '../client/proxy/index.js'
import { describeMismatches, differing, mismatchNames } from '../client/mismatches.js'
import type { App, Execute } from './app.js'
import { otherKeyProblem, otherKeyWhy, warnOfUnchecked } from './key-endpoints.js'
import { helpEnd, withOutput } from './options.js'
import { isLoopback, meantUrl, withProposals } from './router-url.js'
import { requireSameServer } from './same-server.js'
import { readTrust } from './verify-trust.js'

interface Options {
  readonly url?: string
  readonly trust?: string
  readonly port: number
  readonly local?: boolean
  readonly stateDir: string
  readonly json?: boolean
}

export function proxyCommand(execute: Execute): Command {
  const command = new Command('proxy')
    .description('local OpenAI-compatible endpoint that verifies the router, then seals every request to it')
    .addOption(new Option('--url <url>', 'the router; left out: the one that this state directory has deployed'))
    .addOption(new Option('--trust <file>', 'trust policy, as `confrouter policy` writes it'))
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
function proposalsFor(error: unknown, { url, local }: Options): string[] {
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
  const { fetch, transport, deployment } = access
  const { url, trustFile } = routerOf(options, deployment)
  const trust = await readTrust(trustFile)
  const proxy = await create(app, { url, trust, fetch, transport, port: options.port })
  const verdict = await firstVerdict(app, proxy)
  if (verdict.verdict === 'trusted') {
    await requireSameServer(access, url, verdict.evidence, app.signal)
    warnOfUnchecked(app.terminal, verdict.keyEndpoints ?? [])
  }
  const origin = await listen(proxy, options.port)
  app.terminal.result(startedResult(origin, url, verdict))
  await interrupted(app.signal)
  app.terminal.info('stopping when the calls that run have ended; Ctrl+C again stops now')
  await proxy.close()
}

function routerOf(
  { url, trust }: Options,
  deployment: { readonly url: string; readonly trustFile: string } | undefined
): { readonly url: string; readonly trustFile: string } {
  const router = url ?? deployment?.url
  // What was deployed from here says nothing about another router.
  const trustFile = trust ?? (url === undefined || url === deployment?.url ? deployment?.trustFile : undefined)
  const next = [
    'confrouter proxy --url URL --trust trust.json   (the file from whoever runs the router)',
    'confrouter up --local, then confrouter proxy --local   (a router of this machine)'
  ]
  if (router === undefined) {
    throw new UserError('usage', 'proxy.no-router', 'nothing says which router to talk to', { next })
  }
  if (trustFile === undefined) {
    throw new UserError('usage', 'proxy.no-trust', `nothing says what ${router} is expected to be`, {
      why: 'without a trust policy any program in any container would pass',
      next
    })
  }
  return { url: router, trustFile }
}

async function create(
  { terminal }: App,
  options: Pick<ProxyOptions, 'url' | 'trust' | 'fetch' | 'transport' | 'port'>
): Promise<Proxy> {
  const { CallError } = await import('../client/index.js')
  const { createProxy } = await import('../client/proxy/index.js')
  let isFirst = true
  try {
    return createProxy({
      ...options,
      // With each renewal too: whoever comes in between later has no place there either.
      compareKeyEndpoints: true,
      onVerdict: (verdict) => {
        const wrong = isFirst ? [] : mismatchNames(verdict)
        // The first one is the result of the command, or its error.
        isFirst = false
        if (wrong.length > 0) terminal.warn(`the router was rejected, and nothing is sent to it: ${wrong.join(', ')}`)
      },
      onCall: (call) => terminal.debug(callLine(call))
    })
  } catch (error) {
    if (!(error instanceof CallError)) throw error
    throw new UserError('usage', 'usage.invalid', `--url ${options.url}: ${error.message}`, {
      next: ['confrouter proxy --help']
    })
  }
}

/** Before anything listens: a program that finds the port open may send what it has at once. */
async function firstVerdict({ signal }: App, proxy: Proxy): Promise<RouterVerdict> {
  const { CheckError } = await import('../client/index.js')
  let verdict: RouterVerdict
  try {
    verdict = await Promise.race([proxy.verify(), interrupted(signal).then(() => signal.throwIfAborted() as never)])
  } catch (error) {
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
  router: string,
  { verdict, simulated }: RouterVerdict
): { readonly human: string; readonly json: object } {
  return {
    human: [
      `base URL  ${origin}/v1`,
      `page      ${origin}/`,
      `router    ${router}, ${verdict}`,
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
      router,
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
