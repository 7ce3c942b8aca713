export interface TarItem {
  readonly path: string
  readonly kind?: 'file' | 'directory' | 'symbolic-link' | 'hard-link'
  readonly content?: string
  readonly linkPath?: string
  readonly mode?: number
}

const typeFlags = { file: '0', 'hard-link': '1', 'symbolic-link': '2', directory: '5' }

/** A ustar archive with any names, also those that no tool would write (POSIX.1-2001, "ustar Interchange Format"). */
export function tar(items: readonly TarItem[]): Uint8Array {
  return Buffer.concat([...items.flatMap(entry), Buffer.alloc(1024)])
}

function entry({ path, kind = 'file', content = '', linkPath = '', mode = 0o644 }: TarItem): Buffer[] {
  const data = Buffer.from(content)
  const header = Buffer.alloc(512)
  header.write(path, 0)
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0', 136)
  header.write('        ', 148)
  header.write(typeFlags[kind], 156)
  header.write(linkPath, 157)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return [header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]
}
