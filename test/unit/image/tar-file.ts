/** Writes tar files for tests, wrong ones included. */

export interface Member {
  readonly name: string
  readonly content?: string | Uint8Array
  /** '0' if not given. */
  readonly type?: string
  readonly link?: string
  /** How a name that is too long for the header is stored. */
  readonly headers?: 'pax' | 'gnu'
  /** Stands in the size field in place of the true size. */
  readonly rawSize?: string
}

export function tarFile(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.flatMap(member), Buffer.alloc(1024)])
}

function member({ name, content = '', type = '0', link = '', headers, rawSize }: Member): Buffer[] {
  const data = Buffer.from(content as Uint8Array)
  const size = rawSize ?? `${data.length.toString(8).padStart(11, '0')}\0`
  const own = [header(name, type, link, size), data, Buffer.alloc((512 - (data.length % 512)) % 512)]
  switch (headers) {
    case 'gnu':
      return [...member({ name: '././@LongLink', type: 'L', content: `${name}\0` }), ...own]
    case 'pax': {
      const rest = ` path=${name}\n`
      return [...member({ name: 'pax', type: 'x', content: `${rest.length + 3}${rest}` }), ...own]
    }
    default:
      return own
  }
}

function header(name: string, type: string, link: string, size: string): Buffer {
  const block = Buffer.alloc(512)
  block.write(name.slice(0, 100), 0, 'latin1')
  block.write('0000644\0', 100)
  block.write(size, 124, 'latin1')
  block.write('        ', 148)
  block.write(type, 156)
  block.write(link, 157)
  block.write('ustar\x0000', 257, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}
