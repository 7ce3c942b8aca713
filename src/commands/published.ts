import { open, stat } from 'node:fs/promises'
import { UserError } from '../base/user-error.js'
import type { Fetch, Look } from '../client/index.js'
import { exchange, ExchangeError, place } from '../client/http.js'
import { unreadable } from './file-input.js'

/** What `publish` writes is far shorter. */
const maximumBytes = 256 * 1024
/** A file is looked at before a call, if the last look is older than this. */
const fileAgeMs = 250
/** A URL is asked again in the background when its answer is older than this; while no address answers, than the second. */
const urlAgeMs = 30_000
const urgentAgeMs = 5000
/** Longest wait for an answer. */
const longestMs = 10_000

export interface Clock {
  /** Milliseconds that never go back. */
  readonly nowMs: () => number
}

const monotonic: Clock = { nowMs: () => performance.now() }

type Asked<T> = (look: Look) => Promise<T>

/**
 * What a file says by now. It is looked at on use, at most four times a second, and read where it is another one than
 * before; its writer replaces it by rename. Fails with what is wrong with it.
 */
export function publishedFile<T>(
  file: string,
  parse: (text: string) => T,
  {
    initial,
    clock = monotonic
  }: {
    /** What it said a moment ago. */
    readonly initial?: T
    readonly clock?: Clock
  } = {}
): Asked<T> {
  let known: { readonly id: string; readonly value: () => T } | undefined
  if (initial !== undefined) known = { id: '', value: () => initial }
  return shared(
    async () => {
      // A pipe can be read once, and says the same for ever.
      if (known !== undefined && !(await stat(file)).isFile()) return known.value()
      const handle = await open(file, 'r')
      try {
        const { mtimeNs, size, ino } = await handle.stat({ bigint: true })
        const id = [mtimeNs, size, ino].join()
        if (known?.id !== id) known = { id, value: outcomeOf(await readText(handle), parse) }
      } finally {
        await handle.close()
      }
      return known.value()
    },
    clock,
    (ageMs, { fresh }) => (fresh || ageMs >= fileAgeMs ? 'wait' : 'keep')
  )
}

/**
 * What a URL says by now. An answer that is too old is replaced in the background, and nobody waits for that but where
 * no address answers. Fails with what is wrong with it.
 */
export function publishedUrl<T>(url: URL, parse: (text: string) => T, fetch: Fetch, clock = monotonic): Asked<T> {
  return shared(
    async () => {
      const init: RequestInit = {
        signal: AbortSignal.timeout(longestMs),
        cache: 'no-store',
        headers: { accept: 'application/json' }
      }
      const { status, text } = await exchange(fetch, url, init, maximumBytes)
      // Without the query, which may be the key to it.
      if (status !== 200) throw new TypeError(`${place(url)} answered with status ${status}`)
      return parse(text)
    },
    clock,
    (ageMs, { fresh }) => (fresh && ageMs >= urgentAgeMs ? 'wait' : ageMs >= urlAgeMs ? 'refresh' : 'keep')
  )
}

/** One attempt at a time, whose outcome holds until `decide` says otherwise of its age. */
function shared<T>(
  read: () => Promise<T>,
  { nowMs }: Clock,
  decide: (ageMs: number, look: Look) => 'wait' | 'refresh' | 'keep'
): Asked<T> {
  let last: { readonly atMs: number; readonly value: () => T } | undefined
  let running: { readonly end: Promise<unknown>; isFresh: boolean } | undefined

  function begin(isFresh: boolean): Promise<unknown> {
    const atMs = nowMs()
    const end = read().then(
      (value) => (last = { atMs, value: () => value }),
      (error: unknown) => (last = { atMs, value: () => rethrow(error) })
    )
    running = { end, isFresh }
    return end.finally(() => (running = undefined))
  }

  return async (look) => {
    const next = last === undefined ? 'wait' : decide(nowMs() - last.atMs, look)
    if (next === 'refresh' && running === undefined) void begin(false)
    if (next === 'wait') {
      // One that was under way may have read what was there before the change that this look is about.
      if (running !== undefined && look.fresh && !running.isFresh) await running.end
      await (running?.end ?? begin(look.fresh))
    }
    return (last ?? never()).value()
  }
}

function rethrow(error: unknown): never {
  throw error
}

const never = (): never => {
  throw new Error('nothing was read')
}

/** The value, or the error, each time that it is asked for. */
function outcomeOf<T>(text: string, parse: (text: string) => T): () => T {
  try {
    const value = parse(text)
    return () => value
  } catch (error) {
    return () => rethrow(error)
  }
}

async function readText(handle: Awaited<ReturnType<typeof open>>): Promise<string> {
  const buffer = Buffer.alloc(maximumBytes + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length)
    length += bytesRead
    if (length > maximumBytes) throw new TypeError(`it is longer than ${maximumBytes} bytes`)
    if (bytesRead === 0) break
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length))
  } catch {
    throw new TypeError('it is not UTF-8')
  }
}

/** An https URL, or http to this machine; `undefined` for what is a file, and a {@link UserError} for another URL. */
export function urlOf(option: string, text: string): URL | undefined {
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) return undefined
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isLocal = url !== undefined && /^(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])$/.test(url.hostname)
  if (
    url?.username === '' &&
    url.password === '' &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLocal))
  ) {
    return url
  }
  throw new UserError('usage', 'usage.invalid', `${option}: expected a file or an https URL without credentials`, {
    next: ['confrouter proxy --help']
  })
}

/** The first look at a list of addresses, with errors for whoever has named it. */
export async function requireReadable<T>(name: string, source: Asked<T>): Promise<void> {
  try {
    await source({ fresh: true })
  } catch (error) {
    if (
      error instanceof ExchangeError ||
      (error instanceof TypeError && error.message.includes('answered with status'))
    ) {
      throw new UserError('cloud', 'addresses.not-read', `the list of addresses could not be read: ${error.message}`, {
        next: ['run the same command again'],
        cause: error
      })
    }
    if (error instanceof TypeError) {
      throw new UserError('config', 'addresses.invalid', `${name}: ${error.message}`, {
        next: ['confrouter up   (writes policy/addresses.json in its state directory)']
      })
    }
    throw unreadable(name, error)
  }
}
