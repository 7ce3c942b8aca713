import type { Call } from './call.js'

/**
 * Fetch standard, CORS protocol. Any page may call: nothing here goes by cookies or other
 * credentials that a browser adds by itself.
 */
export const openToPages = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': '*'
} as const

/**
 * Whether a page in a browser sent this. A GET of an image, or of a page whose name was rebound to this
 * address, carries no `Origin`; over plain http it carries no `Sec-Fetch-Site` either, and a page can
 * leave out its `Referer`. What no page can change there is that its browser says to be one.
 */
export function isFromPage({ request: { headers } }: Call): boolean {
  const { origin, referer, 'sec-fetch-site': site, 'user-agent': agent = '' } = headers
  return origin !== undefined || site !== undefined || referer !== undefined || agent.startsWith('Mozilla/')
}

/** Answers what a browser asks before it sends a request of a page of another origin. */
export function preflight(call: Call, methods: readonly string[]): void {
  const asked = call.request.headers['access-control-request-headers']
  // Repeated, because "*" would not stand for Authorization, and SDKs send headers of their own.
  const headers = typeof asked === 'string' && /^[\w\-, ]{1,2000}$/.test(asked) ? asked : 'authorization, content-type'
  call.plain.start(204, {
    'access-control-allow-methods': methods.join(', '),
    'access-control-allow-headers': headers,
    'access-control-max-age': '7200',
    'cache-control': 'no-store'
  })
  call.plain.end()
}
