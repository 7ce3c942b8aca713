/** Writer for the few DER types that certificates of tests are made of. */

export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(contents)
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Uint8Array.from([tag, ...length]), body])
}

export const sequence = (...items: readonly Uint8Array[]): Uint8Array => der(0x30, ...items)
const set = (...items: readonly Uint8Array[]): Uint8Array => der(0x31, ...items)
export const explicit = (n: number, item: Uint8Array): Uint8Array => der(0xa0 | n, item)
export const octets = (bytes: Uint8Array): Uint8Array => der(0x04, bytes)
export const bits = (bytes: Uint8Array, unused = 0): Uint8Array => der(0x03, Uint8Array.of(unused), bytes)
export const boolean = (value: boolean): Uint8Array => der(0x01, Uint8Array.of(value ? 0xff : 0))
export const nullValue = der(0x05)

/** Non-negative, up to 2^31. */
export function integer(value: number): Uint8Array {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return unsigned(bytes)
}

export function unsigned(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const shortest = bytes.subarray(start)
  return (shortest[0] ?? 0) >= 0x80 ? der(0x02, Uint8Array.of(0), shortest) : der(0x02, shortest)
}

export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [40 * first + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f]
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) groups.unshift((high & 0x7f) | 0x80)
    return groups
  })
  return der(0x06, Uint8Array.from(bytes))
}

export function ia5String(text: string): Uint8Array {
  return der(0x16, Buffer.from(text, 'latin1'))
}

export function commonName(text: string): Uint8Array {
  return sequence(set(sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(text)))))
}

export function utcTime(time: Date): Uint8Array {
  return der(0x17, Buffer.from(time.toISOString().replace(/[-:T]/g, '').slice(2, 14) + 'Z'))
}
