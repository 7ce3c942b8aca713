import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { build } from 'esbuild'
import { type AttestedRouter, startAttestedRouter, startWire, type Wire } from '../clients/attested.js'
import { local } from '../clients/setup.js'
import { startOpenai } from '../clients/upstreams/openai.js'
import type { Upstream } from '../clients/upstreams/upstream.js'
import { Cleanup, serve } from '../unit/router/harness.js'
import { chromiumPath, type Page, startChromium, withoutChromium } from './chromium.js'

const inBrowser = chromiumPath === undefined ? describe.skip : describe
if (chromiumPath === undefined) it.skip(`the client in a browser: ${withoutChromium}`, () => undefined)

const root = resolve(import.meta.dirname, '../..')
const key = 'sk-secret-of-caller'
const marked = 'marked-prompt-77e0'
const cleanup = new Cleanup()
afterAll(() => cleanup.run())

/** The package of OpenAI as an application of a browser has it. */
async function bundleOpenai(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: "export { default as OpenAI } from 'openai'", resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
    logLevel: 'silent'
  })
  return outputFiles[0]?.text ?? ''
}

inBrowser('the client in a browser, as one file', () => {
  let upstream: Upstream
  let attested: AttestedRouter
  let wire: Wire
  let page: Page
  let origin = ''

  beforeAll(async () => {
    upstream = await startOpenai(cleanup, { keys: [key] })
    attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
    const files: Record<string, string> = {
      '/': '<!doctype html><title>application</title>',
      '/client.js': readFileSync(join(root, 'dist/browser/client.js'), 'utf8'),
      '/openai.js': await bundleOpenai()
    }
    origin = await serve(cleanup, (request, response) => {
      const type = request.url === '/' ? 'text/html' : 'text/javascript'
      response.writeHead(200, { 'content-type': type }).end(files[request.url ?? ''] ?? '')
    })
    const browser = await startChromium(cleanup)
    page = await browser.newPage()
  }, 60_000)

  beforeEach(async () => {
    wire = await startWire(cleanup, attested.router.url)
    await page.open(`${origin}/`)
  })
  afterEach(() => attested.breakEvidence({}))

  /** Runs the body of a function in the page, with a client of the router over `createFetch`. */
  async function run<T>(body: string): Promise<T> {
    const { origin: endpoint } = attested.attestationProvider
    const jwks: unknown = await (await attested.fetch(`${endpoint}/certs`)).json()
    const options = { url: wire.origin, trust: attested.trust, maaKeys: [{ endpoint, jwks }] }
    return page.value<T>(`(async () => {
      const { createFetch } = await import('/client.js')
      const { OpenAI } = await import('/openai.js')
      const receipts = []
      const fetch = createFetch({ ...${JSON.stringify(options)}, onReceipt: (one) => receipts.push(one) })
      const baseURL = ${JSON.stringify(`${wire.origin}/v1`)}
      const client = new OpenAI({ baseURL, apiKey: '${key}', fetch, maxRetries: 0, dangerouslyAllowBrowser: true })
      const question = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: '${marked}' }] }
      ${body}
    })()`)
  }

  it('verifies, chats and checks the receipt with nothing but WebCrypto, from a page of another origin', async () => {
    const result = await run<{ text: string; receipts: unknown[] }>(`
      const answer = await client.chat.completions.create(question)
      for (let i = 0; i < 100 && receipts.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10))
      return { text: answer.choices[0].message.content, receipts }
    `)
    expect(result.text).toBe(`You said: ${marked}`)
    expect(result.receipts).toMatchObject([
      { receipt: { upstream: { provider: 'openai' }, response: { status: 200 } } }
    ])
    const seen = wire.sent() + wire.received()
    for (const secret of [marked, key, 'You said']) expect(seen).not.toContain(secret)
    expect(page.messages).toEqual([])
  })

  it('streams', async () => {
    const text = await run(`
      let text = ''
      for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? ''
      }
      return text
    `)
    expect(text).toBe(`You said: ${marked}`)
  })

  it('uploads, reads and deletes files', async () => {
    const result = await run(`
      const file = await client.files.create({ file: new File(['${marked}'], 'a.jsonl'), purpose: 'batch' })
      const content = await (await client.files.content(file.id)).text()
      return { content, deleted: (await client.files.delete(file.id)).deleted }
    `)
    expect(result).toEqual({ content: marked, deleted: true })
    expect(wire.sent()).not.toContain(marked)
  })

  it('sends nothing to a router whose evidence is rejected, and names the check', async () => {
    attested.breakEvidence({ report: (view) => view.u64(8, 0x3001fn | (1n << 19n)) })
    const error = await run(`
      return client.chat.completions.create(question).then(() => 'sent', ({ cause }) => cause.name + ': ' + cause.message)
    `)
    expect(error).toMatch(/^AttestationError: .*guest\.debug/)
    expect(upstream.calls.filter(({ url }) => url.includes('chat'))).toHaveLength(2)
    expect(wire.sent()).not.toContain('/v1/')
  })
})

describe('the client as one file', () => {
  it('has no module of Node in it, and no code that makes code', () => {
    const text = readFileSync(join(root, 'dist/browser/client.js'), 'utf8')
    expect(text).not.toMatch(/["']node:|\beval\(|new Function\(/)
    expect(text.length).toBeLessThan(137_000)
  })
})
