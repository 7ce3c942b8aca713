import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** An inode as debugfs prints it. */
export interface PrintedInode {
  readonly type: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly links: number
  /** The stored halves in hexadecimal, `seconds:rest`. */
  readonly changed: string
  readonly accessed: string
  readonly modified: string
  readonly created: string
  /** `major:minor`, of a device. */
  readonly device: string | undefined
  /** Of a symbolic link that is stored in the inode. */
  readonly fastTarget: string | undefined
  readonly xattrNames: readonly string[]
}

/** Runs the tools of e2fsprogs and cryptsetup on one image, which is on disk until `remove`. */
export class Ext4Tools {
  private readonly folder = mkdtempSync(join(tmpdir(), 'confrouter-ext4-'))
  private readonly image = join(this.folder, 'image')

  constructor(bytes: Uint8Array) {
    writeFileSync(this.image, bytes)
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Inodes by number, 2 (the root) and those from 11 to `last`. */
  inodes(last: number): ReadonlyMap<number, PrintedInode> {
    const numbers = [2, ...Array.from({ length: last - 10 }, (_, i) => i + 11)]
    const printed = this.debugfs(numbers.map((number) => `stat <${number}>`))
    return new Map(numbers.map((number, i) => [number, parseInode(printed[i] ?? '')]))
  }

  /** Names and inode numbers in each of these directories, without `.` and `..`, in the order in which they are stored. */
  directories(numbers: readonly number[]): ReadonlyMap<number, readonly (readonly [name: string, inode: number])[]> {
    const printed = this.debugfs(numbers.map((number) => `ls -p <${number}>`))
    return new Map(numbers.map((number, i) => [number, parseList(printed[i] ?? '')]))
  }

  /** The data of these files, read through their extents. */
  contents(numbers: readonly number[]): ReadonlyMap<number, Buffer> {
    const file = (number: number) => join(this.folder, `content-${number}`)
    this.debugfs(numbers.map((number) => `dump <${number}> ${file(number)}`))
    return new Map(numbers.map((number) => [number, readFileSync(file(number))]))
  }

  xattr(requests: readonly (readonly [inode: number, name: string])[]): readonly Buffer[] {
    const file = (i: number) => join(this.folder, `xattr-${i}`)
    this.debugfs(requests.map(([inode, name], i) => `ea_get -f ${file(i)} <${inode}> ${name}`))
    return requests.map((_, i) => readFileSync(file(i)))
  }

  /** What `e2fsck -fn` has to say, passes and summary left out, and its exit code. */
  check(): { readonly complaints: readonly string[]; readonly exitCode: number | null } {
    const { stdout, status } = spawnSync('e2fsck', ['-fn', this.image], { encoding: 'latin1' })
    const complaints = stdout
      .split('\n')
      .filter((line) => line.trim() !== '' && !/^Pass \d|: \d+\/\d+ files |Filesystem still has errors/.test(line))
    return { complaints, exitCode: status }
  }

  /** The root hash that veritysetup computes, after it has verified the image against the tree that it wrote. */
  verityRootHash(): string {
    const parameters = [
      '--no-superblock',
      '--format=1',
      '--hash=sha256',
      '--data-block-size=4096',
      '--hash-block-size=4096',
      `--salt=${'00'.repeat(32)}`
    ]
    const tree = join(this.folder, 'tree')
    const printed = execFileSync('veritysetup', ['format', ...parameters, this.image, tree], { encoding: 'utf8' })
    const root = /^Root hash:\s*([0-9a-f]{64})$/m.exec(printed)?.[1] ?? 'none'
    execFileSync('veritysetup', ['verify', ...parameters, this.image, tree, root], { stdio: 'pipe' })
    return root
  }

  /** What each command prints, in one process for all of them. */
  private debugfs(commands: readonly string[]): string[] {
    const script = join(this.folder, 'script')
    writeFileSync(script, `${commands.join('\n')}\n`)
    const printed = execFileSync('debugfs', ['-f', script, this.image], {
      encoding: 'latin1',
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    // It repeats each command before it answers.
    const answers = printed.split(/^debugfs: .*\n/m).slice(1)
    if (answers.length !== commands.length) throw new Error(`${answers.length} answers to ${commands.length} commands`)
    return answers
  }
}

/**
 * Sets the bits of the inode bitmaps that stand for no inode. The platform's converter leaves them 0, which is the one
 * thing that e2fsck finds in its images; with them set it has to find nothing.
 */
export function padInodeBitmaps(image: Uint8Array): Buffer {
  const padded = Buffer.from(image)
  const inodesPerGroup = padded.readUInt32LE(1024 + 0x28)
  const groups = Math.ceil(padded.readUInt32LE(1024 + 4) / 32_768)
  for (let group = 0; group < groups; group++) {
    const bitmap = 4096 * padded.readUInt32LE(4096 + 32 * group + 4)
    padded.fill(0xff, bitmap + inodesPerGroup / 8, bitmap + 4096)
  }
  return padded
}

function parseInode(text: string): PrintedInode {
  const find = (pattern: RegExp) => pattern.exec(text)?.[1]
  const number = (pattern: RegExp) => Number(find(pattern)) >>> 0
  const xattrs = /^Extended attributes:\n((?: {2}.*\n)*)/m.exec(text)?.[1] ?? ''
  return {
    type: find(/Type: (.*?) +Mode:/) ?? 'none',
    mode: Number.parseInt(find(/Mode: +([0-7]+)/) ?? '', 8),
    uid: number(/User: +(-?\d+)/),
    gid: number(/Group: +(-?\d+)/),
    size: number(/Size: (\d+)$/m),
    links: number(/^Links: (\d+)/m),
    changed: find(/^ ctime: 0x(\w+:\w+)/m) ?? '',
    accessed: find(/^ atime: 0x(\w+:\w+)/m) ?? '',
    modified: find(/^ mtime: 0x(\w+:\w+)/m) ?? '',
    created: find(/^crtime: 0x(\w+:\w+)/m) ?? '',
    device: find(/Device major\/minor number: (\d+:\d+)/)?.replace(/\b0+(?=\d)/g, ''),
    fastTarget: find(/^Fast link dest: "(.*)"$/m),
    xattrNames: [...xattrs.matchAll(/^ {2}(\S+) \(\d+\)/gm)].map(([, name]) => name ?? '').sort()
  }
}

function parseList(text: string): (readonly [name: string, inode: number])[] {
  return text
    .split('\n')
    .map((line) => /^\/(\d+)\/[0-7]{6}\/-?\d+\/-?\d+\/(.*)\/\d*\/$/s.exec(line))
    .flatMap((match) => (match === null ? [] : [[match[2] ?? '', Number(match[1])] as const]))
    .filter(([name, inode]) => inode !== 0 && name !== '.' && name !== '..')
}
