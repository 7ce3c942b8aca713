import { readDer, readDerSeries, readObjectIdentifier, readSmallInteger } from './der-reader.js'

/** What `node:crypto` does not tell about a certificate. */
export interface CertificateFields {
  readonly signature: 'rsa-pss-sha384' | 'other'
  /** extnValue by OID; a repeated extension is an error (RFC 5280 section 4.2). */
  readonly extensions: ReadonlyMap<string, Uint8Array>
}

/** Reads a certificate (DER). Throws a `TypeError` when it has another shape. */
export function readCertificateFields(der: Uint8Array): CertificateFields {
  const [body, algorithm] = readDerSeries(readDer(der).content)
  if (body === undefined || algorithm === undefined) throw new TypeError('not a certificate')
  const extensions = new Map<string, Uint8Array>()
  const block = readDerSeries(body.content).find((value) => value.tag === 0xa3)
  for (const item of block === undefined ? [] : readDerSeries(readDer(block.content).content)) {
    const parts = readDerSeries(item.content)
    const identifier = readObjectIdentifier(parts[0])
    const value = parts.at(-1)
    if (value?.tag !== 0x04) throw new TypeError(`extension ${identifier} has no value`)
    if (extensions.has(identifier)) throw new TypeError(`extension ${identifier} is there twice`)
    extensions.set(identifier, value.content)
  }
  return { signature: isRsaPssSha384(algorithm.content) ? 'rsa-pss-sha384' : 'other', extensions }
}

const rsassaPss = '1.2.840.113549.1.1.10'
const mgf1 = '1.2.840.113549.1.1.8'
const sha384 = '2.16.840.1.101.3.4.2.2'

/** RSASSA-PSS-params (RFC 4055 section 3.1): SHA-384 for both hashes, 48 bytes of salt. */
function isRsaPssSha384(algorithm: Uint8Array): boolean {
  const [identifier, parameters] = readDerSeries(algorithm)
  if (readObjectIdentifier(identifier) !== rsassaPss || parameters?.tag !== 0x30) return false
  const fields = new Map(readDerSeries(parameters.content).map((field) => [field.tag, field.content]))
  const [hash, mask, salt] = [fields.get(0xa0), fields.get(0xa1), fields.get(0xa2)]
  if (hash === undefined || mask === undefined || salt === undefined) return false
  const [maskIdentifier, maskHash] = readDerSeries(readDer(mask).content)
  return (
    readObjectIdentifier(readDerSeries(readDer(hash).content)[0]) === sha384 &&
    readObjectIdentifier(maskIdentifier) === mgf1 &&
    maskHash !== undefined &&
    readObjectIdentifier(readDerSeries(maskHash.content)[0]) === sha384 &&
    readSmallInteger(readDer(salt)) === 48
  )
}
