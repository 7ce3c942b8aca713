/** The smallest padded plaintext, in bytes; from there in powers of two. */
const smallestBucket = 256
/** From here in multiples: doubling would cost too much of a large frame. */
const largestPower = 65_536

/** Length of the padded plaintext for so many bytes of data: the smallest bucket that also holds the mark. */
export function paddedLength(dataLength: number): number {
  const least = dataLength + 1
  if (least > largestPower) return Math.ceil(least / largestPower) * largestPower
  return Math.max(smallestBucket, 2 ** Math.ceil(Math.log2(least)))
}

/** The data, the byte 0x80, zeros up to the next bucket. */
export function pad(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const padded = new Uint8Array(paddedLength(data.length))
  padded.set(data)
  padded[data.length] = 0x80
  return padded
}

/**
 * The data in a padded plaintext, as a view of it. There is one padding for every data: any other
 * length or byte is a `TypeError`, so that padding carries nothing.
 */
export function unpad<Bytes extends ArrayBufferLike>(padded: Uint8Array<Bytes>): Uint8Array<Bytes> {
  let end = padded.length - 1
  while (end >= 0 && padded[end] === 0) end--
  if (end < 0 || padded[end] !== 0x80 || padded.length !== paddedLength(end))
    throw new TypeError('the padding is malformed')
  return padded.subarray(0, end)
}
