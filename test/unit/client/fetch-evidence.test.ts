import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { CheckError } from '../../../src/client/errors.js'
import { fetchEvidence } from '../../../src/client/fetch-evidence.js'
import { createWorld, forge } from '../verify/forge.js'
import { type Loopback, sendJson, serve } from './loopback.js'

const nonce = new Uint8Array(32)
let server: Loopback | undefined
let document: unknown
beforeAll(async () => {
  document = (await forge(await createWorld(), {})).document
})
afterEach(() => server?.close())

/** Refuses with these answers, one after the other, and then gives evidence. */
async function busyRouter(...refusals: readonly (readonly [number, string | undefined])[]): Promise<Loopback> {
  const waiting = [...refusals]
  server = await serve((_, __, response) => {
    const [status, retryAfter] = waiting.shift() ?? []
    if (status === undefined) return sendJson(response, 200, document)
    if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter)
    sendJson(response, status, {})
  })
  return server
}

function ask(url: string, signal?: AbortSignal): { readonly waits: number[]; readonly result: Promise<unknown> } {
  const waits: number[] = []
  const pause = (milliseconds: number): Promise<void> => {
    waits.push(milliseconds)
    return Promise.resolve()
  }
  return { waits, result: fetchEvidence({ url, nonce, fetch, signal, pause }) }
}

describe('evidence of a router that makes as much as it can', () => {
  it('is asked for again when the router has said, each time a little later than that', async () => {
    const { origin, requests } = await busyRouter([503, '1'], [503, '2'], [429, '1'])
    const { waits, result } = ask(origin)
    await expect(result).resolves.toHaveProperty('evidence')
    expect(requests).toHaveLength(4)
    for (const [i, least, most] of [
      [0, 1000, 1500],
      [1, 2000, 3000],
      [2, 1000, 3000]
    ] as const) {
      expect(waits[i]).toBeGreaterThanOrEqual(least)
      expect(waits[i]).toBeLessThanOrEqual(most)
    }
  })

  it('is not asked for by all at the same moment', async () => {
    const { origin } = await busyRouter(...Array.from({ length: 8 }, () => [503, '1'] as const))
    const asked = [ask(origin), ask(origin), ask(origin), ask(origin)]
    await Promise.all(asked.map(({ result }) => result.catch(() => undefined)))
    expect(new Set(asked.flatMap(({ waits }) => waits)).size).toBeGreaterThan(1)
  })

  it('is given up after fifteen seconds of waiting, with what the router said', async () => {
    const { origin, requests } = await busyRouter(...Array.from({ length: 20 }, () => [503, '3'] as const))
    const { waits, result } = ask(origin)
    await expect(result).rejects.toMatchObject({ code: 'check.status', status: 503, retryAfterSeconds: 3 })
    expect(waits.reduce((sum, wait) => sum + wait, 0)).toBeLessThanOrEqual(15_000)
    expect(requests.length).toBeLessThanOrEqual(5)
  })

  it('is given up after eight attempts, however short the waits', async () => {
    const { origin, requests } = await busyRouter(...Array.from({ length: 20 }, () => [503, '0'] as const))
    await expect(ask(origin).result).rejects.toBeInstanceOf(CheckError)
    expect(requests.length).toBeLessThanOrEqual(8)
  })

  it.each([
    ['says to come back much later', [503, '3600']],
    ['does not say when', [503, undefined]],
    ['names a date', [503, 'Wed, 21 Oct 2026 07:28:00 GMT']],
    ['says no', [403, '1']],
    ['fails', [500, '1']]
  ] as const)('is asked for once where the router %s', async (_, refusal) => {
    const { origin, requests } = await busyRouter(refusal)
    const { waits, result } = ask(origin)
    await expect(result).rejects.toMatchObject({ code: 'check.status', status: refusal[0] })
    expect([requests.length, waits]).toEqual([1, []])
  })

  it('is not waited for when nobody wants it any more', async () => {
    const { origin, requests } = await busyRouter([503, '10'])
    const controller = new AbortController()
    const result = fetchEvidence({ url: origin, nonce, fetch, signal: controller.signal })
    setTimeout(() => controller.abort(), 200)
    const begun = performance.now()
    await expect(result).rejects.toMatchObject({ code: 'check.aborted' })
    expect(performance.now() - begun).toBeLessThan(5000)
    expect(requests).toHaveLength(1)
  })

  it('comes by a real pause too', async () => {
    const { origin } = await busyRouter([503, '0'])
    await expect(fetchEvidence({ url: origin, nonce, fetch })).resolves.toHaveProperty('evidence')
  })
})
