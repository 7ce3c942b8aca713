import * as asn1 from './der-writer.js'

/** A certification authority of a test: real keys, real signatures, no hardware. */
export type KeyPair = CryptoKeyPair

export interface CertificateOptions {
  readonly subject: string
  readonly issuer: string
  readonly subjectKey: KeyPair
  readonly issuerKey: KeyPair
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** Authorities have basic constraints and key usage; `pathLength` goes into the former. */
  readonly authority?: boolean
  readonly pathLength?: number
  readonly keyUsage?: number
  readonly extendedKeyUsage?: readonly string[] | undefined
  readonly extensions?: readonly Uint8Array[]
  /** Inserted into the signed part after everything else was written. */
  readonly alter?: (tbs: Uint8Array) => Uint8Array
  readonly version?: number
  readonly salt?: number
  /** Replaces the AlgorithmIdentifier, inside and outside. */
  readonly algorithm?: Uint8Array
  /** Replaces the SubjectPublicKeyInfo. */
  readonly publicKey?: Uint8Array
}

export async function rsaPssKey(hash = 'SHA-384', modulusLength = 2048): Promise<KeyPair> {
  return generate({ name: 'RSA-PSS', modulusLength, publicExponent: Uint8Array.of(1, 0, 1), hash })
}

export async function rsaPkcs1Key(hash = 'SHA-384', modulusLength = 2048): Promise<KeyPair> {
  return generate({ name: 'RSASSA-PKCS1-v1_5', modulusLength, publicExponent: Uint8Array.of(1, 0, 1), hash })
}

export async function ecKey(namedCurve = 'P-384'): Promise<KeyPair> {
  return generate({ name: 'ECDSA', namedCurve })
}

export function extension(name: string, value: Uint8Array, critical = false): Uint8Array {
  return asn1.sequence(asn1.oid(name), ...(critical ? [asn1.boolean(true)] : []), asn1.octets(value))
}

/** DER of a version 3 certificate, signed with the issuer's key in that key's own algorithm. */
export async function certificate(options: CertificateOptions): Promise<Uint8Array> {
  const { subject, issuer, subjectKey, issuerKey, salt = 48 } = options
  const algorithm = options.algorithm ?? algorithmIdentifier(issuerKey, salt)
  const version = asn1.explicit(0, asn1.integer(options.version ?? 2))
  const tbs = asn1.sequence(
    version,
    asn1.integer(65537),
    algorithm,
    asn1.commonName(issuer),
    asn1.sequence(
      asn1.utcTime(options.notBefore ?? new Date('2024-01-01T00:00:00Z')),
      asn1.utcTime(options.notAfter ?? new Date('2044-01-01T00:00:00Z'))
    ),
    asn1.commonName(subject),
    options.publicKey ?? new Uint8Array(await crypto.subtle.exportKey('spki', subjectKey.publicKey)),
    asn1.explicit(3, asn1.sequence(...standardExtensions(options), ...(options.extensions ?? [])))
  )
  const signed = options.alter?.(tbs) ?? tbs
  return asn1.sequence(signed, algorithm, asn1.bits(await sign(issuerKey, signed, salt)))
}

export function pem(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map((der) => {
      const lines =
        Buffer.from(der)
          .toString('base64')
          .match(/.{1,64}/g) ?? []
      return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
    })
    .join('')
}

function standardExtensions(options: CertificateOptions): Uint8Array[] {
  const { authority = false, pathLength, keyUsage = 0x04, extendedKeyUsage } = options
  const extensions: Uint8Array[] = []
  if (authority) {
    const length = pathLength === undefined ? [] : [asn1.integer(pathLength)]
    extensions.push(extension('2.5.29.19', asn1.sequence(asn1.boolean(true), ...length), true))
    extensions.push(extension('2.5.29.15', asn1.bits(Uint8Array.of(keyUsage), 1), true))
  }
  if (extendedKeyUsage) extensions.push(extension('2.5.29.37', asn1.sequence(...extendedKeyUsage.map(asn1.oid))))
  return extensions
}

function algorithmIdentifier(key: KeyPair, salt: number): Uint8Array {
  const { name, hash } = key.privateKey.algorithm as RsaHashedKeyAlgorithm
  const hashOids: Record<string, string> = {
    'SHA-256': '2.16.840.1.101.3.4.2.1',
    'SHA-384': '2.16.840.1.101.3.4.2.2',
    'SHA-512': '2.16.840.1.101.3.4.2.3'
  }
  if (name === 'ECDSA') return asn1.sequence(asn1.oid('1.2.840.10045.4.3.3'))
  if (name === 'RSASSA-PKCS1-v1_5') {
    const oids: Record<string, string> = {
      'SHA-256': '1.2.840.113549.1.1.11',
      'SHA-384': '1.2.840.113549.1.1.12',
      'SHA-512': '1.2.840.113549.1.1.13'
    }
    return asn1.sequence(asn1.oid(oids[hash.name] ?? ''), asn1.nullValue)
  }
  const digest = asn1.sequence(asn1.oid(hashOids[hash.name] ?? ''), asn1.nullValue)
  return asn1.sequence(
    asn1.oid('1.2.840.113549.1.1.10'),
    asn1.sequence(
      asn1.explicit(0, digest),
      asn1.explicit(1, asn1.sequence(asn1.oid('1.2.840.113549.1.1.8'), digest)),
      asn1.explicit(2, asn1.integer(salt))
    )
  )
}

async function sign(key: KeyPair, data: Uint8Array, saltLength: number): Promise<Uint8Array> {
  const { name } = key.privateKey.algorithm
  const parameters = { name, saltLength, hash: 'SHA-384' }
  const signature = new Uint8Array(await crypto.subtle.sign(parameters, key.privateKey, new Uint8Array(data)))
  if (name !== 'ECDSA') return signature
  const half = signature.length / 2
  return asn1.sequence(asn1.unsigned(signature.subarray(0, half)), asn1.unsigned(signature.subarray(half)))
}

async function generate(algorithm: RsaHashedKeyGenParams | EcKeyGenParams): Promise<KeyPair> {
  return await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}
