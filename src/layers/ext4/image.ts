import { asciiBytes, quoted, type ByteString } from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import { BlockWriter, type BlockSink } from './block-writer.js'
import { writeDirectories } from './directory.js'
import { finishData } from './file-data.js'
import { blockBytes, fileTypes, firstFreeInode, maxFileBytes, maxLinks, maxNameBytes, rootInode } from './format.js'
import { fileType, maxInlineLinkBytes, type Inode, type InodeAttributes, type InodeTimes } from './inode.js'
import { finishLayout, type ImageSize } from './layout.js'
import { isPlainName, joinPath, pathComponents, splitPath } from './path.js'
import { noTime, recodeTime } from './time.js'
import { emptyXattrBlock, packXattrs, unpackInlineXattrs, unpackXattrBlock, type Xattrs } from './xattrs.js'

export interface ImageLimits {
  readonly maxBlocks: number
  /** Estimated memory for names, inodes and attributes, in bytes. */
  readonly maxMetadataBytes: number
  /** In one directory; some millions if not given, of which a `Map` still holds twice as many. */
  readonly maxDirectoryEntries?: number
}

const noTimes: InodeTimes = { accessed: noTime, modified: noTime, changed: noTime, created: noTime }
const noXattrs: Xattrs = new Map()
const noBytes = asciiBytes('')
/** What an inode costs in memory here, without its name, and what another name of one does. */
const inodeCost = 512
const linkCost = 256
const defaultMaxDirectoryEntries = 2 ** 23

interface OpenFile {
  readonly inode: Inode
  readonly path: ByteString
  readonly firstBlock: number
  written: number
}

/**
 * Builds a compact ext4 file system, the one that the platform makes of a layer: no journal, no
 * identifiers, and every detail of the layout a function of the sequence of calls.
 *
 * Paths are taken from the root, whether they begin with `/` or not. The data of a file is written
 * between its {@link create} and the next call.
 */
export class Ext4Image {
  private readonly writer: BlockWriter
  private readonly root: Inode
  /** By number; what is before the first free one is reserved, and empty but for the root. */
  private readonly inodes: (Inode | undefined)[] = []
  /** Attribute blocks that a later entry may still change. */
  private readonly xattrBlocks = new Map<number, Uint8Array>()
  private openFile: OpenFile | undefined
  /** Where the last path led but for its last component. A directory stays one, so this stays true. */
  private lastParent: { readonly path: ByteString; readonly directory: Inode } | undefined
  private metadataBytes = 0

  constructor(
    sink: BlockSink,
    private readonly limits: ImageLimits
  ) {
    this.writer = new BlockWriter(sink, limits.maxBlocks)
    this.root = newInode(rootInode, true, undefined, noBytes)
    this.root.links += 1 // the root is its own parent
    this.update(this.root, directoryAttributes(0o755), noBytes)
    this.inodes[rootInode] = this.root
    this.inodes.length = firstFreeInode
    this.create(asciiBytes('lost+found'), directoryAttributes(0o700))
  }

  /** Creates the missing parents of `path`, with the owner, mode and times of the nearest one there is. */
  makeParents(path: ByteString): void {
    this.closeFile()
    const { parent, name: last } = splitPath(path)
    if (this.lastParent?.path === parent && isPlainName(last)) return
    let directory = this.root
    for (const name of pathComponents(path).slice(0, -1)) {
      let child = directory.children?.get(name)
      if (child === undefined) {
        checkParent(directory, name, path)
        child = this.createIn(directory, name, implicitDirectory(directory), path)
        child.implicit = true
      }
      directory = child
    }
    if (directory.children !== undefined && isPlainName(last)) this.lastParent = { path: parent, directory }
  }

