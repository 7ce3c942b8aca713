/** Builds archives for tests, in parts that can be damaged one at a time. */

export interface HeaderFields {
  readonly name?: string | Uint8Array
  readonly mode?: string
  readonly uid?: string
  readonly gid?: string
  /** As in the field; the length of `data` if not given. */
  readonly size?: string | Uint8Array
  readonly mtime?: string | Uint8Array
  readonly type?: string
  readonly linkName?: string
  readonly format?: 'ustar' | 'gnu' | 'v7' | 'star'
  readonly deviceMajor?: string
  readonly deviceMinor?: string
  /** Bytes to put at offsets of the header, after all fields and before the checksum. */
  readonly patches?: readonly (readonly [offset: number, bytes: string | Uint8Array])[]
  readonly data?: Uint8Array | string
}

const magics = { ustar: 'ustar\x0000', gnu: 'ustar  \0', star: 'ustar\x0000', v7: '' } as const

export function entry(fields: HeaderFields): Buffer {
  const data = Buffer.from(fields.data ?? '')
  const header = Buffer.alloc(512)
  const put = (at: number, bytes: string | Uint8Array) => {
    header.set(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, at)
  }
  put(0, typeof fields.name === 'string' ? Buffer.from(fields.name) : (fields.name ?? 'f'))
  put(100, fields.mode ?? '0000644\0')
  put(108, fields.uid ?? '0000000\0')
  put(116, fields.gid ?? '0000000\0')
  put(124, fields.size ?? octal(data.length, 11))
  put(136, fields.mtime ?? '00000000000\0')
  put(156, fields.type ?? '0')
  put(157, fields.linkName ?? '')
  put(257, magics[fields.format ?? 'ustar'])
  if (fields.format === 'star') put(508, 'tar\0')
  put(329, fields.deviceMajor ?? '')
  put(337, fields.deviceMinor ?? '')
  for (const [offset, bytes] of fields.patches ?? []) put(offset, bytes)
  sealHeader(header)
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

/** Computes the checksum anew. */
export function sealHeader(header: Buffer): void {
  header.fill(' ', 148, 156)
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
}

export function pax(records: readonly (readonly [key: string, value: string | Uint8Array])[], type = 'x'): Buffer {
  return entry({
    name: 'PaxHeaders/f',
    type,
    data: Buffer.concat(records.map(([key, value]) => paxRecord(key, value)))
  })
}

function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')])
  let length = body.length
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return Buffer.concat([Buffer.from(String(length)), body])
}

export function directory(name: string, fields: HeaderFields = {}): Buffer {
  return entry({ name, type: '5', mode: '0000755\0', ...fields })
}

export function file(name: string, data: Uint8Array | string = '', fields: HeaderFields = {}): Buffer {
  return entry({ name, data, ...fields })
}

export function symbolicLink(name: string, target: string): Buffer {
  return entry({ name, type: '2', linkName: target })
}

export function hardLink(name: string, target: string): Buffer {
  return entry({ name, type: '1', linkName: target })
}

/** Entries without data that differ in their names, `n000000` and so on; made quickly, for limits that are high. */
export function numbered(count: number, fields: HeaderFields): Buffer {
  const zeros = '000000'
  const template = entry({ ...fields, name: `n${zeros}` })
  const sum = Number.parseInt(template.toString('latin1', 148, 154), 8) - digitSum(zeros)
  const entries = Buffer.alloc(count * 512)
  for (let i = 0; i < count; i++) {
    const digits = String(i).padStart(zeros.length, '0')
    template.copy(entries, i * 512)
    entries.write(digits, i * 512 + 1, 'latin1')
    entries.write((sum + digitSum(digits)).toString(8).padStart(6, '0'), i * 512 + 148, 'latin1')
  }
  return entries
}

function digitSum(digits: string): number {
  let sum = 0
  for (let i = 0; i < digits.length; i++) sum += digits.charCodeAt(i)
  return sum
}

export const endOfArchive = Buffer.alloc(1024)

export function archive(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...parts, endOfArchive])
}

export function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')}\0`
}

/** GNU base-256, for fields of `length` bytes. */
export function base256(value: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let rest = BigInt.asUintN(8 * length, value)
  for (let i = length - 1; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn)
  bytes[0] = (bytes[0] ?? 0) | 0x80
  return bytes
}

/** A source that gives pieces of `size` bytes. */
export async function* pieces(bytes: Uint8Array, size = 4096): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of source) parts.push(Uint8Array.from(part))
  return Buffer.concat(parts)
}
