/**
 * Parses the first JSON object of a text that may go on with a second one: the sidecar forgets to
 * stop after an error and appends the empty success. Throws a `SyntaxError` without quoting the text.
 */
export function parseFirstJson(text: string): unknown {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (inString) {
      if (character === '\\') at++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{' || character === '[') depth++
    else if ((character === '}' || character === ']') && --depth === 0) return parse(text.slice(0, at + 1))
  }
  return parse(text)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new SyntaxError('not JSON')
  }
}
