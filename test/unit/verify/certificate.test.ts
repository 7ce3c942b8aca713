import { describe, expect, it } from '@jest/globals'
import { isSignedBy, parseCertificate, parsePemCertificates } from '../../../src/verify/certificate.js'
import { readBoolean, readDer, readOid, readSmallUnsigned, readTime, readUnsigned } from '../../../src/verify/der.js'
import { certificate, ecKey, pem, rsaPkcs1Key, rsaPssKey } from './certificate-forge.js'
import { type DerNode, parseTree, write } from './der-tree.js'
import * as asn1 from './der-writer.js'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/ /g, ''), 'hex'))

describe('the DER reader', () => {
  it.each([
    ['empty', ''],
    ['a tag alone', '30'],
    ['cut off in its contents', '30 02 05'],
    ['cut off in its length', '30 82 01'],
    ['of indefinite length', '30 80 00 00'],
    ['with a length in two octets where one does', '04 81 01 00'],
    ['with a zero before its length', '30 82 00 80'],
    ['with a length of four octets', '30 84 00 00 00 00'],
    ['with a long tag', '1f 81 01 00'],
    ['followed by more', '05 00 00']
  ])('refuses an element that is %s', (_, encoded) => {
    expect(() => readDer(hex(encoded), 'it')).toThrow(TypeError)
  })

  it('reads integers in their shortest form', () => {
    expect(readSmallUnsigned(readDer(hex('02 01 00'), 'it'), 'it')).toBe(0)
    expect(readSmallUnsigned(readDer(hex('02 02 00 80'), 'it'), 'it')).toBe(128)
    for (const bad of ['02 01 80', '02 02 00 7f', '02 00', '02 06 01 00 00 00 00 00', '04 01 00']) {
      expect(() => readSmallUnsigned(readDer(hex(bad), 'it'), 'it')).toThrow(TypeError)
    }
    expect(readUnsigned(readDer(hex('02 02 00 ff'), 'it'), 'it')).toEqual(hex('ff'))
  })

  it('reads object identifiers', () => {
    for (const name of ['2.5.29.15', '1.3.6.1.4.1.3704.1.3.8', '2.16.840.1.101.3.4.2.2', '1.2.840.113549.1.1.10']) {
      expect(readOid(readDer(asn1.oid(name), 'it'), 'it')).toBe(name)
    }
    for (const bad of ['06 00', '06 02 2a 80', '06 03 2a 80 01', '06 0b 2a ff ff ff ff ff ff ff ff ff 7f']) {
      expect(() => readOid(readDer(hex(bad), 'it'), 'it')).toThrow(TypeError)
    }
  })

  it('reads only 00 and ff as booleans', () => {
    expect(readBoolean(readDer(hex('01 01 ff'), 'it'), 'it')).toBe(true)
    expect(readBoolean(readDer(hex('01 01 00'), 'it'), 'it')).toBe(false)
    expect(() => readBoolean(readDer(hex('01 01 01'), 'it'), 'it')).toThrow(TypeError)
  })

  it.each([
    [0x17, '491231235959Z', '2049-12-31T23:59:59.000Z'],
    [0x17, '500101000000Z', '1950-01-01T00:00:00.000Z'],
    [0x18, '20500101000000Z', '2050-01-01T00:00:00.000Z']
  ])('reads times of tag %i: %s', (tag, text, expected) => {
    expect(readTime(readDer(asn1.der(tag, Buffer.from(text)), 'it'), 'it').toISOString()).toBe(expected)
  })

  it.each([
    [0x17, '490229000000Z'],
    [0x17, '4912312359Z'],
    [0x17, '491231235959+0100'],
    [0x18, '20500101000000.5Z'],
    [0x18, '20501301000000Z'],
    [0x18, '20500101250000Z'],
    [0x04, '491231235959Z']
  ])('refuses times of tag %i: %s', (tag, text) => {
    expect(() => readTime(readDer(asn1.der(tag, Buffer.from(text)), 'it'), 'it')).toThrow(TypeError)
  })
})

const signers = [
  ['RSA-PSS', await rsaPssKey()],
  ['RSA PKCS #1 with SHA-256', await rsaPkcs1Key('SHA-256')],
  ['RSA PKCS #1 with SHA-512', await rsaPkcs1Key('SHA-512')],
  ['ECDSA on P-384', await ecKey()],
  ['ECDSA on P-256', await ecKey('P-256')]
] as const

