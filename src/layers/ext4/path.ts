import { joinBytes, sliceBytes, asciiBytes, type ByteString } from '../byte-string.js'

/** The components of a path seen from the root: `.`, `..` and empty ones resolved, none above the root. */
export function pathComponents(path: ByteString): ByteString[] {
  const components: ByteString[] = []
  for (const component of path.split('/')) {
    if (component === '' || component === '.') continue
    if (component === '..') components.pop()
    else components.push(component as ByteString)
  }
  return components
}

/** Whether a component is a name and not a word about the path: of `d/name` such a one says that the rest is its directory. */
export function isPlainName(name: ByteString): boolean {
  return name !== '' && name !== '.' && name !== '..'
}

/** Splits behind the last slash; nothing is resolved. */
export function splitPath(path: ByteString): { parent: ByteString; name: ByteString } {
  const end = path.lastIndexOf('/') + 1
  return { parent: sliceBytes(path, 0, end), name: sliceBytes(path, end) }
}

export function joinPath(components: readonly ByteString[]): ByteString {
  const slash = asciiBytes('/')
  return joinBytes(...components.flatMap((component, i) => (i === 0 ? [component] : [slash, component])))
}
