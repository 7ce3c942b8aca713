import { readCredential } from './access.js'
import type { Call } from './call.js'
import { Problem } from './problem.js'

/** A page in a browser can set no header of a websocket, so OpenAI takes the key as a sub-protocol. */
const keyPrefix = /^openai-insecure-api-key\./i

/** They name a part of the account that the key is of, as the headers of these names do. */
const accountPrefix = /^openai-(organization|project)\./i

/**
 * Takes the caller's key out of the sub-protocols and makes it the credential of the call. Gives the other ones.
 *
 * Throws a `Problem` with code `invalid_authorization` if there is a key in a header too.
 */
export function takeKey(call: Call, offered: readonly string[]): readonly string[] {
  const [key, ...more] = offered.filter((protocol) => keyPrefix.test(protocol))
  if (key === undefined) return offered
  if (more.length > 0 || readCredential(call.headers) !== undefined) {
    throw new Problem('invalid_authorization', 'a websocket has one key, in a header or in a sub-protocol')
  }
  const text = key.replace(keyPrefix, '')
  if (text === '') throw new Problem('invalid_authorization', 'the sub-protocol with the key has no key in it')
  call.headers = { ...call.headers, authorization: `Bearer ${text}` }
  return offered.filter((protocol) => !keyPrefix.test(protocol))
}

/** What a provider is offered; an account that is not the caller's is none of the caller's business. */
export const protocolsFor = (offered: readonly string[], usesRouterKey: boolean): readonly string[] =>
  usesRouterKey ? offered.filter((protocol) => !accountPrefix.test(protocol)) : offered