describe('certificates', () => {
  it.each(signers)('verify under the key that signed them and no other: %s', async (_, key) => {
    const make = async (issuerKey: typeof key): Promise<Uint8Array> =>
      certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey })
    const own = parseCertificate(await make(key), 'it')
    const other = parseCertificate(await make(await ecKey()), 'other')
    expect(await isSignedBy(own, own)).toBe(true)
    expect(await isSignedBy(other, own).catch(() => false)).toBe(false)
    expect(await isSignedBy({ ...own, tbs: Uint8Array.of(...own.tbs, 0) }, own)).toBe(false)
  })

  it('keep dates, names and the length of the key', async () => {
    const key = await rsaPssKey()
    const parsed = parseCertificate(
      await certificate({ subject: 'A', issuer: 'B', subjectKey: key, issuerKey: key }),
      'it'
    )
    expect(parsed.keyType).toEqual({ type: 'RSA', bits: 2048 })
    expect(parsed.notAfter).toEqual(new Date('2044-01-01T00:00:00Z'))
    expect(Buffer.from(parsed.issuer).toString('latin1')).toContain('B')
    expect(parsed.signatureAlgorithm).toEqual({ name: 'RSA-PSS', hash: 'SHA-384', saltLength: 48 })
  })

  it('are refused if the signed algorithm is not the outer one', async () => {
    const key = await ecKey()
    const swap = (tbs: Uint8Array): Uint8Array => {
      const copy = Buffer.from(tbs)
      // ecdsa-with-SHA384 to ecdsa-with-SHA256, inside the signed part only.
      const place = copy.indexOf(Buffer.from(asn1.oid('1.2.840.10045.4.3.3')))
      copy[place + 9] = 2
      return copy
    }
    const der = await certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey: key, alter: swap })
    expect(() => parseCertificate(der, 'it')).toThrow('two different signature algorithms')
  })

  it.each([
    ['extensions twice', 0xa3, 7],
    ['a field after its extensions', 0xa4, 8],
    ['a unique identifier of its issuer', 0x81, 7],
    ['a unique identifier of its subject', 0xa2, 7]
  ])('are refused with %s', async (_, tag, place) => {
    const key = await ecKey()
    const insert = (tbs: Uint8Array): Uint8Array => {
      const { tag: outer, contents } = parseTree(tbs)
      const fields = contents as readonly DerNode[]
      return write({ tag: outer, contents: fields.toSpliced(place, 0, { tag, contents: asn1.sequence() }) }) ?? tbs
    }
    const der = await certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey: key, alter: insert })
    expect(() => parseCertificate(der, 'it')).toThrow(/it extensions is missing|it has fields after its extensions/)
  })

  it('are refused above 16 KiB, in texts above 64 KiB and in chains above 8', async () => {
    const key = await ecKey()
    const der = await certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey: key })
    expect(() => parseCertificate(new Uint8Array(16 * 1024 + 1), 'it')).toThrow('longer')
    expect(() => parsePemCertificates(' '.repeat(70_000), 'it')).toThrow('longer')
    expect(parsePemCertificates(pem(...Array<Uint8Array>(8).fill(der)), 'it')).toHaveLength(8)
    expect(() => parsePemCertificates(pem(...Array<Uint8Array>(9).fill(der)), 'it')).toThrow('1 to 8')
  })

  it('are read from PEM with line ends of either kind', async () => {
    const key = await ecKey()
    const text = pem(await certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey: key }))
    expect(parsePemCertificates(text.replace(/\n/g, '\r\n'), 'it')).toEqual(parsePemCertificates(text, 'it'))
  })

  const key = signers[3][1]
  const oids = (...names: readonly string[]): Uint8Array => asn1.sequence(...names.map(asn1.oid))
  const pss = (...fields: readonly Uint8Array[]): Uint8Array =>
    asn1.sequence(asn1.oid('1.2.840.113549.1.1.10'), asn1.sequence(...fields))
  const hash = (name: string): Uint8Array => asn1.sequence(asn1.oid(name), asn1.nullValue)
  const sha384 = '2.16.840.1.101.3.4.2.2'
  const mgf = (name: string): Uint8Array =>
    asn1.explicit(1, asn1.sequence(asn1.oid('1.2.840.113549.1.1.8'), hash(name)))
  const salt = asn1.explicit(2, asn1.integer(48))
  it.each<readonly [string, Parameters<typeof certificate>[0] | object]>([
    ['SHA-1', { algorithm: oids('1.2.840.113549.1.1.5') }],
    ['PSS whose hash is the default, SHA-1', { algorithm: pss(salt) }],
    ['PSS with SHA-1', { algorithm: pss(asn1.explicit(0, hash('1.3.14.3.2.26')), mgf('1.3.14.3.2.26'), salt) }],
    ['PSS with two hashes', { algorithm: pss(asn1.explicit(0, hash(sha384)), mgf('2.16.840.1.101.3.4.2.1'), salt) }],
    [
      'PSS with another trailer',
      {
        algorithm: pss(asn1.explicit(0, hash(sha384)), mgf(sha384), salt, asn1.explicit(3, asn1.integer(2)))
      }
    ],
    [
      'a key on P-521',
      { publicKey: asn1.sequence(oids('1.2.840.10045.2.1', '1.3.132.0.35'), asn1.bits(new Uint8Array(133))) }
    ],
    ['an Ed25519 key', { publicKey: asn1.sequence(oids('1.3.101.112'), asn1.bits(new Uint8Array(32))) }]
  ])('are refused with %s', async (_, changes) => {
    const der = await certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey: key, ...changes })
    expect(() => parseCertificate(der, 'it')).toThrow(TypeError)
  })

  it('may write the trailer field of PSS out, as AMD does', async () => {
    const algorithm = pss(asn1.explicit(0, hash(sha384)), mgf(sha384), salt, asn1.explicit(3, asn1.integer(1)))
    const der = await certificate({ subject: 'A', issuer: 'A', subjectKey: key, issuerKey: key, algorithm })
    expect(parseCertificate(der, 'it').signatureAlgorithm).toMatchObject({ name: 'RSA-PSS', saltLength: 48 })
  })
})
