import { createECDH, createPrivateKey, type KeyObject, randomBytes } from 'node:crypto'

/** FIPS 186-5 and SEC 2: the order of the base point, and OpenSSL's name where it differs from JOSE's. */
const curves = {
  'P-256': {
    ecdh: 'prime256v1',
    bytes: 32,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  },
  'P-384': {
    ecdh: 'secp384r1',
    bytes: 48,
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n
  },
  'P-521': {
    ecdh: 'secp521r1',
    bytes: 66,
    order:
      0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n
  },
  'P-256K': {
    ecdh: 'secp256k1',
    bytes: 32,
    order: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
  }
} as const

export type SigningCurve = keyof typeof curves

/**
 * ECDSA over a digest that somebody else made, as Key Vault's `sign` does it; Node signs only what it has
 * hashed itself. FIPS 186-5 section 6.4.1, with a random k. Gives `r ‖ s`, each as long as the order.
 * Not in constant time: the keys of an emulator protect nothing.
 */
export function signDigest(privateKey: KeyObject, curve: SigningCurve, digest: Uint8Array): Uint8Array {
  const { order, bytes } = curves[curve]
  const d = toNumber(Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url'))
  const e = leftmostBits(digest, order)
  for (;;) {
    const k = toNumber(randomBytes(bytes + 8)) % order
    if (k === 0n) continue
    const r = multipliedBasePoint(curve, k) % order
    const s = modulo(inverse(k, order) * (e + r * d), order)
    if (r !== 0n && s !== 0n) return Buffer.concat([toBytes(r, bytes), toBytes(s, bytes)])
  }
}

export function privateKeyOf(pkcs8: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
}

/** The x coordinate of k·G, which is the public key that belongs to k. */
function multipliedBasePoint(curve: SigningCurve, k: bigint): bigint {
  const { ecdh, bytes } = curves[curve]
  const pair = createECDH(ecdh)
  pair.setPrivateKey(toBytes(k, bytes))
  return toNumber(pair.getPublicKey().subarray(1, 1 + bytes))
}

function leftmostBits(digest: Uint8Array, order: bigint): bigint {
  const surplus = digest.length * 8 - order.toString(2).length
  const value = toNumber(digest)
  return surplus > 0 ? value >> BigInt(surplus) : value
}

/** Extended Euclid; `order` is prime and `value` not 0. */
function inverse(value: bigint, order: bigint): bigint {
  let [a, b, x, y] = [modulo(value, order), order, 1n, 0n]
  while (b !== 0n) {
    const quotient = a / b
    ;[a, b] = [b, a - quotient * b]
    ;[x, y] = [y, x - quotient * y]
  }
  return modulo(x, order)
}

const modulo = (value: bigint, order: bigint): bigint => ((value % order) + order) % order

const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`)

const toBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex')
