import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import type { Cleanup } from '../unit/router/harness.js'

const names = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Path of a Chromium on this machine; CHROMIUM_PATH wins. */
export const chromiumPath = [process.env['CHROMIUM_PATH'] ?? '', ...names].find(
  (path) => path !== '' && existsSync(path)
)

/** Why tests in a browser are left out, for the name of the test that says so. */
export const withoutChromium = `there is no Chromium here (${names.join(', ')}, CHROMIUM_PATH)`

const flags = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0'
]

/** A headless browser of this test alone, driven over the DevTools protocol. */
export interface Browser {
  newPage(): Promise<Page>
}

export interface Look {
  readonly width: number
  readonly height?: number
  readonly dark?: boolean
}

/** One tab. */
export interface Page {
  /** Every message on its console, every exception and every blocked resource, as the browser words it. */
  readonly messages: readonly string[]
  /** Opens an address and waits until it is loaded. */
  open(url: string): Promise<void>
  look(look: Look): Promise<void>
  /** The value of an expression in the page; a promise is waited for. Throws what it throws. */
  value<T>(expression: string): Promise<T>
  /** Waits until an expression is true. */
  until(expression: string): Promise<void>
  /** What the element that a selector names shows as text. */
  text(selector: string): Promise<string>
  click(selector: string): Promise<void>
  /** Puts the focus on an element and types. */
  type(selector: string, text: string): Promise<void>
  /** Presses a key, by its name in the DOM. */
  press(key: string): Promise<void>
  /** PNG of the whole page, or of a slice of it in CSS pixels. */
  screenshot(slice?: { readonly top?: number; readonly height?: number }): Promise<Buffer>
}

/** Starts a browser with a profile of its own; `cleanup` ends it and deletes the profile. */
export async function startChromium(cleanup: Cleanup): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error(withoutChromium)
  const profile = await mkdtemp(join(tmpdir(), 'confrouter-chromium-'))
  const chromium = spawn(chromiumPath, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe']
  })
  cleanup.add(async () => {
    if (chromium.exitCode === null && chromium.signalCode === null) {
      chromium.kill()
      await once(chromium, 'exit')
    }
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  })
  const connection = await connect(await debuggerAddress(chromium))
  cleanup.add(async () => connection.close())
  return { newPage: () => openPage(connection) }
}

async function debuggerAddress({ stderr }: ChildProcess): Promise<string> {
  if (stderr === null) throw new Error('chromium has no stderr')
  const lines = createInterface(stderr)
  const said: string[] = []
  for await (const line of lines) {
    const address = /^DevTools listening on (ws:\S+)/.exec(line)?.[1]
    if (address !== undefined) {
      lines.close()
      stderr.resume()
      return address
    }
    said.push(line)
  }
  throw new Error(`chromium did not start: ${said.join('\n')}`)
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the protocol's answers are read member by member
type Parameters = Record<string, any>

interface Connection {
  send(method: string, parameters?: Parameters, session?: string): Promise<Parameters>
  /** Told of each event of one session. */
  on(this: void, session: string, listener: (method: string, parameters: Parameters) => void): void
  close(this: void): void
}

async function connect(address: string): Promise<Connection> {
  const socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 256 * 1024 * 1024 })
  await once(socket, 'open')
  const waiting = new Map<number, { resolve: (value: Parameters) => void; reject: (error: Error) => void }>()
  const listeners = new Map<string, (method: string, parameters: Parameters) => void>()
  let count = 0
  socket.on('message', (data: Buffer) => {
    const message = JSON.parse(data.toString('utf8')) as Parameters
    if (message['id'] === undefined) {
      listeners.get(message['sessionId'])?.(message['method'], message['params'])
      return
    }
    const asked = waiting.get(message['id'])
    waiting.delete(message['id'])
    if (message['error'] === undefined) asked?.resolve(message['result'])
    else asked?.reject(new Error(message['error'].message))
  })
  socket.on('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('chromium has gone'))
    waiting.clear()
  })
  return {
    send: (method, params = {}, sessionId) =>
      new Promise((resolve, reject) => {
        const id = ++count
        waiting.set(id, { resolve, reject })
        socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
      }),
    on: (session, listener) => void listeners.set(session, listener),
    close: () => socket.close()
  }
}

