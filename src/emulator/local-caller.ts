import type { IncomingHttpHeaders } from 'node:http'

/** What `az` makes of a vault's name and of the suffix in the cloud's metadata. */
export const vaultSuffix = 'vault.localhost'

/** Name of the vault in `NAME.vault.localhost:PORT`, a `Host` header in lower case; undefined for every other host. */
export function vaultOfHost(host: string | undefined, port: number): string | undefined {
  const suffix = `.${vaultSuffix}:${port}`
  const name = host?.endsWith(suffix) === true ? host.slice(0, -suffix.length) : ''
  return /^[a-z0-9-]{3,24}$/.test(name) ? name : undefined
}

/**
 * Whether a request can come from a program that means this listener, and from no web page. A page
 * that is open in a browser of this machine can send requests to 127.0.0.1 too, and by DNS rebinding
 * read the answers: its browser says so with `Origin` or `Sec-Fetch-Site` (Fetch, section 3.2; Fetch
 * Metadata, section 2), or names another host than a client of loopback does.
 */
export function isLocalCaller(headers: IncomingHttpHeaders, port: number | undefined): boolean {
  if (port === undefined || headers.origin !== undefined || headers['sec-fetch-site'] !== undefined) return false
  const host = headers.host?.toLowerCase()
  return host === `127.0.0.1:${port}` || host === `localhost:${port}` || vaultOfHost(host, port) !== undefined
}
