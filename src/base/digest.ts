import { createHash } from 'node:crypto'

declare const brand: unique symbol
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name }

/** Lower-case hex SHA-256, 64 characters, no prefix: HOST_DATA, root hashes, fingerprints. */
export type Sha256Hex = Branded<string, 'Sha256Hex'>

/** An OCI digest with its prefix: `sha256:` and 64 lower-case hex characters. */
export type OciDigest = Branded<string, 'OciDigest'>

export function parseSha256Hex(text: string, label: string): Sha256Hex {
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new TypeError(`${label} must be 64 lower-case hex characters, got ${JSON.stringify(text.slice(0, 80))}`)
  }
  return text as Sha256Hex
}

export function parseOciDigest(text: string, label: string): OciDigest {
  if (!/^sha256:[0-9a-f]{64}$/.test(text)) {
    throw new TypeError(
      `${label} must be "sha256:" and 64 lower-case hex characters, got ${JSON.stringify(text.slice(0, 80))}`
    )
  }
  return text as OciDigest
}

/** SHA-256 of bytes, or of the UTF-8 of a text. */
export function sha256Hex(data: Uint8Array | string): Sha256Hex {
  return createHash('sha256').update(data).digest('hex') as Sha256Hex
}

export function ociDigest(data: Uint8Array | string): OciDigest {
  return `sha256:${sha256Hex(data)}` as OciDigest
}
