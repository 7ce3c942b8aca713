import type { IncomingMessage } from 'node:http'

/**
 * Why a request is not answered; `undefined` if it is. Whoever can open a socket on this machine may use
 * the proxy, pages in a browser may not, unless they are its own: a page cannot choose what stands in
 * these three headers. `Host` is what a page does not get right whose name was rebound to this machine.
 */
export function foreignness(
  { headersDistinct }: Pick<IncomingMessage, 'headersDistinct'>,
  port: number
): string | undefined {
  const [host, ...otherHosts] = headersDistinct['host'] ?? []
  if (host === undefined || otherHosts.length > 0 || !ownHosts(port).has(host.toLowerCase())) {
    return `the Host header must be 127.0.0.1:${port} or localhost:${port}`
  }
  const origins = headersDistinct['origin'] ?? []
  if (origins.some((origin) => origin.toLowerCase() !== `http://${host.toLowerCase()}`)) {
    return 'pages of other origins may not call this proxy'
  }
  const sites = headersDistinct['sec-fetch-site'] ?? []
  if (sites.some((site) => site !== 'same-origin' && site !== 'none')) {
    return 'pages of other origins may not call or link to this proxy; type its address instead'
  }
  return undefined
}

function ownHosts(port: number): ReadonlySet<string> {
  const names = ['127.0.0.1', 'localhost', '[::1]']
  // Clients leave the port of the scheme out.
  return new Set(names.flatMap((name) => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`])))
}
