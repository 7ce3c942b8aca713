import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { utf8 } from '../../../base/encoding.js'

/** The pause between two streamed words, so that a client that waits for the whole answer shows. */
const wordDelayMs = 10

export const eventStreamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache'
} as const

/** One event without a name, as in the older streams of the API. */
export function event(data: object): Uint8Array {
  return utf8.encode(`data: ${JSON.stringify(data)}\n\n`)
}

/** The end of such a stream. */
export const doneEvent = utf8.encode('data: [DONE]\n\n')

/** The words of a text with the space before each, one at a time; ends early when the caller hangs up. */
export async function* spokenWords(text: string, signal: AbortSignal): AsyncGenerator<string> {
  for (const word of splitWords(text)) {
    await setTimeout(wordDelayMs)
    if (signal.aborted) return
    yield word
  }
}

export function splitWords(text: string): readonly string[] {
  return text.match(/\s*\S+|\s+$/g) ?? []
}

/** Words stand for tokens: nothing here has a tokenizer. */
export function countWords(text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}

export function newId(prefix: string): string {
  return prefix + randomUUID().replaceAll('-', '')
}

/** Now, in seconds, as all of the API's times are. */
export function secondsNow(): number {
  return Math.floor(Date.now() / 1000)
}
