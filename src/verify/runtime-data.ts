import type { Sha256Hex } from '../base/digest.js'
import { decodeBase64Url, encodeBase64Url, utf8 } from '../base/encoding.js'
import { canonicalJson } from '../base/json.js'
import { attemptSync } from './check.js'
import { object, oneOf, optional, type Reader, text } from './shape.js'
import { parseStrictJson } from './strict-json.js'
import { sha256 } from './web-crypto.js'

/** Public RSA key of a router; `kid` is its RFC 7638 SHA-256 thumbprint. */
export interface RouterRsaKey {
  readonly kty: 'RSA'
  readonly n: string
  readonly e: 'AQAB'
  readonly kid: string
}

/** What a router binds to its hardware by REPORT_DATA. */
export interface RuntimeData {
  readonly rsa: RouterRsaKey
  /** X25519 public key, 32 bytes. */
  readonly hpke: Uint8Array
  /** Ed25519 public key, 32 bytes. */
  readonly ed25519: Uint8Array
  /** The nonce for which the router made it, at most 64 bytes; undefined in evidence that nobody asked for. */
  readonly nonce: Uint8Array | undefined
  /** SHA-256 of the SubjectPublicKeyInfo of the TLS key. */
  readonly tls: Sha256Hex | undefined
}

interface Document {
  readonly confrouter: {
    readonly v: 1
    readonly rsa: Jwk
    readonly hpke: Uint8Array
    readonly ed25519: Uint8Array
    readonly nonce?: Uint8Array | undefined
    readonly tls?: Sha256Hex | undefined
  }
}

interface Jwk {
  readonly kty: 'RSA'
  readonly n: string
  readonly e: 'AQAB'
  readonly kid?: string | undefined
  readonly alg?: string | undefined
  readonly use?: 'enc' | undefined
}

/** The runtime data as JSON. Throws a `TypeError` if the bytes are not UTF-8 or not JSON. */
export function parseRuntimeJson(bytes: Uint8Array): unknown {
  return parseStrictJson(utf8.decode(bytes), 'runtime data')
}

/**
 * Reads the keys. Throws a `TypeError` that lists what is wrong.
 *
 * There is one member, `confrouter`. Above all there is none named `keys`: a token whose runtime
 * claim has one is a target to which a vault releases its key, so a router that signs such data
 * signs its key away. Members of a private key are refused like all unknown ones.
 */
export async function readRuntimeData(bytes: Uint8Array): Promise<RuntimeData> {
  const value = parseRuntimeJson(bytes)
  const problems: string[] = []
  const document = runtimeDocument(value, '', problems)
  if (document === undefined) throw new TypeError(`runtime data: ${problems.join('; ')}`)
  const { rsa, hpke, ed25519, nonce, tls } = document.confrouter
  const { kty, n, e } = rsa
  // RFC 7638: exactly these members, sorted.
  const kid = encodeBase64Url(await sha256(utf8.encode(canonicalJson({ e, kty, n }))))
  if (rsa.kid !== undefined && rsa.kid !== kid)
    throw new TypeError('runtime data: kid is not the thumbprint of the RSA key')
  return { rsa: { kty, n, e, kid }, hpke, ed25519, nonce: nonce?.length === 0 ? undefined : nonce, tls }
}

function base64Url(expected: string, accept: (bytes: Uint8Array) => boolean): Reader<Uint8Array> {
  return text(expected, 2000, (value) => {
    const bytes = attemptSync(() => decodeBase64Url(value, 'it'))
    return bytes.ok && accept(bytes.value) ? bytes.value : undefined
  })
}

const key32 = base64Url('32 bytes in base64url', (bytes) => bytes.length === 32)
const string = text('a text', 100, (value) => value)

/** 2048 to 4096 bits in the one spelling of RFC 7518 section 6.3.1.1: whole octets, the first one not zero. */
const modulus = text('an RSA modulus of 2048 to 4096 bits in base64url', 2000, (value) => {
  const bytes = attemptSync(() => decodeBase64Url(value, 'it'))
  if (!bytes.ok) return undefined
  const [first = 0] = bytes.value
  const { length } = bytes.value
  return (length === 256 ? first >= 0x80 : first > 0) && length >= 256 && length <= 512 ? value : undefined
})

const runtimeDocument: Reader<Document> = object<Document>({
  confrouter: object<Document['confrouter']>({
    v: oneOf(1),
    rsa: object<Jwk>({
      kty: oneOf('RSA'),
      n: modulus,
      e: oneOf('AQAB'),
      kid: optional(string),
      alg: optional(string),
      use: optional(oneOf('enc'))
    }),
    hpke: key32,
    ed25519: key32,
    nonce: optional(base64Url('at most 64 bytes in base64url', ({ length }) => length <= 64)),
    tls: optional(
      text('64 lower-case hex characters', 64, (value) =>
        /^[0-9a-f]{64}$/.test(value) ? (value as Sha256Hex) : undefined
      )
    )
  })
})
