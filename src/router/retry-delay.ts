import type { IncomingHttpHeaders } from 'node:http'

/**
 * How long to wait before a call is repeated, in milliseconds: what the provider asked for
 * (`Retry-After` of RFC 9110 section 10.2.3, or the finer `Retry-After-Ms` that OpenAI sends), else
 * a quarter of a second that doubles with each attempt.
 */
export function retryDelayMs(headers: IncomingHttpHeaders, attempt: number, nowMs = Date.now()): number {
  const milliseconds = decimal(headers['retry-after-ms'])
  if (milliseconds !== undefined) return milliseconds
  const asked = headers['retry-after']
  const seconds = decimal(asked)
  if (seconds !== undefined) return seconds * 1000
  // `Date.parse` finds a day of 2001 in many texts that are none; a date of HTTP begins with a weekday.
  const date = typeof asked === 'string' && /^[A-Za-z]/.test(asked) ? Date.parse(asked) : Number.NaN
  if (!Number.isNaN(date)) return Math.max(0, date - nowMs)
  return 250 * 2 ** Math.min(attempt, 5)
}

/** With a fraction, which RFC 9110 does not have and providers send all the same. */
const decimal = (text: unknown): number | undefined =>
  typeof text === 'string' && /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : undefined
