import { Problem } from './problem.js'

/**
 * Checks the part of a path that goes to a provider behind its base path. It is passed on as it
 * came, so what another server could read as "leave this folder" is refused: dot segments, and
 * encoded dots, slashes, semicolons and backslashes in any case. Some servers cut a segment at `;`
 * before they look for dots, so `..;` is a dot segment too.
 *
 * `rest` begins with a slash. Throws a `Problem` with code `invalid_path`.
 */
export function checkUpstreamPath(rest: string): string {
  if (!/^(\/[A-Za-z0-9\-._~!$&'()*+,;=:@%]*)+$/.test(rest)) throw invalid('has characters that a path cannot have')
  if (/%(?![0-9A-Fa-f]{2})/.test(rest)) throw invalid('has a "%" without two hex digits')
  if (/%(2e|2f|3b|5c|25|[01][0-9a-f]|7f)/i.test(rest))
    throw invalid('has an encoded dot, slash, semicolon, percent or control character')
  if (rest.includes('//')) throw invalid('has an empty segment')
  if (/\/\.{1,2}(;|\/|$)/.test(rest)) throw invalid('has a dot segment')
  return rest
}

const invalid = (message: string): Problem => new Problem('invalid_path', `the path ${message}`)
