import { byteString, type ByteString } from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import { parseDecimal, parseLength, parseNumericField } from './number.js'
import type { PaxRecords } from './pax.js'

/** A part of a sparse file that the archive holds; everything between fragments is zeros. */
export interface Fragment {
  readonly offset: number
  readonly length: number
}

const blockBytes = 512
/** Go's limit for any metadata that an archive makes a reader keep. */
export const maxMetadataBytes = 1024 * 1024

/** Returns 512 bytes, or throws `tar-truncated`. */
export type ReadBlock = () => Promise<Uint8Array>

/** What the records of an extended header say about a sparse file (GNU tar, "Storing Sparse Files"). */
export interface PaxSparse {
  /** In 1.0 the map is at the start of the data, in 0.0 and 0.1 in the records. */
  readonly mapInData: boolean
  readonly path: ByteString | undefined
  readonly size: bigint | undefined
}

/** Undefined if the entry is not sparse, or of a version that nobody defined. */
export function paxSparse(records: PaxRecords): PaxSparse | undefined {
  const nonEmpty = (key: string) => records.get(key) || undefined
  const version = `${records.get('GNU.sparse.major') ?? ''}.${records.get('GNU.sparse.minor') ?? ''}`
  const unversioned = version === '.' && nonEmpty('GNU.sparse.map') !== undefined
  if (!unversioned && version !== '0.0' && version !== '0.1' && version !== '1.0') return undefined
  const size = nonEmpty('GNU.sparse.size') ?? nonEmpty('GNU.sparse.realsize')
  return {
    mapInData: version === '1.0',
    path: nonEmpty('GNU.sparse.name'),
    size: size === undefined ? undefined : parseDecimal(size, 'the size')
  }
}

/** The map of formats 0.0 and 0.1. */
export function parseRecordMap(records: PaxRecords): Fragment[] {
  const count = parseCount(records.get('GNU.sparse.numblocks') ?? '')
  const map = records.get('GNU.sparse.map') ?? ''
  const numbers = map === '' ? [] : map.split(',')
  if (numbers.length !== 2 * count) throw invalidMap('has another number of fragments than its header says')
  return pairs(numbers.map((text) => parseLength(parseDecimal(text, 'the sparse map'), 'the sparse map')))
}

/** The map of format 1.0: decimal lines, the count first, filled up to a block. */
export async function readDataMap(readBlock: ReadBlock): Promise<Fragment[]> {
  let bytes = 0
  // The last element is what follows the last newline, so not a line yet.
  const lines = ['']
  const readLines = async (count: number) => {
    while (lines.length <= count) {
      bytes += blockBytes
      if (bytes > maxMetadataBytes) throw mapTooLong()
      const [rest = '', ...more] = byteString(await readBlock()).split('\n')
      lines[lines.length - 1] += rest
      lines.push(...more)
    }
  }
  await readLines(1)
  const count = parseCount(lines[0] ?? '')
  await readLines(1 + 2 * count)
  const numbers = lines.slice(1, 1 + 2 * count)
  return pairs(numbers.map((text) => parseLength(parseDecimal(text, 'the sparse map'), 'the sparse map')))
}

/** The old GNU format: four fragments in the header, 21 in each further block, and a flag for more. */
export async function readOldGnuMap(header: Uint8Array, readBlock: ReadBlock): Promise<Fragment[]> {
  const fragments: Fragment[] = []
  let table = header.subarray(386, 483)
  for (let bytes = 0; ; bytes += blockBytes) {
    if (bytes > maxMetadataBytes) throw mapTooLong()
    const capacity = Math.floor(table.length / 24)
    for (let i = 0; i < capacity; i++) {
      const entry = table.subarray(24 * i, 24 * (i + 1))
      if (entry[0] === 0) break
      fragments.push({
        offset: parseLength(parseNumericField(entry, [0, 12], 'the sparse map'), 'the sparse map'),
        length: parseLength(parseNumericField(entry, [12, 12], 'the sparse map'), 'the sparse map')
      })
    }
    if (table[24 * capacity] === 0) return fragments
    table = await readBlock()
  }
}

export function oldGnuSize(header: Uint8Array): bigint {
  return parseNumericField(header, [483, 12], 'the size')
}

/** Fragments must be in order, apart, and inside the file. */
export function validateFragments(fragments: readonly Fragment[], size: number): void {
  let end = 0
  for (const { offset, length } of fragments) {
    if (offset < end || offset + length > size) throw invalidMap('has fragments that overlap or exceed the file')
    end = offset + length
  }
}

function pairs(numbers: readonly number[]): Fragment[] {
  const fragments: Fragment[] = []
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    fragments.push({ offset: numbers[i] ?? 0, length: numbers[i + 1] ?? 0 })
  }
  return fragments
}

function parseCount(text: string): number {
  return parseLength(parseDecimal(text, 'the sparse map'), 'the sparse map')
}

function invalidMap(fault: string): LayerError {
  return new LayerError('tar-header', `the map of a sparse file ${fault}`)
}

function mapTooLong(): LayerError {
  return new LayerError('tar-header-too-long', `the map of a sparse file is larger than ${maxMetadataBytes} bytes`)
}
