import { encodeFile, tarEntry } from './random-tar.js'
import { archive } from './tar-builder.js'
import { integer, pick, type Random } from './seeded.js'

export type NodeKind = 'file' | 'directory' | 'symbolic-link' | 'character-device' | 'block-device' | 'fifo'

export interface NodeTime {
  readonly seconds: number
  readonly nanoseconds: number
}

/** A file as it should come out of the image. Names and targets are byte strings, one character for each byte. */
export interface TreeNode {
  kind: NodeKind
  mode: number
  uid: number
  gid: number
  modified: NodeTime
  accessed: NodeTime
  changed: NodeTime
  content: Buffer
  target: string
  major: number
  minor: number
  xattrs: Map<string, Buffer>
  /** How many names it has; of a directory, its own and one. */
  names: number
  readonly children: Map<string, TreeNode>
}

const noTime: NodeTime = { seconds: 0, nanoseconds: 0 }
const sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 12_345, 70_001]

/**
 * A layer of `operations` entries, more or less, that are all allowed, and the tree that they make: kept here as a
 * plain tree, so that the image can be compared with something that knows nothing of ext4.
 */
export class RandomTree {
  readonly root = newNode('directory', { mode: 0o755 })
  private readonly parts: Buffer[] = []
  private readonly directories: { readonly path: string; readonly node: TreeNode }[] = [{ path: '', node: this.root }]

  constructor(
    private readonly random: Random,
    operations: number,
    private readonly attributes: 'tidy' | 'any' = 'tidy'
  ) {
    this.root.children.set('lost+found', newNode('directory', { mode: 0o700 }))
    for (let i = 0; i < operations; i++) this.addSomething()
    this.addLargeDirectory()
    this.addDeepPath()
  }

  get tar(): Buffer {
    return archive(...this.parts)
  }

  private addSomething(): void {
    const kind = this.random()
    if (kind < 0.35) this.addNode(this.place(), this.node('file'))
    else if (kind < 0.5) this.addDirectory()
    else if (kind < 0.6) this.addNode(this.place(), this.node('symbolic-link'))
    else if (kind < 0.68)
      this.addNode(this.place(), this.node(pick(['character-device', 'block-device', 'fifo'], this.random)))
    else if (kind < 0.76) this.addHardLink()
    else if (kind < 0.82) this.addWhiteout()
    else if (kind < 0.86) this.addOpaqueWhiteout()
    else if (kind < 0.91) this.addDirectoryAgain()
    else this.replaceSomething()
  }

  private addNode({ path, parent, name }: Place, node: TreeNode): void {
    this.parts.push(node.kind === 'file' ? encodeFile(path, node, this.random) : tarEntry(path, node, this.random))
    parent.children.set(name, node)
    node.names = 1
  }

  private addDirectory(): void {
    const place = this.place()
    const node = this.node('directory')
    this.addNode(place, node)
    this.directories.push({ path: `${place.path}/`, node })
  }

  private addHardLink(): void {
    const [target, place] = [this.someFile(), this.place()]
    if (target === undefined) return
    this.parts.push(tarEntry(place.path, { ...target.node, kind: 'hard-link', target: target.path }, this.random))
    place.parent.children.set(place.name, target.node)
    target.node.names += 1
  }

  private addWhiteout(): void {
    const { path, parent, name } = this.place(250)
    const directory = path.slice(0, path.length - name.length)
    this.parts.push(encodeFile(`${directory}.wh.${name}`, this.node('file'), this.random))
    parent.children.set(name, { ...newNode('character-device', { mode: 0 }), names: 1 })
  }

  private addOpaqueWhiteout(): void {
    const { path, node } = pick(this.directories, this.random)
    this.parts.push(encodeFile(`${path}.wh..wh..opq`, newNode('file', { mode: 0 }), this.random))
    node.xattrs.set('trusted.overlay.opaque', Buffer.from('y'))
  }

  /** The second entry counts, and attributes of the first one stay. */
  private addDirectoryAgain(): void {
    const { path, node } = pick(this.directories, this.random)
    const again = this.node('directory')
    this.parts.push(tarEntry(path === '' ? './' : path, again, this.random))
    const { mode, uid, gid, modified, accessed, changed, xattrs } = again
    Object.assign(node, { mode, uid, gid, modified, accessed, changed, xattrs: new Map([...node.xattrs, ...xattrs]) })
  }

  /** A file without data may come again, and so may one that keeps another name. */
  private replaceSomething(): void {
    const found = this.someFile(
      ({ names, content, target, xattrs }) =>
        names > 1 || (content.length === 0 && target.length < 60 && xattrs.size === 0)
    )
    if (found === undefined) return
    found.node.names -= 1
    this.addNode(found, this.node(pick(['file', 'symbolic-link', 'fifo'], this.random)))
  }

  /** More entries than fit a block, which ext4 may but need not index. */
  private addLargeDirectory(): void {
    const node = this.node('directory')
    this.addNode({ path: 'large', parent: this.root, name: 'large' }, node)
    for (let i = 0; i < 400; i++) {
      const name = `${i}-${'n'.repeat(integer(0, 240, this.random))}`
      const leaf = this.node(i % 10 === 0 ? 'symbolic-link' : 'fifo')
      this.addNode({ path: `large/${name}`, parent: node, name }, leaf)
    }
  }

