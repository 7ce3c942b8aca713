import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import { type Answer, type Cleanup, fakeSidecar, readAll, serve, until } from './harness.js'
import { type ProcessOptions, type RouterProcess, startProcess } from './router-process.js'

export interface RouterWithWorkers extends Omit<RouterProcess, 'url'> {
  readonly url: string
  readonly sidecar: Awaited<ReturnType<typeof fakeSidecar>>
  /** The log lines of workers that have started. */
  readonly started: () => Answer[]
}

/** A router of several processes, all of them ready, in front of a provider with this listener. */
export async function routerWithWorkers(
  cleanup: Cleanup,
  bundle: string,
  count: number,
  environment: (origin: string) => Record<string, string>,
  listener: RequestListener,
  options: ProcessOptions = {}
): Promise<RouterWithWorkers> {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  const router = await startProcess(
    cleanup,
    bundle,
    { SKR_URL: sidecar.url, CONFROUTER_WORKERS: String(count), ...environment(origin) },
    options
  )
  const url = await router.url()
  const started = () => router.lines().filter(({ msg }) => msg === 'worker started')
  await until(() => router.output().includes('"msg":"ready"') && started().length === count, 15_000)
  // Of all workers, to which the state is on its way.
  for (let ready = 0; ready < 2 * count;) ready = (await send(url, '/readyz')).status === 200 ? ready + 1 : 0
  return { ...router, url, sidecar, started }
}

/** On a connection of its own, so that the next one goes to another worker. */
export async function send(
  url: string,
  path: string,
  { body, ...options }: http.RequestOptions & { body?: string | Uint8Array } = {}
): Promise<{ status: number; text: string }> {
  const request = http.request(`${url}${path}`, { agent: false, ...options })
  request.end(body)
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
  return { status: answer.statusCode ?? 0, text: (await readAll(answer)).toString() }
}

export const call = (url: string, model = 'm', options: http.RequestOptions = {}) =>
  send(url, '/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model }),
    ...options
  })

/** Begins a call and gives what comes of its answer. */
export async function openStream(url: string) {
  const request = http.request(`${url}/v1/chat/completions`, {
    agent: false,
    method: 'POST',
    headers: { 'content-type': 'application/json' }
  })
  request.on('error', () => undefined).end('{"model":"m","stream":true}')
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
  const stream = { text: '', state: 'open' }
  answer.on('data', (chunk: Buffer) => (stream.text += chunk.toString()))
  answer.once('end', () => (stream.state = 'ended'))
  answer.once('error', () => (stream.state = 'broken'))
  return stream
}

export const times = async <Result>(count: number, act: () => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: count }, act))