  /** Creates a file, or changes one where that needs no new data blocks. */
  create(path: ByteString, attributes: InodeAttributes): void {
    this.closeFile()
    const { directory, name } = this.locate(path)
    if (name === undefined) {
      this.update(this.root, attributes, path)
      return
    }
    const inode = this.createIn(directory, name, attributes, path)
    inode.implicit = false
    if (fileType(inode) === fileTypes.regular && inode.size > 0) {
      this.writer.checkRoom(inode.size)
      this.openFile = { inode, path, firstBlock: this.writer.next, written: 0 }
    }
  }

  /** Data of the file that was created last. */
  write(bytes: Uint8Array): void {
    if (this.openFile === undefined) throw new Error('no file is open for writing')
    this.openFile.written += bytes.length
    this.writer.write(bytes)
  }

  /** Gives the file at `target` a second name. */
  link(target: ByteString, path: ByteString): void {
    this.closeFile()
    const { directory, name } = this.locate(path)
    const existing = name === undefined ? this.root : directory.children?.get(name)
    if (name === undefined || (existing && (existing.children || existing.links < 2))) {
      throw new LayerError('link-orphans-file', `hard link ${quoted(path)} would remove an existing file or directory`)
    }
    const inode = this.lookUp(target)
    if (inode === undefined) {
      throw new LayerError('link-target-missing', `hard link ${quoted(path)}: no target ${quoted(target)} before it`)
    }
    if (inode.children !== undefined) {
      throw new LayerError(
        'link-target-directory',
        `hard link ${quoted(path)}: target ${quoted(target)} is a directory`
      )
    }
    if (existing !== inode && inode.links >= maxLinks) throw tooManyLinks(target)
    this.charge(linkCost + name.length)
    if (existing !== undefined) existing.links -= 1
    inode.links += 1
    this.setChild(directory, name, inode)
  }

  /**
   * Adds an extended attribute to the file at `path`, which must exist. Everything else about it is
   * read back and written again, which does not leave all times as they were: see {@link recodeTime}.
   */
  addXattr(path: ByteString, name: ByteString, value: Uint8Array): void {
    this.closeFile()
    const inode = this.lookUp(path)
    if (inode === undefined) throw notDirectory(path)
    if (inode.blocks > 0) throw overwritesData(path)
    const { implicit } = inode
    const block = this.xattrBlocks.get(inode.xattrBlock)
    const xattrs = new Map([...(block ? unpackXattrBlock(block) : noXattrs), ...inlineXattrsOf(inode), [name, value]])
    this.create(path, { ...inode, times: recodeTimes(inode.times), xattrs })
    inode.implicit = implicit
  }

  /** Writes everything that is not file data. The image is complete afterwards. */
  finish(): ImageSize {
    this.closeFile()
    writeDirectories(this.root, this.writer)
    const size = finishLayout(this.inodes, this.writer)
    for (const [index, block] of this.xattrBlocks) this.writer.place(index, block)
    return size
  }

  /** Paths of the directories that were made as parents and never got an entry, in order, `limit` at most. */
  implicitDirectories(limit: number): ByteString[] {
    const found: ByteString[] = []
    for (const inode of this.inodes) {
      if (found.length === limit) break
      if (inode?.implicit === true) found.push(pathOf(inode))
    }
    return found
  }

  private createIn(directory: Inode, name: ByteString, attributes: InodeAttributes, path: ByteString): Inode {
    const existing = directory.children?.get(name)
    const isDirectory = fileType(attributes) === fileTypes.directory
    if (existing?.children !== undefined && !isDirectory) {
      throw new LayerError('replaces-directory', `${quoted(path)} is a directory and comes again as something else`)
    }
    if (existing !== undefined && existing.children === undefined && isDirectory) {
      throw new LayerError('replaces-file-with-directory', `${quoted(path)} is a file and comes again as a directory`)
    }
    if (existing === undefined && isDirectory && directory.links >= maxLinks) throw tooManyLinks(path)
    // A file with another name keeps what it has under that name.
    if (existing !== undefined && (existing.children !== undefined || existing.links < 2)) {
      this.update(existing, attributes, path)
      return existing
    }
    this.charge(inodeCost + name.length)
    const inode = newInode(this.inodes.length, isDirectory, directory, name)
    this.update(inode, attributes, path)
    this.inodes.push(inode)
    if (existing !== undefined) existing.links -= 1
    inode.links += 1
    this.setChild(directory, name, inode)
    if (isDirectory) directory.links += 1
    return inode
  }

