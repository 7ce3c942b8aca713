import { hash } from 'node:crypto'
import { parseSha256Hex, type Sha256Hex } from '../base/digest.js'

const blockBytes = 4096
const saltBytes = 32
const digestBytes = 32
const digestsPerBlock = blockBytes / digestBytes
const zeroBlock = Buffer.alloc(blockBytes)

/**
 * The dm-verity tree of a device (format version 1, SHA-256, 4096-byte blocks, salt of 32 zero
 * bytes): the digests of the blocks, in blocks of their own, hashed again until one is left.
 *
 * Blocks come in any order, each of them once. Digests are kept only until the 128 of one hash block
 * are complete, so the memory needed is 32 bytes for each 512 KiB of the device.
 */
export class VerityTree {
  private readonly incomplete = new Map<number, HashBlock>()
  /** Digests of the complete hash blocks of the lowest level, as byte strings. */
  private readonly digests: string[] = []
  private added = 0

  add(index: number, block: Uint8Array): void {
    const group = Math.floor(index / digestsPerBlock)
    let hashBlock = this.incomplete.get(group)
    if (hashBlock === undefined) this.incomplete.set(group, (hashBlock = { bytes: Buffer.alloc(blockBytes), count: 0 }))
    const digest = isZero(block) ? zeroDigest : saltedDigest(block)
    hashBlock.bytes.write(digest, (index % digestsPerBlock) * digestBytes, 'latin1')
    hashBlock.count += 1
    this.added += 1
    if (hashBlock.count === digestsPerBlock) this.complete(group, hashBlock)
  }

  /** The root hash of a device of `blocks` blocks, all of which have been added. */
  root(blocks: number): Sha256Hex {
    const lastGroup = Math.floor(blocks / digestsPerBlock)
    const last = this.incomplete.get(lastGroup)
    if (last !== undefined && last.count === blocks % digestsPerBlock) this.complete(lastGroup, last)
    const groups = Math.ceil(blocks / digestsPerBlock)
    if (this.incomplete.size > 0 || this.added !== blocks || this.digests.length !== groups) {
      throw new Error(`${this.added} blocks were hashed, which are not the ${blocks} of the device`)
    }
    let level = this.digests
    while (level.length > 1) level = hashLevel(level)
    return parseSha256Hex(Buffer.from(level[0] ?? '', 'latin1').toString('hex'), 'root hash')
  }

  private complete(group: number, hashBlock: HashBlock): void {
    this.digests[group] = saltedDigest(hashBlock.bytes)
    this.incomplete.delete(group)
  }
}

interface HashBlock {
  readonly bytes: Buffer
  count: number
}

function hashLevel(digests: readonly string[]): string[] {
  const level: string[] = []
  for (let start = 0; start < digests.length; start += digestsPerBlock) {
    const block = Buffer.alloc(blockBytes)
    block.write(digests.slice(start, start + digestsPerBlock).join(''), 'latin1')
    level.push(saltedDigest(block))
  }
  return level
}

/** Salt and block side by side, because one call that hashes both is the fastest there is. */
const salted = Buffer.alloc(saltBytes + blockBytes)

/** Nearly all blocks that are not zero show it at their first byte or their last, which is cheaper to ask for than the whole. */
function isZero(block: Uint8Array): boolean {
  return block[0] === 0 && block[block.length - 1] === 0 && zeroBlock.equals(block)
}

/** SHA-256(salt ‖ block) as a byte string: cheaper to obtain than a `Buffer`, by a quarter of the whole. */
function saltedDigest(block: Uint8Array): string {
  if (block.length !== blockBytes) throw new RangeError(`a block has ${blockBytes} bytes, got ${block.length}`)
  salted.set(block, saltBytes)
  return hash('sha256', salted, 'binary')
}

const zeroDigest = saltedDigest(zeroBlock)
