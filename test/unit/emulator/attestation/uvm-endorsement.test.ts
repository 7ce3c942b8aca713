import { constants, createHash, sign } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { decode, encode, Tagged } from 'cborg'
import { endEntityExtensions, issueCertificate } from '../../../../src/emulator/hardware/certificate.js'
import { type KeyPair, makeRsaKeyPair } from '../../../../src/emulator/hardware/key-pair.js'
import { endorseUvm } from '../../../../src/emulator/hardware/uvm-endorsement.js'
import { verifyUvmEndorsement } from '../../../../src/emulator/services/attestation/uvm-endorsement.js'

const measurement = new Uint8Array(48).fill(5)
const day = 86_400_000
const now = new Date()
const validity = { notBefore: new Date(now.getTime() - day), notAfter: new Date(now.getTime() + day) }
let root: KeyPair
let leaf: KeyPair
let good: ReturnType<typeof endorseUvm>
let foreign: ReturnType<typeof endorseUvm>

beforeAll(async () => {
  const [foreignRoot, ...own] = await Promise.all([makeRsaKeyPair(2048), makeRsaKeyPair(2048), makeRsaKeyPair(2048)])
  ;[root, leaf] = own
  good = endorseUvm(measurement, { root, leaf }, validity, now)
  foreign = endorseUvm(measurement, { root: foreignRoot, leaf }, validity, now)
})

interface Parts {
  header: Map<number | string, unknown>
  payload: Uint8Array
}

/** The document with something changed, and a good signature of the leaf over the change. */
function resigned(document: Uint8Array, change: (parts: Parts) => void): Uint8Array {
  const [protectedBytes, , payload] = decode(document, { useMaps: true, tags: Tagged.preserve(18) }).value
  const parts: Parts = { header: decode(protectedBytes, { useMaps: true, tags: Tagged.preserve(1) }), payload }
  change(parts)
  const header = encode(parts.header)
  const message = encode(['Signature1', header, new Uint8Array(0), parts.payload])
  const key = { key: leaf.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }
  const signature = new Uint8Array(sign('sha384', message, key))
  return encode(new Tagged(18, [header, new Map(), parts.payload, signature]))
}

const verify = (document: Uint8Array, issuers = [good.issuer]): unknown =>
  verifyUvmEndorsement(document, measurement, issuers)

const chainOf = (parts: Parts): Uint8Array[] => parts.header.get(33) as Uint8Array[]

describe('a UVM endorsement', () => {
  it('passes, and passes again when it is signed anew', () => {
    expect(verify(good.document)).toMatchObject({ issuer: good.issuer, feed: 'ContainerPlat-AMD-UVM', guestSvn: '101' })
    expect(verify(resigned(good.document, () => undefined))).toEqual(verify(good.document))
  })

  it('is refused when a foreign signer names the trusted issuer', () => {
    const forged = resigned(foreign.document, ({ header }) => header.set('iss', good.issuer))
    expect(() => verify(forged)).toThrow(/not signed by the issuer that it names/)
  })

  it('is refused when its issuer asks for a usage that the leaf lacks', () => {
    const other = good.issuer.replace(/[\d.]+$/, '1.3.6.1.4.1.311.76.59.1.3')
    const forged = resigned(good.document, ({ header }) => header.set('iss', other))
    expect(() => verify(forged, [other])).toThrow(/not signed by the issuer that it names/)
  })

  it('is refused when its issuer is the leaf itself', () => {
    const forged = resigned(good.document, (parts) => {
      const digest = createHash('sha256').update(chainOf(parts)[0]!).digest('base64url')
      parts.header.set('iss', good.issuer.replace(/sha256:[\w-]+/, `sha256:${digest}`))
    })
    const { value } = decode(forged, { useMaps: true, tags: Tagged.preserve(18) })
    const issuer = decode(value[0], { useMaps: true, tags: Tagged.preserve(1) }).get('iss')
    expect(() => verify(forged, [issuer])).toThrow(/not signed by the issuer that it names/)
  })

  it('is refused when a trusted authority hangs beside the chain', () => {
    const forged = resigned(foreign.document, (parts) => {
      const [, trusted] = chainOf({
        header: decode(decode(good.document, { useMaps: true, tags: Tagged.preserve(18) }).value[0], {
          useMaps: true,
          tags: Tagged.preserve(1)
        }),
        payload: parts.payload
      })
      parts.header.set(33, [...chainOf(parts), trusted])
      parts.header.set('iss', good.issuer)
    })
    expect(() => verify(forged)).toThrow(/does not hold together/)
  })

  it('is refused when its certificates were not valid at the time of signing', () => {
    const old = resigned(good.document, ({ header }) => header.set('signingtime', new Tagged(1, 1_000_000_000)))
    expect(() => verify(old)).toThrow(/not valid when it was signed/)
  })

  it('is refused when the leaf was signed by an end entity', () => {
    const forged = resigned(good.document, (parts) => {
      const name = [['CN', 'UVM endorsement signer (simulated)']] as const
      const content = { subject: name, issuer: name, ...validity, publicKey: leaf.publicKey }
      const extensions = endEntityExtensions(leaf.publicKey, [])
      const certificate = issueCertificate({ ...content, extensions }, leaf.privateKey, 'rsa-sha384')
      parts.header.set(33, [certificate, ...chainOf(parts)])
      parts.header.delete(34)
    })
    expect(() => verify(forged)).toThrow(/does not hold together/)
  })

  it.each<[string, (parts: Parts) => void, RegExp]>([
    ['another certificate in x5t', ({ header }) => header.set(34, [-16, new Uint8Array(32)]), /another certificate/],
    ['no chain', ({ header }) => header.delete(33), /no certificate chain/],
    ['a leaf alone', (parts) => parts.header.set(33, chainOf(parts)[0]), /no certificate chain/],
    ['no issuer', ({ header }) => header.delete('iss'), /lacks its algorithm, issuer or feed/],
    ['no time', ({ header }) => header.delete('signingtime'), /when it was signed/],
    ['another algorithm', ({ header }) => header.set(1, -7), /algorithm that is not supported/],
    ['the hash of another algorithm', ({ header }) => header.set(1, -37), /signature is not valid/],
    ['a payload that is not JSON', (parts) => (parts.payload = Uint8Array.of(1)), /not JSON/],
    ['a payload without version', (parts) => (parts.payload = new TextEncoder().encode('{}')), /lacks its measurement/]
  ])('is refused with %s', (_case, change, message) => {
    expect(() => verify(resigned(good.document, (parts) => void change(parts)))).toThrow(message)
  })

  it('is refused for another measurement', () => {
    expect(() => verifyUvmEndorsement(good.document, new Uint8Array(48), [good.issuer])).toThrow(/another launch/)
  })

  it('is refused when it is too long or has no tag', () => {
    expect(() => verify(new Uint8Array(300_000))).toThrow(/too long/)
    expect(() => verify(encode([new Uint8Array(0), new Map(), null, new Uint8Array(0)]))).toThrow(/not a COSE_Sign1/)
  })
})