  /** Gives an inode new attributes. Data cannot be taken back, and attributes in the inode stay. */
  private update(inode: Inode, attributes: InodeAttributes, path: ByteString): void {
    const type = fileType(attributes)
    if (inode.children !== undefined && type !== fileTypes.directory) {
      throw new LayerError('replaces-directory', `${quoted(path)} is a directory and comes again as something else`)
    }
    if (inode.blocks > 0) throw overwritesData(path)
    const isLink = type === fileTypes.symbolicLink
    if (type === fileTypes.regular && attributes.size > maxFileBytes) {
      throw new LayerError(
        'file-too-large',
        `${quoted(path)} has ${attributes.size} bytes, the limit is ${maxFileBytes}`
      )
    }
    inode.mode = isLink ? attributes.mode | 0o777 : attributes.mode
    inode.uid = attributes.uid
    inode.gid = attributes.gid
    inode.times = attributes.times
    inode.deviceMajor = attributes.deviceMajor
    inode.deviceMinor = attributes.deviceMinor
    inode.linkTarget = isLink && attributes.linkTarget.length <= maxInlineLinkBytes ? attributes.linkTarget : noBytes
    inode.size = isLink ? attributes.linkTarget.length : type === fileTypes.regular ? attributes.size : 0
    const kept = inlineXattrsOf(inode)
    const xattrs = kept.size === 0 ? attributes.xattrs : new Map([...kept, ...attributes.xattrs])
    const hasData = type === fileTypes.regular ? inode.size > 0 : isLink && inode.size > maxInlineLinkBytes
    this.storeXattrs(inode, xattrs, hasData, path)
    if (isLink && hasData) this.storeLinkTarget(inode, attributes.linkTarget)
  }

  private storeXattrs(inode: Inode, xattrs: Xattrs, isFinal: boolean, path: ByteString): void {
    const { inline, block } = packXattrs(xattrs, path)
    inode.inlineXattrs = inline
    if (inode.xattrBlock !== 0) {
      this.xattrBlocks.set(inode.xattrBlock, block ?? emptyXattrBlock())
    } else if (block !== undefined) {
      inode.xattrBlock = this.writer.next
      inode.allBlocks += 1
      if (isFinal) {
        this.writer.write(block)
      } else {
        this.charge(blockBytes)
        this.writer.reserve()
        this.xattrBlocks.set(inode.xattrBlock, block)
      }
    }
  }

  private storeLinkTarget(inode: Inode, target: ByteString): void {
    const start = this.writer.next
    this.writer.write(Buffer.from(target, 'latin1'))
    finishData(inode, start, this.writer)
  }

  private closeFile(): void {
    if (this.openFile === undefined) return
    const { inode, path, firstBlock, written } = this.openFile
    this.openFile = undefined
    if (written !== inode.size) throw new Error(`${quoted(path)} has ${inode.size} bytes, ${written} were written`)
    finishData(inode, firstBlock, this.writer)
  }

  /** The parent, which must be a directory, and the last component; none for the root itself. */
  private locate(path: ByteString): { directory: Inode; name: ByteString | undefined } {
    const { parent, name: last } = splitPath(path)
    if (this.lastParent?.path === parent && isPlainName(last)) {
      checkParent(this.lastParent.directory, last, path)
      return { directory: this.lastParent.directory, name: last }
    }
    const components = pathComponents(path)
    const name = components.pop()
    if (name === undefined) return { directory: this.root, name }
    const directory = this.walk(components)
    checkParent(directory, name, path)
    return { directory, name }
  }

