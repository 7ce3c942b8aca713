import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'
import { ImageError } from './image-error.js'
import { quote } from './manifest.js'

export interface LayerFile {
  /** Where it lies in the image: `/app/router.cjs` or `app/router.cjs`. */
  readonly path: string
  /** Permission bits, at most 0o7777. */
  readonly mode: number
  readonly content: Uint8Array
}

const blockBytes = 512
const directoryMode = 0o755
/** Eleven octal digits; beyond them a pax size would be needed, and nobody holds 8 GiB in memory. */
const maxFileBytes = 8 * 1024 ** 3 - 1
const maxComponentBytes = 255

/**
 * The layer as a tar file, the same bytes for the same files on every machine: sorted by the bytes of
 * the name, owned by root, times zero, every parent directory present as an entry (a layer without
 * them gets other root hashes from older hosts), two zero blocks at the end and no padding beyond.
 *
 * ustar, with a pax header only for a name that ustar cannot hold (POSIX.1-2001, pax, "ustar
 * Interchange Format"). Throws an `ImageError` `image.content` for a path or mode that is unsafe or ambiguous.
 */
export function layerTar(files: readonly LayerFile[]): Uint8Array {
  const entries = [...entriesOf(files).values()].sort((a, b) =>
    Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))
  )
  return concatBytes(...entries.flatMap(tarEntry), new Uint8Array(2 * blockBytes))
}

interface Entry {
  /** Without a slash at either end. */
  readonly name: string
  readonly kind: 'directory' | 'file'
  readonly mode: number
  readonly content: Uint8Array
}

function entriesOf(files: readonly LayerFile[]): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>()
  for (const { path, mode, content } of files) {
    const components = componentsOf(path)
    const name = components.join('/')
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777)
      throw refused(path, 'has a mode that is no permission bits')
    if (content.length > maxFileBytes) throw refused(path, 'is larger than 8 GiB')
    if (entries.has(name)) throw refused(path, 'occurs twice')
    for (let depth = 1; depth < components.length; depth++) {
      const parent = components.slice(0, depth).join('/')
      if (entries.get(parent)?.kind === 'file') throw refused(path, `lies below the file ${quote(parent)}`)
      entries.set(parent, { name: parent, kind: 'directory', mode: directoryMode, content: new Uint8Array(0) })
    }
    entries.set(name, { name, kind: 'file', mode, content })
  }
  return entries
}

function componentsOf(path: string): readonly string[] {
  const components = path.replace(/^\//, '').split('/')
  for (const component of components) {
    if (component === '' || component === '.' || component === '..')
      throw refused(path, 'is not a plain path to a file')
    if (component.includes('\0') || utf8.decode(utf8.encode(component)) !== component)
      throw refused(path, 'has a character that no file name can have')
    // `.wh.x` in a layer means "x is deleted here" (OCI image-spec layer.md, "Whiteouts").
    if (component.startsWith('.wh.')) throw refused(path, 'has a name that layers use for deleted files')
    if (utf8.encode(component).length > maxComponentBytes)
      throw refused(path, `has a name longer than ${maxComponentBytes} bytes`)
  }
  return components
}

function tarEntry({ name, kind, mode, content }: Entry): readonly Uint8Array[] {
  const path = kind === 'directory' ? `${name}/` : name
  const type = kind === 'directory' ? '5' : '0'
  const place = ustarPlace(path)
  const body = [
    header({ ...(place ?? placeholder(path)), mode, size: content.length, type }),
    content,
    padding(content.length)
  ]
  return place === undefined ? [...paxPath(path), ...body] : body
}

interface UstarPlace {
  readonly prefix: string
  readonly name: string
}

/** Splits a long path at a slash into `prefix` (155 bytes) and `name` (100); undefined if it does not fit. */
function ustarPlace(path: string): UstarPlace | undefined {
  // Readers disagree on the encoding of anything but ASCII in ustar fields; pax records are UTF-8.
  if (!/^[\x00-\x7f]*$/.test(path)) return undefined
  if (path.length <= 100) return { prefix: '', name: path }
  for (let slash = path.indexOf('/'); slash !== -1 && slash <= 155; slash = path.indexOf('/', slash + 1)) {
    const name = path.slice(slash + 1)
    if (name !== '' && name.length <= 100) return { prefix: path.slice(0, slash), name }
  }
  return undefined
}

/** What a reader that ignores pax headers would see in place of the path. */
function placeholder(path: string): UstarPlace {
  return { prefix: '', name: path.replace(/[^!-~]/g, '_').slice(-100) }
}

function paxPath(path: string): readonly Uint8Array[] {
  const record = paxRecord('path', path)
  const size = record.length
  return [header({ prefix: '', name: 'PaxHeaders/path', mode: 0o644, size, type: 'x' }), record, padding(size)]
}

/** `LENGTH KEY=VALUE\n`; LENGTH counts its own digits too. */
function paxRecord(key: string, value: string): Uint8Array {
  const rest = utf8.encode(` ${key}=${value}\n`)
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return concatBytes(utf8.encode(String(length)), rest)
}

interface HeaderFields extends UstarPlace {
  readonly mode: number
  readonly size: number
  readonly type: string
}

function header({ prefix, name, mode, size, type }: HeaderFields): Uint8Array {
  const block = new Uint8Array(blockBytes)
  const put = (offset: number, text: string) => {
    block.set(utf8.encode(text), offset)
  }
  put(0, name)
  put(100, octal(mode, 7))
  put(108, octal(0, 7))
  put(116, octal(0, 7))
  put(124, octal(size, 11))
  put(136, octal(0, 11))
  put(148, ' '.repeat(8))
  put(156, type)
  put(257, 'ustar\0' + '00')
  put(329, octal(0, 7))
  put(337, octal(0, 7))
  put(345, prefix)
  const sum = block.reduce((total, byte) => total + byte, 0)
  put(148, `${octal(sum, 6)}\0 `)
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function padding(size: number): Uint8Array {
  return new Uint8Array((blockBytes - (size % blockBytes)) % blockBytes)
}

function refused(path: string, problem: string): ImageError {
  return new ImageError('image.content', `file ${quote(path)} ${problem}`)
}
