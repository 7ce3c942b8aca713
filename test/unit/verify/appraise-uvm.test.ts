import { createHash } from 'node:crypto'
import { decode, encode, Tagged } from 'cborg'
import type { Claim } from '../../../src/verify/check.js'
import { ecKey, extension } from './certificate-forge.js'
import * as asn1 from './der-writer.js'
import { describeFaults } from './faults.js'
import { type Changes, createWorld, now, put, uvmEku } from './forge.js'

const world = await createWorld()
const stranger = { vcek: await ecKey(), p256: await ecKey('P-256'), uvmRoot: await ecKey(), uvmLeaf: await ecKey() }
const unreadable: readonly Claim[] = ['uvm.signature', 'uvm.issuer', 'uvm.feed', 'uvm.svn', 'uvm.measurement']
const foreignIssuer = `did:x509:0:sha256:${'A'.repeat(43)}::eku:${uvmEku}`

describeFaults('the UVM endorsement', world, [
  ['ES384 is accepted', [], { uvmSigner: stranger.vcek, uvmHeader: (header) => header.set(1, -35) }],
  [
    'ES256 is accepted',
    [],
    { uvmSigner: stranger.p256, uvmHash: { name: 'sha256' }, uvmHeader: (header) => header.set(1, -7) }
  ],
  ['PS256 is accepted', [], { uvmHash: { name: 'sha256', saltLength: 32 }, uvmHeader: (header) => header.set(1, -37) }],
  ['PS512 is accepted', [], { uvmHash: { name: 'sha512', saltLength: 64 }, uvmHeader: (header) => header.set(1, -39) }],
  [
    'PS512 with the salt of another',
    ['uvm.signature'],
    { uvmHash: { name: 'sha512', saltLength: 48 }, uvmHeader: (header) => header.set(1, -39) }
  ],
  [
    'ES256 with a key on P-384',
    ['uvm.signature'],
    { uvmSigner: stranger.vcek, uvmHash: { name: 'sha256' }, uvmHeader: (header) => header.set(1, -7) }
  ],
  ['PSS with an elliptic key', ['uvm.signature'], { uvmSigner: stranger.vcek }],
  ['RSA with PKCS #1 padding', unreadable, { uvmHeader: (header) => header.set(1, -258) }],
  ['issuer and feed as CWT claims, measurement as raw bytes, are accepted', [], hashEnvelope()],
  ['the same, with a time that is tagged as one', [], hashEnvelope({ claims: [[6, new Tagged(1, 1750000000)]] })],
  ['the same, with its SVN as text', [], hashEnvelope({ claims: [['svn', '104']] })],
  ['the same, without a time', [], hashEnvelope({ claims: [[6, undefined]] })],
  ['the same, with its type named', [], hashEnvelope({ header: [[3, 'application/octet-stream']] })],
  [
    'the same, as a hash envelope of bytes by SHA-384',
    [],
    hashEnvelope({
      header: [
        [258, -43],
        [259, 'application/octet-stream']
      ]
    })
  ],
  [
    'the same, with the number of that type',
    [],
    hashEnvelope({
      header: [
        [258, -43],
        [259, 42]
      ]
    })
  ],
  [
    'a hash envelope of a document by the same signer is no measurement',
    unreadable,
    hashEnvelope({
      header: [
        [258, -43],
        [259, 'application/json']
      ]
    })
  ],
  ['a hash envelope that names no hash', unreadable, hashEnvelope({ header: [[259, 'application/octet-stream']] })],
  ['a hash envelope elsewhere that names no hash', unreadable, hashEnvelope({ header: [[260, 'https://a.example']] })],
  ['a hash envelope by another hash', unreadable, hashEnvelope({ header: [[258, -16]] })],
  ['a hash envelope without CWT claims', unreadable, hashEnvelope({ header: [[15, undefined]] })],
  ['a hash envelope of 47 bytes', unreadable, hashEnvelope({ payload: Buffer.alloc(47, 0x5a) })],
  ['a hash envelope of another measurement', ['uvm.measurement'], hashEnvelope({ payload: Buffer.alloc(48, 1) })],
  ['a hash envelope without SVN', ['uvm.svn'], hashEnvelope({ claims: [['svn', undefined]] })],
  ['a hash envelope with too low an SVN', ['uvm.svn'], hashEnvelope({ claims: [['svn', 99]] })],
  ['a hash envelope with an SVN below zero', unreadable, hashEnvelope({ claims: [['svn', -1]] })],
  ['a hash envelope without issuer', ['uvm.issuer'], hashEnvelope({ claims: [[1, undefined]] })],
  ['a hash envelope without feed', ['uvm.feed'], hashEnvelope({ claims: [[2, undefined]] })],
  [
    'a hash envelope that was signed after the leaf had expired',
    ['uvm.signature'],
    hashEnvelope({ claims: [[6, now.getTime() / 1000]] })
  ],
  ['a hash envelope with a time as text', unreadable, hashEnvelope({ claims: [[6, '1750000000']] })],
  ['CWT claims with too low an SVN', ['uvm.svn'], { uvmHeader: (header) => header.set(15, new Map([['svn', 99]])) }],
  [
    'CWT claims that contradict the headers',
    unreadable,
    { uvmHeader: (header) => header.set(15, new Map([[2, 'Other']])) }
  ],
  ['no signing time: dates are not looked at', [], { uvmHeader: (header) => void header.delete('signingtime') }],
  [
    'the SVN as an integer alone',
    [],
    {
      uvmPayload: (payload) => {
        put(undefined, 'x-ms-sevsnpvm-guestsvn')(payload)
        put(100, 'x-ms-sevsnpvm-guestsvn-int')(payload)
      }
    }
  ],
  [
    'the SVN as a number under its name of old',
    [],
    { uvmPayload: (payload) => void put(100, 'x-ms-sevsnpvm-guestsvn')(payload) }
  ],
  ['an issuer with two key usages, both there', [], issuedAs(['1.3.6.1.4.1.311.76.59.1.1', uvmEku])],
  ['an issuer with two key usages, one there', ['uvm.issuer'], issuedAs([uvmEku, '1.2.3.4'])],
  ['an issuer by SHA-384', [], issuedAs([uvmEku], 'sha384')],
  ['an issuer by SHA-512', [], issuedAs([uvmEku], 'sha512')],
  ['an issuer by the fingerprint of its leaf', ['uvm.issuer'], issuedAs([uvmEku], 'sha256', 'leaf')],
  [
    'the trusted issuer with a policy more is another issuer',
    ['uvm.issuer'],
    { uvmHeader: (header) => header.set('iss', `${String(header.get('iss'))}::eku:1.3.6.1.4.1.311.76.59.1.1`) }
  ],
  ['no x5t', [], { uvmHeader: (header) => void header.delete(34) }],
  [
    'signed after the leaf had expired',
    ['uvm.signature'],
    { uvmHeader: (header) => header.set('signingtime', new Tagged(1, now.getTime() / 1000)) }
  ],
  ['signed by a stranger', ['uvm.signature'], { uvmLeaf: { subjectKey: stranger.uvmLeaf } }],
  [
    'x5t of another certificate',
    ['uvm.signature'],
    { uvmHeader: (header) => header.set(34, [-16, new Uint8Array(32)]) }
  ],
  ['signature changed', ['uvm.signature'], { rawUvm: (bytes) => changed(bytes, bytes.length - 1) }],
  ['intermediate signed by a stranger', ['uvm.signature'], { uvmIntermediate: { issuerKey: stranger.uvmRoot } }],
  ['intermediate that is no authority', ['uvm.signature'], { uvmIntermediate: { authority: false } }],
  ['another algorithm than the key has', ['uvm.signature'], { uvmHeader: (header) => header.set(1, -37) }],
  [
    'issuer that is not trusted',
    ['uvm.issuer'],
    { uvmHeader: (header) => header.set('iss', 'did:x509:0:sha256:other::eku:1.2.3') }
  ],
  ['no issuer', ['uvm.issuer'], { uvmHeader: (header) => void header.delete('iss') }],
  [
    'trusted issuer, foreign chain',
    ['uvm.issuer', 'maa.measurement'],
    {
      uvmHeader: (header) => header.set('iss', foreignIssuer),
      trust: put(foreignIssuer, 'uvm', 'issuer')
    }
  ],
  [
    'leaf without the key usage that the issuer names',
    ['uvm.issuer'],
    { uvmLeaf: { extendedKeyUsage: ['1.3.6.1.4.1.311.76.59.1.1'] } }
  ],
  ['leaf without any extended key usage', ['uvm.issuer'], { uvmLeaf: { extendedKeyUsage: [] } }],
  [
    'intermediate whose basic constraints cannot be read',
    ['uvm.signature', 'uvm.issuer'],
    { uvmIntermediate: { authority: false, extensions: [extension('2.5.29.19', asn1.nullValue)] } }
  ],
  [
    'leaf whose extended key usage cannot be read',
    ['uvm.issuer'],
    { uvmLeaf: { extendedKeyUsage: undefined, extensions: [extension('2.5.29.37', asn1.nullValue)] } }
  ],
  ['leaf without the extension', ['uvm.issuer'], { uvmLeaf: { extendedKeyUsage: undefined } }],
  ['signing time that is no epoch time', unreadable, { uvmHeader: (header) => header.set('signingtime', 1) }],
  [
    'signing time far outside',
    unreadable,
    { uvmHeader: (header) => header.set('signingtime', new Tagged(1, 2 ** 40)) }
  ],
  ['issuer that is no text', unreadable, { uvmHeader: (header) => header.set('iss', 1) }],
  ['CWT claims that are no map', unreadable, { uvmHeader: (header) => header.set(15, []) }],
  ['x5t by another hash', unreadable, { uvmHeader: (header) => header.set(34, [-43, new Uint8Array(48)]) }],
  ['nine certificates', unreadable, { uvmHeader: (header) => header.set(33, Array(9).fill(new Uint8Array(1))) }],
  ['payload that is no object', unreadable, { uvmPayload: () => Buffer.from('[]') }],
  [
    'raw payload of another length',
    unreadable,
    {
      uvmHeader: (header) => void header.delete(3),
      uvmPayload: () => Buffer.alloc(47, 0x5a)
    }
  ],
  [
    'payload left out',
    unreadable,
    { rawUvm: () => encode(new Tagged(18, [new Uint8Array(0), new Map(), null, new Uint8Array(0)])) }
  ],
  ['another feed', ['uvm.feed'], { uvmHeader: (header) => header.set('feed', 'ContainerPlat-AMD-UVM2') }],
  [
    'SVN below the minimum',
    ['uvm.svn'],
    { uvmPayload: (payload) => void put('99', 'x-ms-sevsnpvm-guestsvn')(payload) }
  ],
  [
    'SVN as an integer beside, below the minimum',
    ['uvm.svn'],
    { uvmPayload: (payload) => void put(99, 'x-ms-sevsnpvm-guestsvn-int')(payload) }
  ],
  ['no SVN', ['uvm.svn'], { uvmPayload: (payload) => void put(undefined, 'x-ms-sevsnpvm-guestsvn')(payload) }],
  [
    'SVN that is no number',
    unreadable,
    { uvmPayload: (payload) => void put('0x64', 'x-ms-sevsnpvm-guestsvn')(payload) }
  ],
  [
    'measurement of another VM',
    ['uvm.measurement'],
    { uvmPayload: (payload) => void put('00'.repeat(48), 'x-ms-sevsnpvm-launchmeasurement')(payload) }
  ],
  [
    'measurement in capitals',
    unreadable,
    { uvmPayload: (payload) => void put('5A'.repeat(48), 'x-ms-sevsnpvm-launchmeasurement')(payload) }
  ],
  [
    'payload with a member twice',
    unreadable,
    {
      uvmPayload: () =>
        Buffer.from(
          `{"x-ms-sevsnpvm-guestsvn":"1","x-ms-sevsnpvm-guestsvn":"100","x-ms-sevsnpvm-launchmeasurement":"${'5a'.repeat(48)}"}`
        )
    }
  ],
  ['another content type', unreadable, { uvmHeader: (header) => header.set(3, 'text/plain') }],
  ['unknown algorithm', unreadable, { uvmHeader: (header) => header.set(1, -257) }],
  ['critical headers', unreadable, { uvmHeader: (header) => header.set(2, ['iss']) }],
  ['critical headers in the map that nobody signs', unreadable, { uvmUnprotected: new Map([[2, [99]]]) }],
  ['algorithm as a float', unreadable, { uvmProtected: (bytes) => withFloat(bytes) }],
  ['a leaf that is a certification authority', ['uvm.signature'], { uvmLeaf: { authority: true } }],
  ['no certificates', unreadable, { uvmHeader: (header) => void header.delete(33) }],
  ['no tag', unreadable, { rawUvm: (bytes) => bytes.subarray(1) }],
  ['another tag', unreadable, { rawUvm: (bytes) => Uint8Array.of(0xd1, ...bytes.subarray(1)) }],
  ['bytes after the end', unreadable, { rawUvm: (bytes) => Uint8Array.of(...bytes, 0) }],
  ['cut off', unreadable, { rawUvm: (bytes) => bytes.subarray(0, -1) }],
  [
    'array of indefinite length',
    unreadable,
    { rawUvm: (bytes) => Uint8Array.of(0xd2, 0x9f, ...bytes.subarray(2), 0xff) }
  ],
  [
    'array length not in its shortest form',
    unreadable,
    { rawUvm: (bytes) => Uint8Array.of(0xd2, 0x98, 0x04, ...bytes.subarray(2)) }
  ],
  ['header twice in the protected map', unreadable, { rawUvm: withHeaderTwice }],
  ['header in both maps', unreadable, { uvmUnprotected: new Map([['feed', 'ContainerPlat-AMD-UVM']]) }],
  ['certificates in both maps', unreadable, { uvmUnprotected: new Map([[33, new Uint8Array(1)]]) }],
  ['other headers beside, which nobody signs, are not looked at', [], { uvmUnprotected: new Map([['timestamp', 1]]) }],
  ['label of bytes', unreadable, { uvmHeader: (header) => header.set(new Uint8Array(1), 1) }],
  ['label of bytes in the map that nobody signs', unreadable, { uvmUnprotected: new Map([[new Uint8Array(1), 1]]) }],
  ['one certificate alone', ['uvm.issuer'], { uvmHeader: (header) => header.set(33, firstOf(header.get(33))) }],
  ['nested without end', unreadable, { rawUvm: () => new Uint8Array(90_000).fill(0x81) }]
])