  private lookUp(path: ByteString): Inode | undefined {
    const { directory, name } = this.locate(path)
    return name === undefined ? this.root : directory.children?.get(name)
  }

  private walk(components: readonly ByteString[]): Inode | undefined {
    let inode: Inode | undefined = this.root
    for (const name of components) inode = inode?.children?.get(name)
    return inode
  }

  private setChild(directory: Inode, name: ByteString, inode: Inode): void {
    directory.children?.set(name, inode)
    const limit = this.limits.maxDirectoryEntries ?? defaultMaxDirectoryEntries
    if ((directory.children?.size ?? 0) > limit) {
      throw new LayerError('metadata-limit', `a directory of the layer has more than ${limit} entries`)
    }
  }

  private charge(bytes: number): void {
    this.metadataBytes += bytes
    if (this.metadataBytes > this.limits.maxMetadataBytes) {
      const limit = `${this.limits.maxMetadataBytes} bytes`
      throw new LayerError('metadata-limit', `names and attributes of the layer take more than ${limit} of memory`)
    }
  }
}

function newInode(number: number, isDirectory: boolean, parent: Inode | undefined, name: ByteString): Inode {
  return {
    number,
    parent: isDirectory ? parent : undefined,
    name: isDirectory ? name : noBytes,
    children: isDirectory ? new Map() : undefined,
    links: isDirectory ? 1 : 0, // a directory is linked from itself
    mode: 0,
    uid: 0,
    gid: 0,
    times: noTimes,
    size: 0,
    linkTarget: noBytes,
    deviceMajor: 0,
    deviceMinor: 0,
    firstBlock: 0,
    blocks: 0,
    allBlocks: 0,
    xattrBlock: 0,
    inlineXattrs: undefined,
    implicit: false
  }
}

function directoryAttributes(permissions: number): InodeAttributes {
  return {
    mode: fileTypes.directory | permissions,
    uid: 0,
    gid: 0,
    times: noTimes,
    size: 0,
    linkTarget: noBytes,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: noXattrs
  }
}

function implicitDirectory(parent: Inode): InodeAttributes {
  const { mode, uid, gid, times } = parent
  return { ...directoryAttributes(0), mode, uid, gid, times: recodeTimes(times) }
}

function recodeTimes(times: InodeTimes): InodeTimes {
  return {
    accessed: recodeTime(times.accessed),
    modified: recodeTime(times.modified),
    changed: recodeTime(times.changed),
    created: recodeTime(times.created)
  }
}

function inlineXattrsOf(inode: Inode): Xattrs {
  return inode.inlineXattrs === undefined ? noXattrs : unpackInlineXattrs(inode.inlineXattrs)
}

function pathOf(directory: Inode): ByteString {
  const names: ByteString[] = []
  for (let inode: Inode | undefined = directory; inode?.parent !== undefined; inode = inode.parent)
    names.push(inode.name)
  return joinPath(names.reverse())
}

function checkParent(parent: Inode | undefined, name: ByteString, path: ByteString): asserts parent is Inode {
  if (name.length > maxNameBytes) {
    throw new LayerError(
      'name-too-long',
      `${quoted(path)} has a name of ${name.length} bytes, the limit is ${maxNameBytes}`
    )
  }
  if (parent?.children === undefined) throw notDirectory(path)
}

function notDirectory(path: ByteString): LayerError {
  return new LayerError('parent-not-directory', `${quoted(path)}: a parent is missing or is not a directory`)
}

function overwritesData(path: ByteString): LayerError {
  return new LayerError('overwrites-data', `${quoted(path)} comes again, and its first data cannot be overwritten`)
}

function tooManyLinks(path: ByteString): LayerError {
  return new LayerError('too-many-links', `${quoted(path)} would get more than ${maxLinks} links or subdirectories`)
}
