/** Deepest nesting of any document we read; recursion over what was read stays far from the stack's end. */
const maximumDepth = 32

/**
 * Parses JSON and refuses a member that stands twice in one object, where parsers differ in which
 * one they take (RFC 8259 section 4), and nesting beyond 32 levels. Throws a `TypeError` that names
 * `label` and quotes nothing but the member's name.
 */
export function parseStrictJson(text: string, label: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new TypeError(`${label} is not JSON`)
  }
  checkStructure(text, label)
  return value
}

/** Walks the tokens of a text that is known to be JSON. */
function checkStructure(text: string, label: string): void {
  const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/g
  const open: (Set<string> | undefined)[] = []
  let lastString: string | undefined
  for (const [part] of text.matchAll(token)) {
    if (part === '{' || part === '[') {
      open.push(part === '{' ? new Set() : undefined)
      if (open.length > maximumDepth) throw new TypeError(`${label} is nested more than ${maximumDepth} levels deep`)
    } else if (part === '}' || part === ']') {
      open.pop()
    } else if (part === ':') {
      const name = JSON.parse(lastString ?? '""') as string
      const names = open.at(-1)
      if (names?.has(name)) throw new TypeError(`${label} has the member ${JSON.stringify(name.slice(0, 80))} twice`)
      names?.add(name)
    } else if (part !== ',') {
      lastString = part
    }
  }
}
