import { afterAll, describe, expect, it } from '@jest/globals'
import { sealEnvelopeRequest } from '../../src/seal/envelope.js'
import { parseRsaPublicJwk } from '../../src/seal/rsa-key.js'
import { Cleanup } from '../unit/router/harness.js'
import { local, routerFor, untilQuiet } from './setup.js'
import { startOpenai } from './upstreams/openai.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

describe('an answer in an envelope', () => {
  it('has nothing of another place whose answer broke off in the middle', async () => {
    const [one, two] = await Promise.all([startOpenai(cleanup), startOpenai(cleanup)])
    const router = await routerFor(
      cleanup,
      { one: local(one, { auth: 'none' }), two: local(two, { auth: 'none' }) },
      { CONFROUTER_FALLBACKS: '{"one:a":["two:b"]}' }
    )
    one.faults.push({
      when: 'body',
      act: (response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{"half":')
        setTimeout(() => response.socket?.destroy(), 50)
      }
    })
    const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'the key')
    const request = { model: 'one:a', messages: [{ role: 'user', content: 'hi' }] }
    const sealed = await sealEnvelopeRequest({ request, recipient })
    const answer = await fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(sealed.body)
    })
    expect(answer.status).toBe(200)
    expect(await sealed.openResponse(await answer.json())).toMatchObject({ object: 'chat.completion', model: 'b' })
    expect([one.calls.length, two.calls.length]).toEqual([1, 1])
    await untilQuiet(router, one, two)
  })
})