  /** Its parents come from nowhere and look like the nearest one that came. */
  private addDeepPath(): void {
    const { path, node } = pick(this.directories, this.random)
    let parent = node
    let at = path
    for (let depth = 0; depth < 40; depth++) {
      const { mode, uid, gid, modified, accessed, changed } = parent
      const child = { ...newNode('directory', { mode }), names: 1, uid, gid, modified, accessed, changed }
      parent.children.set(`deep${depth}`, child)
      parent = child
      at += `deep${depth}/`
    }
    this.addNode({ path: `${at}leaf`, parent, name: 'leaf' }, this.node('file'))
  }

  /** A name that is not taken, in some directory. */
  private place(longest = 255): Place {
    const { path, node } = pick(this.directories, this.random)
    let name = ''
    while (name === '' || node.children.has(name)) name = someName(longest, this.random)
    return { path: path + name, parent: node, name }
  }

  private someFile(suits: (node: TreeNode) => boolean = () => true): (Place & { node: TreeNode }) | undefined {
    const files = this.directories.flatMap(({ path, node: parent }) =>
      [...parent.children]
        .filter(([, node]) => node.kind !== 'directory' && suits(node))
        .map(([name, node]) => ({ path: path + name, parent, name, node }))
    )
    return files.length === 0 ? undefined : pick(files, this.random)
  }

  private node(kind: NodeKind): TreeNode {
    const { random } = this
    const isDevice = kind === 'character-device' || kind === 'block-device'
    return {
      ...newNode(kind, { mode: kind === 'symbolic-link' ? 0o777 : integer(0, 0o7777, random) }),
      uid: someId(random),
      gid: someId(random),
      modified: someTime(random),
      accessed: random() < 0.3 ? someTime(random) : noTime,
      changed: random() < 0.3 ? someTime(random) : noTime,
      content: kind === 'file' ? someBytes(pick(sizes, random), random) : Buffer.alloc(0),
      target: kind === 'symbolic-link' ? someTarget(random) : '',
      major: isDevice ? integer(0, 0xfff, random) : 0,
      minor: isDevice ? integer(0, 0xfffff, random) : 0,
      xattrs: someXattrs(kind, this.attributes, random)
    }
  }
}

interface Place {
  readonly path: string
  readonly parent: TreeNode
  readonly name: string
}

function newNode(kind: NodeKind, { mode }: { readonly mode: number }): TreeNode {
  return {
    kind,
    mode,
    uid: 0,
    gid: 0,
    modified: noTime,
    accessed: noTime,
    changed: noTime,
    content: Buffer.alloc(0),
    target: '',
    major: 0,
    minor: 0,
    xattrs: new Map(),
    names: 0,
    children: new Map()
  }
}

/** Any bytes but `/`, NUL, and the newline, which would break the lists that are read back. */
function someName(longest: number, random: Random): string {
  const length = pick([1, 2, 8, 20, 99, 100, 101, 155, longest], random)
  const alphabet = pick(['abcXYZ019-_.', ' "\'\\$*?~#%', '\u00c3\u00a4\u00ff\u0080\u0001\u001b\u007f', 'x'], random)
  let name = pick(['', 'f', '-', '..', '...'], random)
  while (name.length < length) name += pick([...alphabet], random)
  name = name.slice(0, longest)
  return name === '.' || name === '..' || name.startsWith('.wh.') ? `_${name}`.slice(0, longest) : name
}

function someTarget(random: Random): string {
  const length = pick([1, 10, 58, 59, 60, 61, 100, 101, 1000, 4095], random)
  return `${pick(['/', '../', '\u00ff', ' '], random)}${'t'.repeat(length)}`.slice(0, length)
}

function someId(random: Random): number {
  return pick([0, 0, 1000, 65_535, 65_536, 0o7777777, 0o10000000, 2 ** 32 - 2], random)
}

/** Not before 1970 and not from 2038 to 2106, where the platform writes other times than it reads. */
function someTime(random: Random): NodeTime {
  const seconds = integer(0, 2 ** 31 - 1, random) + (random() < 0.1 ? 2 ** 32 : 0)
  return { seconds, nanoseconds: random() < 0.4 ? integer(0, 999_999_999, random) : 0 }
}

function someBytes(length: number, random: Random): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = random() * 256
  return bytes
}

/**
 * Those of a directory always fit its inode: the platform loses the others when the directory comes again. Tidy ones
 * have a prefix that Linux knows and a value: of a block with others in it, as the platform writes it, e2fsck says that
 * it is corrupt.
 */
function someXattrs(kind: NodeKind, attributes: 'tidy' | 'any', random: Random): Map<string, Buffer> {
  if (random() < 0.7) return new Map()
  if (kind === 'directory') return new Map([['user.d', someBytes(integer(0, 8, random), random)]])
  const names = ['user.a', 'user.long-name-of-an-attribute', 'trusted.t', 'security.capability', 'user.b']
  if (attributes === 'any') names.push('strange')
  const lengths = [1, 20, 64, 600, ...(attributes === 'any' ? [0, 0] : [])]
  const count = integer(1, names.length, random)
  return new Map(names.slice(0, count).map((name) => [name, someBytes(pick(lengths, random), random)] as const))
}