interface EnvelopeChanges {
  readonly claims?: readonly (readonly [unknown, unknown])[]
  readonly header?: readonly (readonly [unknown, unknown])[]
  readonly payload?: Uint8Array
}

/** The newer form, with members replaced; `undefined` leaves one out. */
function hashEnvelope({ claims = [], header: others = [], payload }: EnvelopeChanges = {}): Changes {
  const assign = (map: Map<unknown, unknown>, members: EnvelopeChanges['claims'] = []): void => {
    for (const [label, value] of members) {
      if (value === undefined) map.delete(label)
      else map.set(label, value)
    }
  }
  return {
    uvmHeader: (header) => {
      const cwt = new Map<unknown, unknown>([
        [1, header.get('iss')],
        [2, header.get('feed')],
        [6, 1750000000],
        ['svn', 104]
      ])
      for (const name of ['iss', 'feed', 'signingtime', 3]) header.delete(name)
      assign(cwt, claims)
      header.set(15, cwt)
      assign(header, others)
    },
    uvmPayload: () => payload ?? Buffer.alloc(48, 0x5a)
  }
}

/** An issuer of other policies, the same in endorsement, token and trust policy. */
function issuedAs(usages: readonly string[], hash = 'sha256', certificate: 'root' | 'leaf' = 'root'): Changes {
  const identifier = (der: Uint8Array): string =>
    [`did:x509:0:${hash}:${createHash(hash).update(der).digest('base64url')}`, ...usages].join('::eku:')
  // The leaf is another one each time; its fingerprint is taken from the header when there is one.
  let issuer = identifier(world.uvmRootCertificate)
  return {
    uvmHeader: (header) => {
      if (certificate === 'leaf') issuer = identifier(firstOf(header.get(33)))
      header.set('iss', issuer)
    },
    claims: (claims) => put(issuer, 'x-ms-sevsnpvm-uvm-endorsement-headers', 'iss')(claims),
    trust: (trust) => put(issuer, 'uvm', 'issuer')(trust)
  }
}

