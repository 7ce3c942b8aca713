import { type Cleanup, fakeSidecar, type RunningRouter, startRouter, until } from '../unit/router/harness.js'
import type { Upstream } from './upstreams/upstream.js'

type Options = NonNullable<Parameters<typeof startRouter>[2]>

/** Settings of a provider that is a server of this machine, with the paths of the real one. */
export const local = (upstream: Upstream, settings: object = {}): object => ({
  baseUrl: `${upstream.origin}/v1`,
  allowPrivate: true,
  ...settings
})

/** A router in this process; the first provider is the default one. Never limits by the minute. */
export async function routerFor(
  cleanup: Cleanup,
  providers: Readonly<Record<string, object>>,
  environment: Readonly<Record<string, string>> = {},
  options: Options = {}
): Promise<RunningRouter> {
  const sidecar = await fakeSidecar(cleanup)
  return startRouter(
    cleanup,
    {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: JSON.stringify(providers),
      RATE_LIMIT_PER_MINUTE: '100000',
      CONFROUTER_CALLS_PER_MINUTE: '100000',
      ...environment
    },
    options
  )
}

/** Waits until nothing of the calls so far is left: no slot, no byte held, no call and no connection at a provider. */
export async function untilQuiet({ context }: RunningRouter, ...upstreams: readonly Upstream[]): Promise<void> {
  const rest = (): object => ({
    calls: context.calls.inside,
    bytes: context.buffers.inside,
    open: upstreams.map((upstream) => upstream.open()),
    sockets: upstreams.map((upstream) => upstream.busySockets())
  })
  const nothing = JSON.stringify({
    calls: 0,
    bytes: 0,
    open: upstreams.map(() => 0),
    sockets: upstreams.map(() => 0)
  })
  await until(() => JSON.stringify(rest()) === nothing).catch(() => {
    throw new Error(`not quiet: ${JSON.stringify(rest())}`)
  })
}

/** All that a stream gives. */
export async function all<Item>(stream: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = []
  for await (const item of stream) items.push(item)
  return items
}
