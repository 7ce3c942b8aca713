declare const brand: unique symbol

/**
 * Bytes as a string with one character, U+0000 to U+00FF, for each byte. Names in a tar and in ext4
 * are bytes in no particular encoding: lengths, order and equality are those of the bytes, and
 * decoding them as UTF-8 first would change the hash of a layer whose names are not UTF-8.
 */
export type ByteString = string & { readonly [brand]: 'ByteString' }

export function byteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return asBuffer(bytes).toString('latin1', start, end) as ByteString
}

/** A constant that is ASCII, so that its characters are its bytes. */
export function asciiBytes(text: string): ByteString {
  if (/[\u0080-\uffff]/.test(text)) throw new TypeError(`${JSON.stringify(text)} is not ASCII`)
  return text as ByteString
}

export function bytesOf(text: ByteString): Uint8Array {
  return Buffer.from(text, 'latin1')
}

/** `String.prototype.slice` that keeps the brand: a part of a byte string is one. */
export function sliceBytes(text: ByteString, start: number, end?: number): ByteString {
  return text.slice(start, end) as ByteString
}

export function joinBytes(...parts: readonly ByteString[]): ByteString {
  return parts.join('') as ByteString
}

/** The text for people: UTF-8, with U+FFFD for what is not. */
export function displayText(text: ByteString): string {
  return /[\u0080-\u00ff]/.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text
}

/** For messages: quoted, control characters escaped, and short even if the name is a mebibyte long. */
export function quoted(text: ByteString): string {
  const shown = text.length > 300 ? `${displayText(sliceBytes(text, 0, 300))}…` : displayText(text)
  return JSON.stringify(shown)
}

/** The same bytes, not a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
