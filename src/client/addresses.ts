import { isJsonObject } from '../base/json.js'
import { parseStrictJson } from '../verify/strict-json.js'
import { routerUrl } from './http.js'

/** One router that callers may go to, as `addresses.json` names it. */
export interface RouterAddress {
  readonly endpoint: string
  /** The same router over TLS that ends in its container. */
  readonly tlsEndpoint?: string
}

/** With replicas, and an upgrade that goes on, there are two hundred. */
export const mostAddresses = 256

/** Longest `addresses.json`, in characters. */
const maximumAddressesLength = 256 * 1024

/**
 * Parses the text of `addresses.json`: the best address first. Nothing in it is believed: each address has to prove
 * itself, and what else stands there is passed over. An address is an origin, so that whoever writes the list cannot
 * say what is asked for there. Throws a `TypeError` that says what is wrong.
 */
export function parseAddresses(json: string): readonly RouterAddress[] {
  if (json.length > maximumAddressesLength)
    throw new TypeError(`it is longer than ${maximumAddressesLength} characters`)
  const value = parseStrictJson(json, 'it')
  const list = isJsonObject(value) && value['version'] === 1 ? value['addresses'] : undefined
  if (!Array.isArray(list)) throw new TypeError('it has no "addresses" of version 1')
  if (list.length === 0 || list.length > mostAddresses)
    throw new TypeError(`it must have 1 to ${mostAddresses} addresses`)
  return list.map((entry: unknown, i) => {
    const { endpoint, tlsEndpoint } = isJsonObject(entry) ? entry : {}
    if (!isOrigin(endpoint)) throw new TypeError(`the endpoint of addresses[${i}] is not an http or https origin`)
    if (tlsEndpoint === undefined) return { endpoint }
    if (!isOrigin(tlsEndpoint) || !tlsEndpoint.startsWith('https:')) {
      throw new TypeError(`the tlsEndpoint of addresses[${i}] is not an https origin`)
    }
    return { endpoint, tlsEndpoint }
  })
}

const isOrigin = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 300 && routerUrl(value, '/')?.origin === value
