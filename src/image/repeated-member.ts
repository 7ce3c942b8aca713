/** Members whose own members are named by people and not by a format: to every reader, case matters in them. */
const maps: ReadonlySet<string> = new Set(['annotations', 'labels', 'exposedports', 'volumes'])

interface OpenObject {
  readonly names: Set<string>
  readonly isMap: boolean
}

/**
 * The first member of an object in a JSON text that has the name of an earlier one, or one that differs
 * from it only in case; undefined if there is none. The text has to be JSON, which is not checked here.
 */
export function repeatedMember(text: string): string | undefined {
  // Undefined stands for an array.
  const open: (OpenObject | undefined)[] = []
  let beforeName = false
  let lastName = ''
  for (let at = 0; at < text.length; at++) {
    switch (text.charAt(at)) {
      case '{':
        open.push({ names: new Set(), isMap: open.at(-1) !== undefined && maps.has(folded(lastName)) })
        beforeName = true
        break
      case '[':
        open.push(undefined)
        break
      case '}':
      case ']':
        open.pop()
        beforeName = false
        break
      case ',':
        beforeName = open.at(-1) !== undefined
        break
      case '"': {
        const end = endOfString(text, at)
        const object = open.at(-1)
        if (beforeName && object !== undefined) {
          lastName = JSON.parse(text.slice(at, end)) as string
          const name = object.isMap ? lastName : folded(lastName)
          if (object.names.has(name)) return lastName
          object.names.add(name)
          beforeName = false
        }
        at = end - 1
      }
    }
  }
  return undefined
}

function endOfString(text: string, start: number): number {
  let end = start + 1
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1
  return end + 1
}

/** Upper case first: it takes the long s to S, and lower case the Kelvin sign to k, as readers in Go do. */
function folded(name: string): string {
  return name.toUpperCase().toLowerCase()
}