function firstOf(chain: unknown): Uint8Array {
  const [first] = chain as readonly Uint8Array[]
  return first ?? new Uint8Array(0)
}

/** -38 as a float, which a lenient reader takes for the same number. */
function withFloat(header: Uint8Array): Uint8Array {
  const place = Buffer.from(header).indexOf(Buffer.of(0x01, 0x38, 0x25))
  const float = Buffer.alloc(9, 0xfb)
  float.writeDoubleBE(-38, 1)
  return Buffer.concat([header.subarray(0, place + 1), float, header.subarray(place + 3)])
}

function changed(bytes: Uint8Array, offset: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[offset] = (copy[offset] ?? 0) ^ 1
  return copy
}

/** The same message with the first pair of the protected header written twice, signature left as it is. */
function withHeaderTwice(bytes: Uint8Array): Uint8Array {
  const { value } = decode(bytes, { useMaps: true, tags: Tagged.preserve(18) }) as Tagged
  const [protectedHeader, ...rest] = value as [Uint8Array, ...unknown[]]
  const [mapHead = 0, ...pairs] = protectedHeader
  const algorithm = [0x01, 0x38, 0x25]
  return encode(new Tagged(18, [Uint8Array.of(mapHead + 1, ...algorithm, ...pairs), ...rest]))
}
