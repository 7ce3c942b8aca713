import { CheckError, type CheckErrorCode } from './errors.js'
import { exchange, ExchangeError, type Fetch, place } from './http.js'

const codes: Readonly<Record<ExchangeError['reason'], CheckErrorCode>> = {
  network: 'check.network',
  aborted: 'check.aborted',
  'too-large': 'check.unreadable',
  'not-text': 'check.unreadable'
}

/** One call whose answer must be 200; everything else is a {@link CheckError}. */
export async function checkExchange(fetch: Fetch, url: URL, init: RequestInit, maximumBytes: number): Promise<string> {
  try {
    const { status, text, retryAfterSeconds } = await exchange(fetch, url, init, maximumBytes)
    if (status === 200) return text
    const message = `${place(url)} answered with status ${status}`
    throw new CheckError('check.status', message, status, undefined, retryAfterSeconds)
  } catch (error) {
    if (!(error instanceof ExchangeError)) throw error
    throw new CheckError(codes[error.reason], error.message, error.status, error.cause)
  }
}
