import { createHash, randomBytes } from 'node:crypto'
import { afterAll, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { Cleanup, fakeSidecar, until } from '../unit/router/harness.js'
import { bundleRouter, startProcess } from '../unit/router/router-process.js'
import { createEhbpFetch, createSealingFetch } from './sealing-fetch.js'
import { all, local } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

const question = [{ role: 'user' as const, content: 'hi there' }]

describe('the bundled router and the openai package', () => {
  it('work together: plain, over ehbp and by the extension', async () => {
    const [upstream, sidecar, bundle] = await Promise.all([
      startOpenai(cleanup, { keys: ['sk-operator'] }),
      fakeSidecar(cleanup),
      bundleRouter()
    ])
    const router = await startProcess(cleanup, bundle, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: JSON.stringify({ openai: local(upstream) }),
      OPENAI_API_KEY: 'sk-operator',
      ACCESS_TOKENS: createHash('sha256').update('letmein').digest('hex')
    })
    const url = await router.url()
    await until(() => router.output().includes('"ready"'), 10_000)
    const sealing = await createSealingFetch(url)
    const fetchers = [fetch, await createEhbpFetch(url), sealing.fetch]
    const sound = randomBytes(500_000)
    const file = await toFile(sound, 'speech.wav', { type: 'audio/wav' })
    for (const fetch of fetchers) {
      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'letmein', maxRetries: 0, fetch })
      const { choices } = await client.chat.completions.create({ model: 'openai:gpt-4o-mini', messages: question })
      expect(choices[0]?.message.content).toBe('You said: hi there')
      const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
      const words = (await all(stream)).map(({ choices }) => choices[0]?.delta.content ?? '')
      expect(words.join('')).toBe('You said: hi there')
      const { text } = await client.audio.transcriptions.create({ file, model: 'whisper-1' })
      expect(text).toBe(`whisper-1 ${createHash('sha256').update(sound).digest('hex')}`)
      expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['openai:gpt-4o-mini', 'openai:whisper-1'])
      expect((await client.files.list()).data).toEqual([])
      upstream.faults.push(faults.refuse(400, {}, 'its_code'))
      await expect(client.responses.create({ model: 'm', input: 'x' })).rejects.toMatchObject({ code: 'its_code' })
    }
    for (const { receipt } of sealing.calls) expect(await receipt).toMatchObject({ v: 1 })
    router.child.kill('SIGTERM')
    expect(await router.exit).toEqual({ code: 0, signal: null })
    for (const secret of ['letmein', 'sk-operator', 'hi there']) expect(router.output()).not.toContain(secret)
  })
})