async function openPage(connection: Connection): Promise<Page> {
  const { targetId } = await connection.send('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await connection.send('Target.attachToTarget', { targetId, flatten: true })
  const send = (method: string, parameters?: Parameters) => connection.send(method, parameters, sessionId)
  const messages: string[] = []
  let loaded: () => void = () => undefined
  connection.on(sessionId, (method, parameters) => {
    if (method === 'Page.loadEventFired') loaded()
    if (method === 'Runtime.exceptionThrown') {
      const { exceptionDetails: details } = parameters
      messages.push(`exception: ${details.exception?.description ?? details.text}`)
    }
    if (method === 'Runtime.consoleAPICalled') {
      messages.push(`${parameters['type']}: ${parameters['args'].map((each: Parameters) => each['value']).join(' ')}`)
    }
    if (method === 'Log.entryAdded') messages.push(`${parameters['entry'].level}: ${parameters['entry'].text}`)
  })
  for (const domain of ['Page', 'Runtime', 'Log']) await send(`${domain}.enable`)
  await send('Emulation.setScrollbarsHidden', { hidden: true })

  const page: Page = {
    messages,
    async open(url) {
      const load = new Promise<void>((resolve) => (loaded = resolve))
      const { errorText } = await send('Page.navigate', { url })
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`)
      await load
    },
    async look({ width, height = 900, dark = false }) {
      await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false })
      const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]
      await send('Emulation.setEmulatedMedia', { features })
    },
    async value(expression) {
      const { result, exceptionDetails } = await send('Runtime.evaluate', {
        expression,
        awaitPromise: true,
        returnByValue: true,
        userGesture: true
      })
      if (exceptionDetails !== undefined)
        throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
      return result.value
    },
    async until(expression) {
      const deadline = performance.now() + 10_000
      while ((await page.value(`Boolean(${expression})`)) !== true) {
        if (performance.now() > deadline) throw new Error(`did not come true: ${expression}`)
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
    },
    text: (selector) => page.value(`document.querySelector(${JSON.stringify(selector)}).innerText`),
    async click(selector) {
      const place = await page.value<{ x: number; y: number }>(`(() => {
        const element = document.querySelector(${JSON.stringify(selector)})
        element.scrollIntoView({ block: 'center' })
        const { x, y, width, height } = element.getBoundingClientRect()
        return { x: x + width / 2, y: y + height / 2 }
      })()`)
      for (const type of ['mousePressed', 'mouseReleased']) {
        await send('Input.dispatchMouseEvent', { type, ...place, button: 'left', clickCount: 1 })
      }
    },
    async type(selector, text) {
      await page.value(`document.querySelector(${JSON.stringify(selector)}).focus()`)
      await send('Input.insertText', { text })
    },
    async press(key) {
      const text = key === 'Enter' ? { text: '\r' } : {}
      await send('Input.dispatchKeyEvent', {
        type: 'keyDown',
        key,
        code: key,
        windowsVirtualKeyCode: codes[key] ?? 0,
        ...text
      })
      await send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key, windowsVirtualKeyCode: codes[key] ?? 0 })
    },
    async screenshot(slice = {}) {
      // What sticks to the edge of the view would stand in the middle of the picture.
      await page.value('scrollTo(0, 0)')
      const { cssContentSize } = await send('Page.getLayoutMetrics')
      const { top = 0, height = cssContentSize.height - top } = slice
      const clip = { x: 0, y: top, width: cssContentSize.width, height, scale: 1 }
      const { data } = await send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip })
      return Buffer.from(data, 'base64')
    }
  }
  return page
}

/** Of the keys that are pressed here. */
const codes: Readonly<Record<string, number>> = { Enter: 13, Tab: 9, Escape: 27, ' ': 32 }
