import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { layerRootHash, type LayerHash } from '../../../src/layers/index.js'
import { describeWith } from '../image/support.js'
import { Ext4Tools, padInodeBitmaps, type PrintedInode } from './ext4-tools.js'
import { RandomTree, type NodeKind, type NodeTime, type TreeNode } from './random-tree.js'
import { seeded } from './seeded.js'
import { pieces } from './tar-builder.js'

/** Each tree is another one, and the same one on every machine. */
const trees = [
  { seed: 1, operations: 0, attributes: 'tidy' },
  { seed: 2, operations: 10, attributes: 'tidy' },
  { seed: 3, operations: 60, attributes: 'any' },
  { seed: 4, operations: 150, attributes: 'tidy' },
  { seed: 5, operations: 300, attributes: 'any' },
  { seed: 6, operations: 700, attributes: 'tidy' }
] as const

describeWith(['debugfs', 'e2fsck', 'veritysetup'], 'the file system of a random layer', () => {
  for (const { seed, operations, attributes } of trees) {
    describe(`of ${operations} entries and some, with ${attributes} attributes, seed ${seed}`, () => {
      let tools: Ext4Tools
      let image: Buffer
      let tree: RandomTree
      let hash: LayerHash
      beforeAll(async () => {
        tree = new RandomTree(seeded(seed), operations, attributes)
        const made = await imageOf(tree.tar)
        image = made.image
        hash = made.hash
        tools = new Ext4Tools(image)
      })
      afterAll(() => {
        tools.remove()
      })

      it('has the tree of the layer in it, as debugfs reads it', () => {
        expect(treeIn(tools, hash.inodes)).toEqual(expectedTree(tree.root))
      })

      if (attributes === 'tidy') {
        it('is without fault for e2fsck, but for one that the platform makes', () => {
          expect(tools.check().complaints).toEqual(['Padding at end of inode bitmap is not set. Fix? no'])
          const padded = new Ext4Tools(padInodeBitmaps(image))
          try {
            expect(padded.check()).toMatchObject({ exitCode: 0, complaints: [] })
          } finally {
            padded.remove()
          }
        })
      }

      it('has the root hash that veritysetup computes and verifies', () => {
        expect(tools.verityRootHash()).toBe(hash.rootHash)
      })
    })
  }

  it('is found faulty when a bit of it is not as it should be', async () => {
    const { image } = await imageOf(new RandomTree(seeded(3), 20).tar)
    const padded = padInodeBitmaps(image)
    // The link count of the root directory, in the first inode table.
    const table = 4096 * padded.readUInt32LE(4096 + 8)
    padded.writeUInt16LE(1, table + 256 + 0x1a)
    const tools = new Ext4Tools(padded)
    try {
      expect(tools.check().exitCode).toBe(4)
    } finally {
      tools.remove()
    }
  })
})

interface File {
  readonly inode: number
  readonly kind: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly links: number
  readonly times: readonly string[]
  readonly device: string | undefined
  /** Contents of a file, target of a link. */
  readonly data: string
  readonly xattrs: Readonly<Record<string, string>>
}

const typeNames: Readonly<Record<NodeKind, string>> = {
  file: 'regular',
  directory: 'directory',
  'symbolic-link': 'symlink',
  'character-device': 'character special',
  'block-device': 'block special',
  fifo: 'FIFO'
}

/** By their paths; names of one file have the number of the first of them in `inode`. */
function expectedTree(root: TreeNode): Map<string, File> {
  const numbers = new Map<TreeNode, number>()
  const files = new Map<string, File>()
  const visit = (path: string, node: TreeNode) => {
    if (!numbers.has(node)) numbers.set(node, numbers.size)
    files.set(path, describeNode(node, numbers.get(node) ?? 0))
    for (const [name, child] of sorted(node.children)) visit(`${path}/${name}`, child)
  }
  visit('', root)
  return files
}

function describeNode(node: TreeNode, inode: number): File {
  const isDirectory = node.kind === 'directory'
  const subdirectories = [...node.children.values()].filter(({ kind }) => kind === 'directory').length
  const isDevice = node.kind === 'character-device' || node.kind === 'block-device'
  return {
    inode,
    kind: typeNames[node.kind],
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    links: isDirectory ? 2 + subdirectories : node.names,
    times: [node.accessed, node.modified, node.changed, node.modified].map(storedTime),
    device: isDevice ? `${node.major}:${node.minor}` : undefined,
    data: node.kind === 'symbolic-link' ? node.target : node.content.toString('latin1'),
    xattrs: Object.fromEntries(sorted(node.xattrs).map(([name, value]) => [name, value.toString('hex')]))
  }
}

/** Documentation of the kernel, "Inode Timestamps": two more bits of the seconds below the nanoseconds. */
function storedTime({ seconds, nanoseconds }: NodeTime): string {
  const stored = [seconds % 2 ** 32, nanoseconds * 4 + Math.floor(seconds / 2 ** 32)]
  return stored.map((half) => half.toString(16).padStart(8, '0')).join(':')
}

function treeIn(tools: Ext4Tools, count: number): Map<string, File> {
  const inodes = new Map([...tools.inodes(count)].filter(([, { links }]) => links > 0))
  const having = (suits: (inode: PrintedInode) => boolean) =>
    [...inodes].filter(([, inode]) => suits(inode)).map(([number]) => number)
  const lists = tools.directories(having(({ type }) => type === 'directory'))
  const contents = tools.contents(
    having(({ type, fastTarget }) => type === 'regular' || (type === 'symlink' && fastTarget === undefined))
  )
  const requests = [...inodes].flatMap(([number, { xattrNames }]) => xattrNames.map((name) => [number, name] as const))
  const values = tools.xattr(requests)
  const xattrs = new Map<number, Record<string, string>>()
  for (const [i, [number, name]] of requests.entries()) {
    xattrs.set(number, { ...xattrs.get(number), [name]: values[i]?.toString('hex') ?? 'none' })
  }

  const numbers = new Map<number, number>()
  const files = new Map<string, File>()
  const visit = (path: string, number: number) => {
    const inode = inodes.get(number)
    if (inode === undefined) throw new Error(`${path} has inode ${number}, which does not exist`)
    if (!numbers.has(number)) numbers.set(number, numbers.size)
    const { type: kind, mode, uid, gid, links, accessed, modified, changed, created, device, fastTarget } = inode
    const times = [accessed, modified, changed, created]
    const data = fastTarget ?? contents.get(number)?.toString('latin1') ?? ''
    expect(kind === 'directory' ? 0 : inode.size).toBe(data.length)
    const others = { times, device, data, xattrs: xattrs.get(number) ?? {} }
    files.set(path, { inode: numbers.get(number) ?? 0, kind, mode, uid, gid, links, ...others })
    for (const [name, child] of sorted(new Map(lists.get(number)))) visit(`${path}/${name}`, child)
  }
  visit('', 2)
  expect(numbers.size).toBe(inodes.size)
  return files
}

function sorted<Value>(map: ReadonlyMap<string, Value>): [string, Value][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}

async function imageOf(tar: Uint8Array): Promise<{ image: Buffer; hash: LayerHash }> {
  const blocks: Buffer[] = []
  const hash = await layerRootHash(pieces(tar, 65_536), {
    onBlock: (index, block) => {
      blocks[index] = Buffer.from(block)
    }
  })
  return { image: Buffer.concat(blocks), hash }
}
