/**
 * Parses a deployment request as Resource Manager does: `az` splices the template text into its body
 * with an unquoted `template:` key, which is not JSON. Nothing else is forgiven. Throws a `SyntaxError`.
 */
export function parseLenientJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    const quoted = quoteTemplateKey(text)
    if (quoted === undefined) throw error
    return JSON.parse(quoted) as unknown
  }
}

const key = 'template'

/** Puts quotes around the first bare `template` in the place of a key; undefined if there is none. */
function quoteTemplateKey(text: string): string | undefined {
  let inString = false
  let previous = ''
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at)
    if (inString) {
      if (character === '\\') at++
      else if (character === '"') inString = false
      continue
    }
    if ((previous === '{' || previous === ',') && /^template\s*:/.test(text.slice(at, at + key.length + 16))) {
      return `${text.slice(0, at)}"${key}"${text.slice(at + key.length)}`
    }
    if (character === '"') inString = true
    if (!/\s/.test(character)) previous = character
  }
  return undefined
}
