import type { Decompress } from 'fzstd'
import { concatBytes } from '../base/bytes.js'
import type { ByteReader } from './byte-reader.js'
import { asBuffer } from './byte-string.js'
import { LayerError } from './layer-error.js'

/** What `zstd -d` accepts without `--long`. A decoder has to allocate it before it sees any data. */
const maxWindowBytes = 128 * 1024 * 1024
const maxBlockBytes = 128 * 1024
const frameMagic = 0xfd2fb528
/** The lowest of sixteen. */
const skippableMagic = 0x184d2a50

export function isZstd(magic: Uint8Array): boolean {
  if (magic.length < 4) return false
  const value = asBuffer(magic).readUInt32LE()
  return value === frameMagic || isSkippable(value)
}

/**
 * Decompresses zstd frames (RFC 8878). The decoder works on whole input and would hold all output of it;
 * it is fed block by block, so that one block of at most 128 KiB is in memory, besides the window.
 */
export async function* decompressZstd(reader: ByteReader): AsyncGenerator<Uint8Array, void, void> {
  // Few layers need it, and each process would take two milliseconds to load it.
  const { Decompress: Decoder } = await import('fzstd')
  for (;;) {
    const magic = await reader.take(4)
    if (magic.length === 0) return
    const value = magic.length === 4 ? asBuffer(magic).readUInt32LE() : 0
    if (isSkippable(value)) await skipFrame(reader)
    else if (value === frameMagic) yield* decompressFrame(magic, reader, Decoder)
    else throw invalid(magic.length < 4 ? 'ends inside a frame' : 'is followed by other bytes')
  }
}

function isSkippable(magic: number): boolean {
  return magic >>> 4 === skippableMagic >>> 4
}

async function skipFrame(reader: ByteReader): Promise<void> {
  const length = asBuffer(await exactly(reader, 4)).readUInt32LE()
  if ((await reader.skip(length)) < length) throw invalid('ends inside a frame')
}

async function* decompressFrame(
  magic: Uint8Array,
  reader: ByteReader,
  Decoder: typeof Decompress
): AsyncGenerator<Uint8Array, void, void> {
  const { header, hasChecksum } = await readFrameHeader(reader)
  let output: Uint8Array[] = []
  const decoder = new Decoder((piece) => output.push(piece))
  decode(decoder, concatBytes(magic, header), false)
  for (let isLast = false; !isLast;) {
    const blockHeader = await exactly(reader, 3)
    const fields = asBuffer(blockHeader).readUIntLE(0, 3)
    isLast = (fields & 1) === 1
    const type = (fields >> 1) & 3
    const size = fields >> 3
    if (type === 3 || size > maxBlockBytes) throw invalid('has a block that is not valid')
    const content = await exactly(reader, type === 1 ? 1 : size)
    const checksum = isLast && hasChecksum ? await exactly(reader, 4) : new Uint8Array(0)
    decode(decoder, concatBytes(blockHeader, content, checksum), isLast)
    yield* output.filter((piece) => piece.length > 0)
    output = []
  }
}

async function readFrameHeader(reader: ByteReader): Promise<{ header: Uint8Array; hasChecksum: boolean }> {
  const descriptor = (await exactly(reader, 1))[0] ?? 0
  const isSingleSegment = (descriptor & 0x20) !== 0
  if ((descriptor & 0x08) !== 0) throw invalid('has a frame of an unknown version')
  if ((descriptor & 0x03) !== 0) throw invalid('needs a dictionary')
  const sizeFlag = descriptor >> 6
  const sizeBytes = sizeFlag === 0 ? Number(isSingleSegment) : 1 << sizeFlag
  const rest = await exactly(reader, (isSingleSegment ? 0 : 1) + sizeBytes)
  const window = isSingleSegment ? littleEndian(rest) : windowSize(rest[0] ?? 0)
  if (window > BigInt(maxWindowBytes)) throw invalid(`needs a window of ${window.toString()} bytes`)
  return { header: concatBytes(Uint8Array.of(descriptor), rest), hasChecksum: (descriptor & 0x04) !== 0 }
}

function windowSize(descriptor: number): bigint {
  const base = 1n << BigInt(10 + (descriptor >> 3))
  return base + (base / 8n) * BigInt(descriptor & 7)
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

function decode(decoder: Decompress, bytes: Uint8Array, isLast: boolean): void {
  try {
    decoder.push(bytes, isLast)
  } catch (cause) {
    // The decoder checks little; on damaged input it also fails with errors of the language.
    throw invalid('is damaged', cause)
  }
}

async function exactly(reader: ByteReader, length: number): Promise<Uint8Array> {
  const bytes = await reader.take(length)
  if (bytes.length < length) throw invalid('ends inside a frame')
  return bytes
}

function invalid(fault: string, cause?: unknown): LayerError {
  return new LayerError(
    'compression',
    `the zstd stream of the layer ${fault}`,
    cause === undefined ? undefined : { cause }
  )
}
