/**
 * The parameters behind a media type or a disposition, RFC 9110 section 5.6.6: `; name=token` or
 * `; name="quoted-string"`, no space around "=". Names are in lower case and in the order of the text;
 * what was quoted is as it stands there, backslashes included. `undefined` if the text is anything
 * else, or has a parameter twice: readers differ in which of the two they take.
 */
export function parseParameters(text: string): ReadonlyMap<string, string> | undefined {
  const parameters = new Map<string, string>()
  let end = 0
  for (const [whole, name = '', token, quoted = ''] of text.matchAll(parameter)) {
    const key = name.toLowerCase()
    if (parameters.has(key)) return undefined
    parameters.set(key, token ?? quoted)
    end += whole.length
  }
  return end === text.length ? parameters : undefined
}

/** Sticky: what `matchAll` finds has no gaps. */
const parameter = /[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\]|\\.)*)")/gy
