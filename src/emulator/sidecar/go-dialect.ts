/** The traces that Go's standard library leaves in the sidecar's answers; clients match on some of them. */

/** `encoding/json` escapes what HTML would mistake for markup. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}

/** What the decoder says of a text that is not JSON, for the commonest ways of not being it. */
export function goJsonError(text: string): string {
  const first = text.trimStart().charAt(0)
  if (first === '') return 'EOF'
  return /["{[\dtfn-]/.test(first) ? 'unexpected EOF' : `invalid character '${first}' looking for beginning of value`
}

/** The validator's report on required members, one line each. */
export function missingFields(struct: string, fields: readonly string[]): string {
  return fields
    .map((field) => `Key: '${struct}.${field}' Error:Field validation for '${field}' failed on the 'required' tag`)
    .join('\n')
}

/** `base64.StdEncoding`: the standard alphabet with padding; line breaks are ignored. */
export function decodeGoBase64(text: string): Uint8Array | { readonly error: string } {
  const joined = text.replace(/[\r\n]/g, '')
  const foreign = joined.search(/[^A-Za-z0-9+/=]/)
  const padding = joined.search(/=/)
  if (foreign >= 0) return { error: `illegal base64 data at input byte ${foreign}` }
  if (joined.length % 4 !== 0)
    return { error: `illegal base64 data at input byte ${joined.length - (joined.length % 4)}` }
  if (padding >= 0 && !/^={1,2}$/.test(joined.slice(padding))) {
    return { error: `illegal base64 data at input byte ${padding}` }
  }
  return new Uint8Array(Buffer.from(joined, 'base64'))
}
