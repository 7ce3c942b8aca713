/**
 * SHA-256 (FIPS 180-4) of bytes that come in pieces. WebCrypto hashes whole messages only, and the
 * sealed body of a stream is nowhere whole. What goes through here is ciphertext, so it need not
 * run in constant time.
 */
export class Sha256 {
  readonly #state = Int32Array.from(initialState)
  readonly #block = new Uint8Array(blockBytes)
  readonly #words = new DataView(this.#block.buffer)
  readonly #schedule = new Int32Array(64)
  #length = 0

  update(bytes: Uint8Array): this {
    let offset = 0
    while (offset < bytes.length) {
      const start = this.#length % blockBytes
      const taken = bytes.subarray(offset, offset + blockBytes - start)
      this.#block.set(taken, start)
      this.#length += taken.length
      offset += taken.length
      if (start + taken.length === blockBytes) this.#compress()
    }
    return this
  }

  /** 32 bytes. Nothing can be added afterwards. */
  digest(): Uint8Array<ArrayBuffer> {
    const length = this.#length
    const fill = blockBytes - ((length + lengthBytes) % blockBytes)
    const end = new Uint8Array(fill + lengthBytes)
    end[0] = 0x80
    new DataView(end.buffer).setBigUint64(fill, BigInt(length) * 8n)
    this.update(end)
    const digest = new DataView(new ArrayBuffer(32))
    this.#state.forEach((word, index) => digest.setInt32(4 * index, word))
    return new Uint8Array(digest.buffer)
  }

  /** FIPS 180-4 section 6.2.2; the names are the standard's. */
  #compress(): void {
    const h = this.#state
    const w = this.#schedule
    for (let t = 0; t < 16; t++) w[t] = this.#words.getUint32(4 * t)
    for (let t = 16; t < 64; t++) {
      const t1 = at(w, t - 15)
      const t2 = at(w, t - 2)
      const sigma0 = rotate(t1, 7) ^ rotate(t1, 18) ^ (t1 >>> 3)
      const sigma1 = rotate(t2, 17) ^ rotate(t2, 19) ^ (t2 >>> 10)
      w[t] = (sigma1 + at(w, t - 7) + sigma0 + at(w, t - 16)) | 0
    }
    let [a, b, c, d] = [at(h, 0), at(h, 1), at(h, 2), at(h, 3)]
    let [e, f, g, last] = [at(h, 4), at(h, 5), at(h, 6), at(h, 7)]
    for (let t = 0; t < 64; t++) {
      const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      const t1 = (last + sum1 + ((e & f) ^ (~e & g)) + at(roundConstants, t) + at(w, t)) | 0
      const t2 = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      last = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    h[0] = at(h, 0) + a
    h[1] = at(h, 1) + b
    h[2] = at(h, 2) + c
    h[3] = at(h, 3) + d
    h[4] = at(h, 4) + e
    h[5] = at(h, 5) + f
    h[6] = at(h, 6) + g
    h[7] = at(h, 7) + last
  }
}

const blockBytes = 64
/** Of the message's length in bits, at the end of the last block. */
const lengthBytes = 8

const at = (words: Int32Array, index: number): number => words[index] as number
const rotate = (x: number, bits: number): number => (x >>> bits) | (x << (32 - bits))

/** FIPS 180-4 section 5.3.3. */
const initialState = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]

/** FIPS 180-4 section 4.2.2. */
const roundConstants = Int32Array.of(
  0x428a2f98,
  0x71374491,
  0xb5c0fbcf,
  0xe9b5dba5,
  0x3956c25b,
  0x59f111f1,
  0x923f82a4,
  0xab1c5ed5,
  0xd807aa98,
  0x12835b01,
  0x243185be,
  0x550c7dc3,
  0x72be5d74,
  0x80deb1fe,
  0x9bdc06a7,
  0xc19bf174,
  0xe49b69c1,
  0xefbe4786,
  0x0fc19dc6,
  0x240ca1cc,
  0x2de92c6f,
  0x4a7484aa,
  0x5cb0a9dc,
  0x76f988da,
  0x983e5152,
  0xa831c66d,
  0xb00327c8,
  0xbf597fc7,
  0xc6e00bf3,
  0xd5a79147,
  0x06ca6351,
  0x14292967,
  0x27b70a85,
  0x2e1b2138,
  0x4d2c6dfc,
  0x53380d13,
  0x650a7354,
  0x766a0abb,
  0x81c2c92e,
  0x92722c85,
  0xa2bfe8a1,
  0xa81a664b,
  0xc24b8b70,
  0xc76c51a3,
  0xd192e819,
  0xd6990624,
  0xf40e3585,
  0x106aa070,
  0x19a4c116,
  0x1e376c08,
  0x2748774c,
  0x34b0bcb5,
  0x391c0cb3,
  0x4ed8aa4a,
  0x5b9cca4f,
  0x682e6ff3,
  0x748f82ee,
  0x78a5636f,
  0x84c87814,
  0x8cc70208,
  0x90befffa,
  0xa4506ceb,
  0xbef9a3f7,
  0xc67178f2
)
