import type dns from 'node:dns'
import { afterAll, describe, expect, it } from '@jest/globals'
import { request } from 'undici'
import { createEgress, publicAddresses } from '../../../src/router/egress.js'
import { parseProviders } from '../../../src/router/providers.js'
import { Cleanup, serve } from './harness.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

/** A name server that gives these addresses for every name. */
const resolving = (...addresses: string[]) =>
  ((_: string, __: object, callback: (error: null, found: dns.LookupAddress[]) => void) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: 4 }))
    )) as unknown as typeof dns.lookup

const limits = { firstByteMs: 1000, idleMs: 1000 } as Parameters<typeof createEgress>[0]

describe('publicAddresses', () => {
  it('passes public addresses on, one or all', () => {
    const results: unknown[] = []
    const lookup = publicAddresses(resolving('8.8.8.8', '1.1.1.1'))
    lookup('x', { all: true }, (...result) => results.push(result))
    lookup('x', {}, (...result) => results.push(result))
    expect(results).toEqual([
      [
        null,
        [
          { address: '8.8.8.8', family: 4 },
          { address: '1.1.1.1', family: 4 }
        ]
      ],
      [null, '8.8.8.8', 4]
    ])
  })

  it('refuses a name as soon as one of its addresses is private, and a name without any', () => {
    for (const addresses of [['8.8.8.8', '10.0.0.1'], ['169.254.169.254'], []]) {
      let error: unknown
      publicAddresses(resolving(...addresses))('x', { all: true }, (found) => (error = found))
      expect(error).toMatchObject({ code: 'EGRESS_PRIVATE' })
    }
  })
})

describe('createEgress', () => {
  it('connects to a private address only for a provider that allows it', async () => {
    const origin = await serve(cleanup, (_, response) => response.end('hello'))
    const port = new URL(origin).port
    const egress = createEgress(limits, resolving('127.0.0.1'))
    cleanup.add(() => egress.close())
    const { enabled } = parseProviders(
      JSON.stringify({
        outside: { baseUrl: 'https://llm.example' },
        inside: { baseUrl: `http://localhost:${port}`, allowPrivate: true }
      })
    )
    const [outside, inside] = [...enabled.values()]
    const refused = request(`http://llm.example:${port}/`, { dispatcher: egress.dispatcher(outside!) })
    await expect(refused).rejects.toMatchObject({ code: 'EGRESS_PRIVATE' })
    const answer = await request(`http://127.0.0.1:${port}/`, { dispatcher: egress.dispatcher(inside!) })
    expect(await answer.body.text()).toBe('hello')
  })
})
