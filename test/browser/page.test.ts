import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { lockedDown } from '../../src/client/proxy/answers.js'
import { type CallRecord, createProxy, type Proxy } from '../../src/client/proxy/index.js'
import type { ProxyStatus } from '../../src/client/proxy/status.js'
import { claims } from '../../src/verify/index.js'
import { type AttestedRouter, startAttestedRouter } from '../clients/attested.js'
import { local } from '../clients/setup.js'
import * as faults from '../clients/upstreams/faults.js'
import { startOpenai } from '../clients/upstreams/openai.js'
import type { Upstream } from '../clients/upstreams/upstream.js'
import { Cleanup, serve, until } from '../unit/router/harness.js'
import { type Browser, chromiumPath, type Page, startChromium, withoutChromium } from './chromium.js'
import { servePage, trustedStatus } from './shown-status.js'

const inBrowser = chromiumPath === undefined ? describe.skip : describe
if (chromiumPath === undefined) it.skip(`the page in a browser: ${withoutChromium}`, () => undefined)

const key = 'sk-secret-of-caller'
const hostile = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>'
const cleanup = new Cleanup()
const ofTest = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let attested: AttestedRouter
let browser: Browser
let page: Page

beforeAll(async () => {
  if (chromiumPath === undefined) return
  upstream = await startOpenai(cleanup, { keys: [key] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
  browser = await startChromium(cleanup)
})

afterEach(async () => {
  attested.breakEvidence({})
  upstream.calls.length = 0
  await ofTest.run()
})

interface Running {
  readonly proxy: Proxy
  readonly origin: string
}

/** A proxy with its page open, by default after its first verification. */
async function open({ verified = true } = {}): Promise<Running> {
  const proxy = createProxy({
    url: attested.router.url,
    trust: attested.trust,
    fetch: attested.fetch,
    port: 0,
    limits: { graceMs: 0 }
  })
  const origin = await proxy.listen()
  ofTest.add(() => proxy.close())
  if (verified) await proxy.verify()
  await show(origin)
  return { proxy, origin }
}

/** The page over a status that a test has made. */
async function openOver(status: () => ProxyStatus): Promise<string> {
  const origin = await servePage(ofTest, status)
  await show(origin)
  return origin
}

async function show(origin: string): Promise<void> {
  page = await browser.newPage()
  await page.look({ width: 1280 })
  await page.open(origin)
  await page.until('document.querySelector("#chain").children.length > 0')
}

const debugging = { report: (view: { u64(at: number, value: bigint): void }) => view.u64(8, 0x3001fn | (1n << 19n)) }
const look = (): Promise<string> => page.value('document.body.dataset.look')
const count = (selector: string): Promise<number> =>
  page.value(`document.querySelectorAll(${JSON.stringify(selector)}).length`)
const isShown = (selector: string): Promise<boolean> =>
  page.value(`document.querySelector(${JSON.stringify(selector)}).checkVisibility()`)

async function ask(text: string, model = 'gpt-4o-mini'): Promise<void> {
  await page.value('document.querySelector("#chat-model").value = ""')
  await page.type('#chat-model', model)
  await page.type('#chat-text', text)
  await page.press('Enter')
}

inBrowser('the page of a proxy, in a browser', () => {
  it('says that nothing is checked yet, and verifies when it is told to', async () => {
    await open({ verified: false })
    expect(await page.text('h1')).toBe('Not checked yet')
    expect(await count('#chain .part.unknown')).toBe(8)
    await page.click('#verify')
    await page.until('document.body.dataset.look === "simulated"')
    expect(await count('#chain .part.match')).toBe(8)
    expect(page.messages).toEqual([])
  })

  it('says of a simulation that it is one, so that nobody overlooks it', async () => {
    await open()
    expect(await page.text('h1')).toBe('Simulated: nothing is protected')
    expect(await page.value('document.title')).toMatch(/^Simulated/)
    expect(await page.text('#tape')).toMatch(/simulated\s+no hardware protection/i)
    expect(await page.text('#part-ark')).toContain('is not AMD’s')
    expect(await page.text('#chain .end')).toContain('no hardware keeps those keys')
    await page.value('scrollTo(0, document.body.scrollHeight)')
    expect(await page.value('document.querySelector("#tape").getBoundingClientRect().top')).toBe(0)
    expect(page.messages).toEqual([])
  })

  it('says of hardware that is there no word of a simulation', async () => {
    await openOver(() => trustedStatus())
    expect(await page.text('h1')).toBe('Trusted')
    expect(await page.text('#part-ark .outcome')).toBe('matches, and is AMD’s')
    expect(await isShown('#tape')).toBe(false)
    expect(await page.value('document.body.innerText')).not.toMatch(/simulat/i)
    expect(page.messages).toEqual([])
  })

  it('shows every check with what was expected and found', async () => {
    await open()
    expect(await count('#checks tr.match')).toBe(claims.length)
    const hostData = await page.value<string[]>(
      `[...document.querySelectorAll('#checks tr')].filter((row) => row.innerText.includes('hostData'))
         .flatMap((row) => [...row.querySelectorAll('code')].map((code) => code.textContent))`
    )
    const [expected] = attested.trust.hostData
    expect(hostData.slice(0, 2)).toEqual([expected, expected])
    await page.click('#only-wrong')
    expect(await page.text('#checks')).toBe('Nothing differs.')
  })

  it('says first what differs when the router is rejected', async () => {
    await open()
    attested.breakEvidence(debugging)
    await page.click('#verify')
    await page.until('document.body.dataset.look === "rejected"')
    expect(await page.text('h1')).toBe('Rejected: nothing is sent')
    expect(await page.text('#wrong')).toMatch(/Debugging is off\s*guest\.debug[^]*forbidden[^]*allowed/)
    expect(await page.text('#part-report .outcome')).toBe('differs')
    expect(await page.text('#chain .end')).toBe('The chain is broken: nothing is sent.')
    await page.click('#only-wrong')
    expect(await count('#checks tr.mismatch')).toBe(1)
    await page.type('#chat-key', key)
    await ask('secret question')
    await page.until('document.querySelector(".turn.problem")')
    expect(await page.text('.turn.problem')).toContain('503 attestation_failed')
    expect(upstream.calls).toEqual([])
    // The browser's own line for an answer of 503.
    expect(page.messages).toEqual([expect.stringContaining('503')])
  })

  it('says that it could not be checked, which is another thing', async () => {
    const at = new Date().toISOString()
    const problem = { code: 'check.network', message: 'no answer from https://router.example/', at }
    await openOver(() => trustedStatus({ state: 'unavailable', problem }))
    expect(await page.text('h1')).toBe('Could not check')
    expect(await page.text('#verdict-words')).toContain('no answer from https://router.example/')
    expect(await page.text('#chain .end')).toContain('This is how it was')
  })

  it('says how much the trust policy leaves open', async () => {
    const status = trustedStatus()
    const checks = status.checks.map((check) =>
      check.claim === 'hostData'
        ? { ...check, outcome: 'not-required' as const, expected: null, actual: null, reason: 'accepts any' }
        : check
    )
    await openOver(() => ({ ...status, checks }))
    expect(await page.text('#verdict-words')).toContain(`leaves 1 of ${claims.length} checks open`)
  })

  it('says what somebody should read although a check matches', async () => {
    const status = trustedStatus()
    const warning = 'this is a policy known to allow everything'
    const checks = status.checks.map((check) => (check.claim === 'hostData' ? { ...check, warning } : check))
    await openOver(() => ({ ...status, checks }))
    expect(await page.text('#verdict-words')).toContain(`Warning: Policy is the one that you expect, but ${warning}.`)
    expect(await page.text('#checks')).toContain(`Warning: ${warning}`)
    expect(page.messages).toEqual([])
  })

  it('says that the proxy has gone, and does not go on showing a verdict as if nothing were', async () => {
    const { proxy } = await open()
    await proxy.close()
    await page.until('!document.querySelector("#lost").hidden')
    expect(await page.text('#lost')).toContain('does not answer')
  })
})

inBrowser('the chat of the page', () => {
  it('shows the answer of the provider, and the call among the last ones without its content', async () => {
    await open()
    await page.type('#chat-key', key)
    await ask('What protects this question?')
    await page.until('document.querySelector(".turn.assistant")?.textContent.includes("question?")')
    expect(await page.text('.turn.user')).toBe('What protects this question?')
    expect(await page.text('.turn.assistant')).toBe('You said: What protects this question?')
    expect(upstream.calls[0]?.headers.authorization).toBe(`Bearer ${key}`)
    await page.until('document.querySelector("#calls .provider")')
    const row = await page.text('#calls tr')
    expect(row).toMatch(/POST \/v1\/chat\/completions[^]*200[^]*openai gpt-4o-mini/)
    expect(row).not.toMatch(/protects|You said/)
    expect(page.messages).toEqual([])
  })

  it('shows the answer as it comes, and stops it', async () => {
    await open()
    await page.type('#chat-key', key)
    upstream.faults.push(faults.stall)
    await ask('tell me more')
    await page.until('document.querySelector(".turn.assistant")?.textContent === "one two"')
    expect(await page.text('#chat-send')).toBe('Stop')
    await page.click('#chat-send')
    await page.until('document.querySelector(".turn.problem")')
    expect(await page.text('.turn.problem')).toBe('Stopped.')
    await until(() => upstream.open() === 0)
    await page.until('document.querySelector("#calls .left")')
    expect(await page.text('#calls tr')).toContain('caller left')
    // What was stopped is no part of the conversation.
    await ask('again')
    await page.until('document.querySelectorAll(".turn.assistant")[1]?.textContent.includes("again")')
    expect(JSON.parse(upstream.calls.at(-1)?.body.toString() ?? '').messages).toEqual([
      { role: 'user', content: 'again' }
    ])
  })

  it('says that an answer broke off', async () => {
    await open()
    await page.type('#chat-key', key)
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.resetInStream(new Promise((resolve) => (begin = resolve))))
    await ask('tell me more')
    await page.until('document.querySelector(".turn.assistant")?.textContent === "one two"')
    begin(undefined)
    await page.until('document.querySelector(".turn.problem")')
    expect(await page.text('.turn.problem')).toContain('broke before the answer was whole')
  })

  it('goes on with what was said, and forgets it when it is told to', async () => {
    await open()
    await page.type('#chat-key', key)
    await ask('first')
    await page.until('document.querySelectorAll(".turn.assistant")[0]?.textContent === "You said: first"')
    await page.until('document.querySelector("#chat-send").textContent === "Send"')
    await ask('second')
    await page.until('document.querySelectorAll(".turn.assistant")[1]?.textContent === "You said: second"')
    expect(JSON.parse(upstream.calls.at(-1)?.body.toString() ?? '').messages).toHaveLength(3)
    await page.click('#chat-clear')
    expect(await count('.turn')).toBe(0)
  })

  it('lists models when it is told to, and says what is wrong with a key', async () => {
    await open()
    await page.click('#models')
    await page.until('document.querySelector("#models-note").textContent !== ""')
    expect(await page.text('#models-note')).toMatch(/^401 /)
    await page.type('#chat-key', key)
    await page.click('#models')
    await page.until('document.querySelectorAll("#model-names option").length > 0')
    expect(await page.value('document.querySelector("#chat-model").value')).toBe('openai:gpt-4o-mini')
  })

  it('keeps nothing: not the key, not what was said', async () => {
    const { origin } = await open()
    await page.type('#chat-key', key)
    await ask('remember me')
    await page.until('document.querySelector(".turn.assistant")?.textContent.includes("remember me")')
    const stored = await page.value(
      'Promise.all([indexedDB.databases(), caches.keys()]).then((all) => [...all, localStorage.length, sessionStorage.length, document.cookie])'
    )
    expect(stored).toEqual([[], [], 0, 0, ''])
    await page.open(origin)
    expect(await page.value('document.querySelector("#chat-key").value')).toBe('')
    expect(await page.value('document.body.innerText')).not.toContain('remember me')
  })
})

inBrowser('text from elsewhere', () => {
  it('is shown as text wherever it stands, and runs nowhere', async () => {
    const call: CallRecord = {
      id: 1,
      at: new Date().toISOString(),
      method: 'POST',
      path: `/v1/${hostile}`,
      state: 'answered',
      status: 200,
      requestBytes: 1,
      responseBytes: 1,
      milliseconds: 1,
      receipt: { provider: hostile, origin: hostile, model: hostile },
      problem: null
    }
    const status = trustedStatus({ router: hostile, state: 'rejected' })
    const checks = status.checks.map((check) => ({
      ...check,
      outcome: 'mismatch' as const,
      expected: hostile,
      actual: hostile
    }))
    const chain = {
      line: status.chain.line.map((part) => ({ ...part, value: hostile })),
      branches: status.chain.branches.map((part) => ({ ...part, value: hostile }))
    }
    const calls = [call, { ...call, id: 2, receipt: null, problem: hostile }]
    await openOver(() => ({ ...status, checks, chain, calls }))
    await page.until('document.querySelectorAll("#calls tr").length === 2')
    for (const part of ['#wrong', '#chain', '#checks', '#calls', '#router-url']) {
      expect(await page.text(part)).toContain(hostile)
    }
    expect(await count('img, #chain script, #calls script, #checks script')).toBe(0)
    expect(await page.value('typeof window.hit')).toBe('undefined')
    expect(page.messages).toEqual([])
  })

  it('is shown as text in the chat too', async () => {
    await open()
    await page.type('#chat-key', key)
    await ask(hostile)
    await page.until('document.querySelector(".turn.assistant")?.textContent.includes("script>")')
    await page.until('document.querySelector("#chat-send").textContent === "Send"')
    expect(await page.text('.turn.assistant')).toBe(`You said: ${hostile}`)
    expect(await count('img, #chat-log script')).toBe(0)
    expect(await page.value('typeof window.hit')).toBe('undefined')
    expect(page.messages).toEqual([])
  })

  it('would not run even if a mistake put it into the page as markup', async () => {
    await open()
    const tries = [
      `document.body.innerHTML = ${JSON.stringify(hostile)}`,
      `document.body.insertAdjacentHTML('beforeend', ${JSON.stringify(hostile)})`,
      `(() => { const script = document.createElement('script'); script.text = 'window.hit = 3'; document.body.append(script) })()`,
      `(() => { const a = document.createElement('a'); a.setAttribute('onclick', 'window.hit = 4'); document.body.append(a); a.click() })()`,
      `document.querySelector('h1').setAttribute('style', 'color: red') ?? getComputedStyle(document.querySelector('h1')).color`
    ]
    for (const each of tries) {
      expect(
        await page.value(`(() => { try { return String(${each}) } catch (error) { return error.name } })()`)
      ).not.toBe('rgb(255, 0, 0)')
    }
    await expect(page.value('fetch("http://127.0.0.1:9/x")')).rejects.toThrow('Failed to fetch')
    await expect(page.value('import("data:text/javascript,window.hit=5")')).rejects.toThrow()
    expect(await page.value('typeof window.hit')).toBe('undefined')
    expect(page.messages.join('\n')).toMatch(/Content Security Policy/)
  })

  it('would not run as a page of its own: an answer that calls itself HTML', async () => {
    const origin = await serve(ofTest, (_, response) => {
      response.writeHead(200, { 'content-type': 'text/html', ...lockedDown })
      response.end('<title>before</title><script>document.title = "after"</script>')
    })
    page = await browser.newPage()
    await page.open(origin)
    expect(await page.value('document.title')).toBe('before')
    expect(page.messages.join('\n')).toMatch(/sandboxed|Content Security Policy/)
  })
})

inBrowser('a page of another origin', () => {
  it('can neither call the proxy nor read what it shows nor put it into a frame', async () => {
    const { origin } = await open()
    const other = await serve(ofTest, (_, response) => response.setHeader('content-type', 'text/html').end('<p>other'))
    const own = page
    page = await browser.newPage()
    await page.open(other)
    for (const path of ['/status.json', '/v1/models', '/']) {
      await expect(page.value(`fetch(${JSON.stringify(origin + path)})`)).rejects.toThrow('Failed to fetch')
    }
    const blind = `{ method: 'POST', mode: 'no-cors', headers: { 'content-type': 'text/plain' }, body: '{}' }`
    await page.value(
      `fetch(${JSON.stringify(`${origin}/v1/chat/completions`)}, ${blind}).catch(() => undefined).then(() => 1)`
    )
    await page.value(`fetch(${JSON.stringify(`${origin}/verify`)}, ${blind}).catch(() => undefined).then(() => 1)`)
    await page.value(`new Promise((resolve) => {
      const image = new Image()
      image.onerror = resolve
      image.onload = resolve
      image.src = ${JSON.stringify(`${origin}/v1/models`)}
    }).then(() => 1)`)
    await page.value(`new Promise((resolve) => {
      const frame = document.createElement('iframe')
      frame.onload = resolve
      frame.src = ${JSON.stringify(origin)}
      document.body.append(frame)
    }).then(() => 1)`)
    expect(await own.value('fetch("/status.json").then((answer) => answer.json()).then(({ calls }) => calls)')).toEqual(
      []
    )
    expect(upstream.calls).toEqual([])
  })
})

inBrowser('the look of the page', () => {
  const calls: readonly CallRecord[] = (
    [
      { state: 'running', status: null, milliseconds: null },
      { receipt: { provider: 'openrouter', origin: 'https://openrouter.ai', model: 'anthropic/claude-sonnet-4.5' } },
      { state: 'broken', problem: 'truncated_answer' },
      { state: 'refused', status: 503, problem: 'attestation_failed' },
      { state: 'left' },
      { method: 'GET', path: `/v1/files/file-${'0123456789'.repeat(5)}/content` }
    ] as const
  ).map((changes, index) => ({
    id: 9 - index,
    at: '2026-01-31T12:00:00.000Z',
    method: 'POST',
    path: '/v1/chat/completions',
    state: 'answered',
    status: 200,
    requestBytes: 1200,
    responseBytes: 1_532_100,
    milliseconds: 1204,
    receipt: null,
    problem: null,
    ...changes
  }))

  it.each([
    ['trusted', () => trustedStatus({ calls })],
    ['unavailable', () => trustedStatus({ state: 'unavailable', problem: { code: 'c', message: 'no answer', at: '' } })]
  ])('fits every width and both schemes of colour: %s', async (name, status) => {
    await openOver(status)
    await fits(name)
  })

  it.each([
    ['simulated', {}],
    ['rejected', debugging]
  ])('fits every width and both schemes of colour: %s', async (name, changes) => {
    await open()
    await page.type('#chat-key', key)
    await ask('What protects this question?')
    await page.until('document.querySelector("#calls .provider")')
    attested.breakEvidence(changes)
    await page.click('#verify')
    await page.until(`document.body.dataset.look === ${JSON.stringify(name)}`)
    await fits(name)
  })

  it('is one that a keyboard alone can use', async () => {
    await open({ verified: false })
    const reached: string[] = []
    for (let index = 0; index < 11; index++) {
      await page.press('Tab')
      reached.push(await page.value('document.activeElement.id || document.activeElement.className'))
      expect(await page.value('getComputedStyle(document.activeElement).outlineStyle')).not.toBe('none')
    }
    expect(reached).toEqual([
      'copy',
      'verify',
      'chat-model',
      'chat-key',
      'models',
      'chat-log',
      'chat-text',
      'chat-send',
      'chat-clear',
      'scroll',
      'only-wrong'
    ])
    await page.value('document.querySelector("#verify").focus()')
    await page.press('Enter')
    await page.until('document.body.dataset.look === "simulated"')
    const unnamed = await page.value(
      `[...document.querySelectorAll('input, textarea, button')].filter((each) =>
         !(each.labels?.length || each.textContent.trim() || each.ariaLabel)).map(({ id }) => id)`
    )
    expect(unnamed).toEqual([])
  })
})

/** Nothing stands out to the side, and nothing is too pale to read. */
async function fits(name: string): Promise<void> {
  for (const dark of [false, true]) {
    for (const width of [1280, 800, 400]) {
      await page.look({ width, dark })
      expect(await page.value('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
      expect(await page.value(paleTexts)).toEqual([])
      await picture(`${name}-${dark ? 'dark' : 'light'}-${width}`)
    }
  }
  expect(page.messages).toEqual([])
  expect(await look()).toBe(name)
}

/** Texts whose contrast is below 4.5 (WCAG 2.2, criterion 1.4.3), by the colours that the browser works out. */
const paleTexts = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const over = (under, colour) => {
    canvas.fillStyle = 'rgb(' + under.join() + ')'
    canvas.fillRect(0, 0, 1, 1)
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)]
  }
  const light = (colour) => colour
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0)
  const behind = (element) =>
    element === null ? [255, 255, 255] : over(behind(element.parentElement), getComputedStyle(element).backgroundColor)
  const pale = []
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const { parentElement: element, textContent: text } = texts.currentNode
    if (text.trim() === '' || element.closest('script, button:disabled') || !element.checkVisibility()) continue
    const ground = behind(element)
    const [bright, dim] = [light(ground), light(over(ground, getComputedStyle(element).color))].sort((a, b) => b - a)
    const contrast = (bright + 0.05) / (dim + 0.05)
    if (contrast < 4.5) pale.push(element.tagName + ' ' + text.trim().slice(0, 30) + ' ' + contrast.toFixed(2))
  }
  return [...new Set(pale)]
})()`

/** Where to keep pictures of the page, for whoever wants to look at them. */
const pictures = process.env['CONFROUTER_PICTURES']

async function picture(name: string): Promise<void> {
  if (pictures === undefined) return
  const height = await page.value<number>('document.documentElement.scrollHeight')
  for (let top = 0; top < height; top += 1600) {
    const slice = { top, height: Math.min(1600, height - top) }
    await writeFile(join(pictures, `${name}-${top / 1600 + 1}.png`), await page.screenshot(slice))
  }
}
