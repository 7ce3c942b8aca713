/**
 * Strict text encodings of bytes. Node's and the browser's own decoders accept other alphabets,
 * white space, trailing text and non-zero spare bits; two spellings of one value must not both
 * pass where the value is compared or signed. Runs in browsers: no `Buffer`.
 */

const standardAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const urlAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const standardValues = valuesOf(standardAlphabet)
const urlValues = valuesOf(urlAlphabet)

export const utf8 = {
  encode: (text: string): Uint8Array => new TextEncoder().encode(text),
  /** Throws a `TypeError` for bytes that are not UTF-8; keeps a byte order mark as a character. */
  decode: (bytes: Uint8Array): string => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case hex. Joined, because a text that has grown piece by piece keeps its pieces. */
export const encodeHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => hexPairs[byte]).join('')

/** Lower-case hex only; throws a `TypeError` that names `label`. */
export function decodeHex(text: string, label: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) throw new TypeError(`${label} is not lower-case hex`)
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** RFC 4648 section 4, with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  const text = encode(bytes, standardAlphabet)
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=')
}

/** RFC 4648 section 5, without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return encode(bytes, urlAlphabet)
}

/** RFC 4648 section 4 with padding, canonical; throws a `TypeError` that names `label`. */
export function decodeBase64(text: string, label: string): Uint8Array {
  const unpadded = text.length % 4 === 0 ? text.replace(/={1,2}$/, '') : undefined
  const bytes = unpadded === undefined ? undefined : decode(unpadded, standardValues)
  if (bytes === undefined) throw new TypeError(`${label} is not canonical base64 with padding`)
  return bytes
}

/** RFC 4648 section 5 without padding, canonical; throws a `TypeError` that names `label`. */
export function decodeBase64Url(text: string, label: string): Uint8Array {
  const bytes = decode(text, urlValues)
  if (bytes === undefined) throw new TypeError(`${label} is not canonical base64url without padding`)
  return bytes
}

function valuesOf(alphabet: string): Uint8Array {
  const values = new Uint8Array(128).fill(0xff)
  for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i
  return values
}

function encode(bytes: Uint8Array, alphabet: string): string {
  let text = ''
  let bits = 0
  let pending = 0
  for (const byte of bytes) {
    bits = ((bits & 0x3f) << 8) | byte
    pending += 8
    while (pending >= 6) {
      pending -= 6
      text += alphabet.charAt((bits >> pending) & 0x3f)
    }
  }
  return pending === 0 ? text : text + alphabet.charAt((bits << (6 - pending)) & 0x3f)
}

/** Returns undefined for a foreign character, an impossible length or spare bits that are not zero. */
function decode(text: string, values: Uint8Array): Uint8Array | undefined {
  if (text.length % 4 === 1) return undefined
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let bits = 0
  let pending = 0
  let length = 0
  for (let i = 0; i < text.length; i++) {
    const value = values[text.charCodeAt(i)] ?? 0xff
    if (value === 0xff) return undefined
    bits = ((bits & 0xff) << 6) | value
    pending += 6
    if (pending >= 8) {
      pending -= 8
      bytes[length++] = (bits >> pending) & 0xff
    }
  }
  return (bits & ((1 << pending) - 1)) === 0 ? bytes : undefined
}
