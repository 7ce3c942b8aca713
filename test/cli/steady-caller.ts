import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createFetch, parseTrustPolicy } from '../../src/client/index.js'
import { trustedFetch } from '../../src/composition/trusted-fetch.js'
import type { Workspace } from './workspace.js'

/** What a caller sent and what came of it. */
export interface Tally {
  readonly sent: number
  readonly answered: number
  /** Every call that has no answer, by its failure. */
  readonly lost: readonly string[]
  /** Answers by the address that gave them. */
  readonly byAddress: Readonly<Record<string, number>>
}

interface Published {
  readonly addresses: readonly { readonly endpoint: string; readonly hostData: string }[]
}

/**
 * A program that pins what the operator publishes, with several calls at the same time: before each it reads
 * `addresses.json` and goes to the first address, verified against `trust.json`, and it sends every call once. A
 * call that fails is lost: there is no second try and no second address.
 */
export function startCaller(
  directory: string,
  ca: string,
  options: { readonly loops: number; readonly pauseMs: number }
) {
  const policy = join(directory, '.confrouter', 'policy')
  const fetch = trustedFetch(ca)
  const clients = new Map<string, ReturnType<typeof createFetch>>()
  const tally = { sent: 0, answered: 0, lost: [] as string[], byAddress: {} as Record<string, number> }

  async function call(): Promise<void> {
    const published = JSON.parse(await readFile(join(policy, 'addresses.json'), 'utf8')) as Published
    const trustText = await readFile(join(policy, 'trust.json'), 'utf8')
    const endpoint = published.addresses[0]!.endpoint
    // As long as nothing changed, one client: it verifies once and again before the evidence ages.
    const id = `${endpoint} ${trustText}`
    const client = clients.get(id) ?? createFetch({ url: endpoint, trust: parseTrustPolicy(trustText), fetch })
    clients.set(id, client)
    const text = `call ${tally.sent}`
    tally.sent++
    try {
      const response = await client(`${endpoint}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'loopback:echo', messages: [{ role: 'user', content: text }] })
      })
      const answer = (await response.json()) as { choices?: { message: { content: string } }[] }
      if (response.status !== 200 || answer.choices?.[0]?.message.content !== text) {
        throw new Error(`${response.status} ${JSON.stringify(answer).slice(0, 200)}`)
      }
      tally.answered++
      tally.byAddress[endpoint] = (tally.byAddress[endpoint] ?? 0) + 1
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : ''
      tally.lost.push(`${endpoint}: ${error instanceof Error ? error.message : String(error)}${cause}`)
    }
  }

  const stop = again(call, options)
  return {
    async stop(): Promise<Tally> {
      await stop()
      return tally
    }
  }
}

/** Several loops of calls, each after a pause; gives what ends them. */
function again(call: () => Promise<void>, options: { readonly loops: number; readonly pauseMs: number }) {
  let running = true
  const loops = Array.from({ length: options.loops }, async () => {
    while (running) {
      await call()
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs))
    }
  })
  return async (): Promise<void> => {
    running = false
    await Promise.all(loops)
  }
}

/**
 * A program that knows nothing of upgrades, with several calls at the same time through one `confrouter proxy` that is
 * given what the operator publishes. A call that fails is lost: nobody tries again.
 */
export async function startProxyCaller(
  workspace: Workspace,
  options: { readonly loops: number; readonly pauseMs: number }
) {
  const published = (name: string): string => join('.confrouter', 'policy', `${name}.json`)
  const files = ['--addresses', published('addresses'), '--trust', published('trust')]
  const proxy = workspace.start('proxy', '--local', ...files, '--port', '0', '--json')
  const ended = once(proxy, 'exit')
  let told = ''
  proxy.stderr?.on('data', (piece: Buffer) => (told += piece.toString()))
  const { url } = JSON.parse(await firstLine(proxy.stdout!)) as { url: string }
  const tally = { sent: 0, answered: 0, lost: [] as string[] }
  const stop = again(async () => {
    const text = `call ${tally.sent++}`
    try {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'loopback:echo', messages: [{ role: 'user', content: text }] })
      })
      const body = await response.text()
      if (response.status !== 200 || !body.includes(text)) throw new Error(`${response.status} ${body.slice(0, 300)}`)
      tally.answered++
    } catch (error) {
      tally.lost.push(String(error))
    }
  }, options)
  return {
    /** What came of the calls, where the proxy was in the end, what it has said, and how it ended. */
    async stop() {
      await stop()
      const { router } = (await (await fetch(`${url}/status.json`)).json()) as { router: string }
      proxy.kill('SIGINT')
      const [code] = (await ended) as [number | null]
      return { ...tally, router, told, code }
    }
  }
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const piece of stream) {
    text += String(piece)
    if (text.includes('\n')) return text
  }
  throw new Error('the proxy ended before it listened')
}
