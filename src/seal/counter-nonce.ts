/**
 * The nonce of message `counter`: `base` XOR the counter, big-endian in the last 8 bytes (RFC 9180
 * section 5.2; the same in EHBP's answers). Exact up to 2^53 messages.
 */
export function counterNonce(base: Uint8Array, counter: number): Uint8Array {
  const nonce = new Uint8Array(base)
  let rest = counter
  for (let index = nonce.length - 1; rest > 0; index--) {
    nonce[index] = (nonce[index] as number) ^ (rest % 256)
    rest = Math.floor(rest / 256)
  }
  return nonce
}
