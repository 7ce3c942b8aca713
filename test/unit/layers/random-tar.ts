import type { NodeTime, TreeNode } from './random-tree.js'
import { pick, type Random } from './seeded.js'
import { base256, entry, octal, pax, type HeaderFields } from './tar-builder.js'

type Records = [key: string, value: Uint8Array | string][]
type Described = Pick<
  TreeNode,
  'mode' | 'uid' | 'gid' | 'modified' | 'accessed' | 'changed' | 'target' | 'major' | 'minor' | 'xattrs'
> & { readonly kind: keyof typeof typeFlags }

const typeFlags = {
  file: '0',
  'hard-link': '1',
  'symbolic-link': '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6'
} as const

/** A file, in one of the ways to store one: as it is, or with holes in the form of pax 1.0 or of old GNU. */
export function encodeFile(path: string, node: TreeNode, random: Random): Buffer {
  const way = random()
  if (way < 0.75 || node.content.length < 3) return tarEntry(path, node, random, { data: node.content })
  const { content } = node
  // The hole is a part of the contents from here on.
  const [from, to] = [Math.floor(content.length / 3), Math.floor((2 * content.length) / 3)]
  content.fill(0, from, to)
  const stored = Buffer.concat([content.subarray(0, from), content.subarray(to)])
  if (way < 0.88) {
    const map = `2\n0\n${from}\n${to}\n${content.length - to}\n`
    const data = Buffer.concat([Buffer.alloc(512, map.padEnd(512, '\0')), stored])
    return tarEntry('stored', node, random, { data }, [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', latin1(path)],
      ['GNU.sparse.realsize', String(content.length)]
    ])
  }
  const map = [0, from, to, content.length - to].map((number) => octal(number, 11)).join('')
  return tarEntry(path, node, random, {
    type: 'S',
    format: 'gnu',
    data: stored,
    patches: [
      [386, map],
      [483, octal(content.length, 11)]
    ]
  })
}

/** Headers for a file of any kind: numbers and names where they fit, else in records or in the ways of GNU. */
export function tarEntry(
  path: string,
  node: Described,
  random: Random,
  fields: HeaderFields = {},
  special: Records = []
): Buffer {
  const records: Records = [...special]
  const before: Buffer[] = []
  const written = `${pick(['', '', './', '/'], random)}${path}${node.kind === 'directory' && !path.endsWith('/') ? pick(['', '/'], random) : ''}`
  const long = (type: 'L' | 'K', key: string, text: string) => {
    if (text.length <= 100) return
    if (random() < 0.5) records.push([key, latin1(text)])
    else before.push(entry({ type, format: 'gnu', data: latin1(`${text}\0`) }))
  }
  long('L', 'path', written)
  long('K', 'linkpath', node.target)
  for (const [key, id] of [['uid', node.uid], ['gid', node.gid]] as const) if (id > 0o7777777) records.push([key, String(id)]) // prettier-ignore
  for (const [key, time] of [
    ['mtime', node.modified],
    ['atime', node.accessed],
    ['ctime', node.changed]
  ] as const) {
    if ((key === 'mtime' && time.nanoseconds > 0) || (key !== 'mtime' && time.seconds > 0)) records.push([key, decimal(time)]) // prettier-ignore
  }
  for (const [name, value] of node.xattrs) records.push([`SCHILY.xattr.${name}`, value])
  const header = entry({
    name: latin1(written).subarray(0, 100),
    linkName: node.target.slice(0, 100),
    type: typeFlags[node.kind],
    mode: octal(node.mode, 7),
    uid: octal(Math.min(node.uid, 0o7777777), 7),
    gid: octal(Math.min(node.gid, 0o7777777), 7),
    mtime: random() < 0.9 ? octal(node.modified.seconds, 11) : base256(BigInt(node.modified.seconds), 12),
    deviceMajor: octal(node.major, 7),
    deviceMinor: octal(node.minor, 7),
    ...fields
  })
  return Buffer.concat([...before, ...(records.length === 0 ? [] : [pax(records)]), header])
}

function decimal({ seconds, nanoseconds }: NodeTime): string {
  return nanoseconds === 0 ? String(seconds) : `${seconds}.${String(nanoseconds).padStart(9, '0')}`
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
