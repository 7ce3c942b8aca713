import type { RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { sealEhbp } from '../../../src/seal/ehbp-client.js'
import { type Answer, Cleanup, fakeSidecar, oneProvider, post, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

const day = 24 * 3600 * 1000
const noon = Date.UTC(2026, 10, 22, 12)

const answering: RequestListener = (request, response) => void readAll(request).then(() => response.end('{}'))

/** A router on a machine whose wall clock says what `clock` says. */
async function routerWithClock(environment: Record<string, string> = {}, pace = {}) {
  const clock = { unixMs: noon, steadyMs: 1000 }
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, answering)])
  const router = await startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }), ...environment },
    {
      pace,
      now: () => new Date(clock.unixMs),
      clocks: { steadyMs: () => clock.steadyMs, unixMs: () => clock.unixMs }
    }
  )
  const asked = (path: string) => sidecar.requests.filter((request) => request.path === path).length
  return { ...router, clock, asked }
}

describe.each([
  ['forward', day],
  ['back', -day]
])('a wall clock that jumps a day %s', (_, jump) => {
  it('neither hastens nor delays the renewal of the evidence', async () => {
    const { context, clock, asked } = await routerWithClock({}, { evidenceMs: 50 })
    const createdAt = () => Date.parse(context.state.active?.evidence.createdAt ?? '')
    expect(createdAt()).toBe(noon)
    clock.unixMs += jump
    const before = asked('/attest/combined')
    const startedAt = performance.now()
    await until(() => asked('/attest/combined') >= before + 4)
    // Four waits of 50 ms, the first of which had begun.
    expect(performance.now() - startedAt).toBeGreaterThan(140)
    await until(() => createdAt() === noon + jump)
    clock.unixMs -= jump
    await until(() => createdAt() === noon)
  })

  it('neither hastens nor delays the refresh of the key', async () => {
    const { clock, asked } = await routerWithClock({ KEY_REFRESH_SECONDS: '1' })
    const startedAt = performance.now()
    clock.unixMs += jump
    await until(() => asked('/key/release') === 2)
    expect(performance.now() - startedAt).toBeGreaterThan(800)
    clock.unixMs -= jump
    await until(() => asked('/key/release') === 3)
    expect(performance.now() - startedAt).toBeGreaterThan(1800)
  })

  it('changes no rate and no age', async () => {
    const { url, clock, control } = await routerWithClock({ CONFROUTER_CALLS_PER_MINUTE: '2' })
    const statuses = async () =>
      Promise.all([1, 2, 3].map(async () => (await post(`${url}/v1/chat/completions`, { model: 'm' })).status))
    expect((await statuses()).sort()).toEqual([200, 200, 429])
    clock.unixMs += jump
    expect(await statuses()).toEqual([429, 429, 429])
    clock.steadyMs += 60_000
    expect((await statuses()).sort()).toEqual([200, 200, 429])
    const ages = control.report().filter(({ name }) => name.endsWith('_age_seconds'))
    expect(ages.map(({ values }) => values[0]?.value)).toEqual([60, 60])
  })

  it('brings no sealed request back', async () => {
    const router = await routerWithClock()
    const { clock } = router
    const send = await sealed(router)
    const first = await send(clock.unixMs)
    expect(await first()).toBe(200)
    expect(await first()).toBe(409)
    const earlier = await send(clock.unixMs)

    clock.unixMs += jump
    expect([await first(), await earlier()]).toEqual([400, 400])
    clock.unixMs -= jump
    // Nothing was let through meanwhile, so what is of now is so again.
    expect([await first(), await earlier(), await earlier()]).toEqual([409, 200, 409])

    clock.unixMs += jump
    const during = await send(clock.unixMs)
    const taken = await during()
    // A day back there may have been requests that are forgotten; a day ahead there were none yet.
    expect(taken).toBe(jump > 0 ? 200 : 400)
    expect(await during()).toBe(taken === 200 ? 409 : 400)
    clock.unixMs -= jump
    // What was forgotten because of a later request stays refused, whatever else that costs.
    const refusals = [await first(), await earlier(), await (await send(clock.unixMs))()]
    expect(refusals).toEqual(jump > 0 ? [400, 400, 400] : [409, 409, 200])
    clock.unixMs += jump
    expect(await during()).toBe(taken === 200 ? 409 : 400)
  })
})

/** Seals a request that claims a time; gives the function that sends it, as often as it is called. */
async function sealed({ url, context }: Answer) {
  const { hpke } = context.state.active.keys
  return async (timeMs: number) => {
    const headers = { 'content-type': 'application/json' }
    const { body, headers: seal } = await sealEhbp({
      recipient: hpke.publicKey,
      method: 'POST',
      path: '/v1/chat/completions',
      headers,
      body: Buffer.from('{"model":"m"}'),
      extension: { timeMs, cover: ['content-type'] }
    })
    return async () => {
      const answer = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { ...headers, ...seal },
        body: body as Uint8Array<ArrayBuffer>
      })
      await answer.arrayBuffer()
      return answer.status
    }
  }
}
