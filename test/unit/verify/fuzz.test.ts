import { sign } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { claims } from '../../../src/verify/check.js'
import { VerifyError } from '../../../src/verify/errors.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { pem } from './certificate-forge.js'
import * as asn1 from './der-writer.js'
import { createWorld, forge, type Members, mismatches, nodePrivateKey, now, put } from './forge.js'
import { generator } from './generator.js'

const world = await createWorld()
/** Enough to reach every reader many times; raise it for a search. */
const rounds = 60

/** One to four faults: a byte changed, a stretch removed, repeated or filled. */
function mutate(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  let mutated = Uint8Array.from(bytes)
  for (let faults = 1 + random(4); faults > 0; faults--) {
    const start = random(mutated.length + 1)
    const end = Math.min(mutated.length, start + 1 + random(40))
    const [before, stretch, after] = [mutated.subarray(0, start), mutated.subarray(start, end), mutated.subarray(end)]
    switch (random(5)) {
      case 0:
        mutated = Uint8Array.of(...before, ...after)
        break
      case 1:
        mutated = Uint8Array.of(...before, ...stretch, ...stretch, ...after)
        break
      case 2:
        mutated = Uint8Array.of(...before, ...stretch.map(() => (random(2) === 0 ? 0xff : 0)), ...after)
        break
      default:
        if (start < mutated.length) mutated[start] = random(256)
    }
  }
  return mutated
}

describe('verifyEvidence on damaged evidence', () => {
  const base64 = {
    decode: (text: string): Uint8Array => Buffer.from(text, 'base64'),
    encode: (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  }
  const plain = {
    decode: (text: string): Uint8Array => Buffer.from(text, 'latin1'),
    encode: (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
  }
  /** Every certificate's DER behind intact PEM. */
  const insidePem = {
    decode: (text: string): Uint8Array =>
      Buffer.from((text.split('-----END')[0] ?? '').replace(/-----BEGIN CERTIFICATE-----|\n/g, ''), 'base64'),
    encode: (bytes: Uint8Array): string =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE-----\n`
  }

  it.each([
    ['report', ['snp', 'report'], base64, 1],
    ['certificates as text', ['snp', 'certificates'], plain, 2],
    ['VCEK as DER', ['snp', 'certificates'], insidePem, 3],
    ['UVM endorsement', ['snp', 'uvmEndorsements'], base64, 4],
    ['runtime data', ['runtimeData'], base64, 5],
    ['token as text', ['maa', 'token'], plain, 6]
  ])('rejects and never throws: %s', async (_, path, codec, seed) => {
    const random = generator(seed)
    const { document, trust, inputs } = await forge(world)
    const parent = path.slice(0, -1).reduce((object, name) => object[name] as Members, document)
    const name = path.at(-1) ?? ''
    const original = String(parent[name])
    const rest = codec === insidePem ? original.slice(original.indexOf('-----END CERTIFICATE-----\n') + 26) : ''
    for (let round = 0; round < rounds; round++) {
      const bytes = codec.decode(original)
      const mutated = mutate(bytes, random)
      if (Buffer.compare(Buffer.from(bytes), mutated) === 0) continue
      parent[name] = codec.encode(mutated) + rest
      const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
      if (verdict.verdict !== 'rejected') throw new Error(`seed ${seed}, round ${round}: trusted`)
    }
  })

  it('trusts no token with damaged claims that the provider has signed, unless what it goes by is undamaged', async () => {
    const random = generator(7)
    // Long, so that some of the damage is where nobody looks.
    const { document, trust, inputs } = await forge(world, { claims: put('0'.repeat(800), 'jti') })
    const maa = document['maa'] as Members
    const original = Buffer.from(String(maa['token']).split('.')[1] ?? '', 'base64url')
    const seen = { unreadable: 0, rejected: 0, trusted: 0 }
    for (let round = 0; round < 5 * rounds; round++) {
      const mutated = Buffer.from(random(2) === 0 ? mutate(original, random) : withOtherLetter(original, random))
      maa['token'] = signToken(mutated)
      const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
      const wrong = mismatches(verdict)
      const isReadable = !wrong.includes('maa.signature')
      // All of them are signed by the provider: where one is read at all, the signature never is what is wrong.
      if (!isReadable) expect(wrong).toEqual(ofToken)
      else expect(wrong.every((claim) => ofToken.includes(claim))).toBe(true)
      seen[isReadable ? verdict.verdict : 'unreadable']++
      if (verdict.verdict === 'trusted') {
        expect(decisive(JSON.parse(mutated.toString()))).toEqual(decisive(JSON.parse(original.toString())))
      }
    }
    // Else it would say nothing.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5)
  })

  it('throws nothing but its own error for a damaged document', async () => {
    const random = generator(8)
    const text = JSON.stringify((await forge(world)).document)
    const bytes = Buffer.from(text)
    for (let round = 0; round < rounds; round++) {
      const damaged = Buffer.from(mutate(bytes, random)).toString('latin1')
      try {
        parseEvidence(damaged)
      } catch (error) {
        expect(error).toBeInstanceOf(VerifyError)
      }
    }
  })

  it('rejects and never throws: garbage in the forms of DER and CBOR, in every part', async () => {
    const random = generator(9)
    const { document, trust, inputs } = await forge(world)
    for (let round = 0; round < 3 * rounds; round++) {
      const garbage = {
        ...document,
        runtimeData: base64.encode(Buffer.from(jsonGarbage(random, 4))),
        maa: { endpoint: 'https://maa.test.example', token: tokenGarbage(random) },
        snp: {
          report: base64.encode(bytesOf(random, 1184)),
          certificates: pem(derGarbage(random, 4), derGarbage(random, 4), derGarbage(random, 4)),
          uvmEndorsements: base64.encode(cborGarbage(random, 5))
        }
      }
      const verdict = await verifyEvidence(parseEvidence(garbage), trust, inputs)
      expect(mismatches(verdict)).toEqual(
        expect.arrayContaining(['vcek.chain', 'report.signature', 'uvm.signature', 'runtimeData.keys', 'maa.signature'])
      )
    }
  })

  it('rejects and never throws: garbage for the keys of the attestation provider', async () => {
    const random = generator(10)
    const { document, trust, inputs } = await forge(world)
    for (let round = 0; round < rounds; round++) {
      const x5c =
        random(2) === 0 ? [base64.encode(derGarbage(random, 4))] : (JSON.parse(jsonGarbage(random, 2)) as unknown)
      const key = { kid: 'key-1', kty: 'RSA', x5c }
      const jwks: unknown = random(3) === 0 ? JSON.parse(jsonGarbage(random, 3)) : { keys: [null, 7, key] }
      const verdict = await verifyEvidence(parseEvidence(document), trust, {
        ...inputs,
        maaKeys: [{ endpoint: 'https://maa.test.example', jwks }]
      })
      expect(mismatches(verdict)).toEqual(['maa.signature'])
    }
  })
})

/** Mostly still JSON, and mostly of the same form. */
function withOtherLetter(bytes: Uint8Array, random: Random): Uint8Array {
  const changed = Uint8Array.from(bytes)
  changed[random(bytes.length)] = '0123456789abcdef'.charCodeAt(random(16))
  return changed
}

const ofToken = claims.filter((claim) => claim.startsWith('maa.'))

/** A token of the provider about whatever bytes these are. */
function signToken(payload: Uint8Array): string {
  const input = ['{"alg":"RS256","kid":"key-1"}', payload]
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.')
  return `${input}.${sign('sha256', Buffer.from(input), nodePrivateKey(world.maa)).toString('base64url')}`
}

/** The claims that a verdict goes by; levels and times are bounds, and count for whether they are kept. */
function decisive(token: Members): unknown {
  const { jti: _, nonce: __, exp, iat, nbf, 'x-ms-ver': ___, ...rest } = token
  const known = Object.entries(rest).filter(([name]) => decided.includes(name.replace('x-ms-sevsnpvm-', '')))
  const least = { 'bootloader-svn': 4, 'tee-svn': 0, 'snpfw-svn': 24, 'microcode-svn': 219 }
  const levels = Object.entries(least).map(([name, level]) => Number(token[`x-ms-sevsnpvm-${name}`]) >= level)
  const seconds = now.getTime() / 1000
  const isInTime =
    Number(exp) > seconds - 60 && Number(iat) >= seconds - 360 && Math.max(Number(iat), Number(nbf)) <= seconds + 60
  return { known: new Map(known.map(([name, value]) => [name, withoutOthers(name, value)])), levels, isInTime }
}

const decided = [
  ...['iss', 'x-ms-attestation-type', 'x-ms-compliance-status', 'x-ms-runtime', 'hostdata', 'is-debuggable'],
  ...['launchmeasurement', 'migration-allowed', 'reportdata', 'uvm-endorsement', 'uvm-endorsement-headers', 'vmpl']
]

/** Of the endorsement that the provider saw three members count, and the SVN is a bound. */
function withoutOthers(name: string, value: unknown): unknown {
  const members = value as Members
  if (name.endsWith('uvm-endorsement')) {
    return [members['x-ms-sevsnpvm-launchmeasurement'], Number(members['x-ms-sevsnpvm-guestsvn']) >= 100]
  }
  return name.endsWith('uvm-endorsement-headers') ? [members['iss'], members['feed']] : value
}

type Random = (below: number) => number

function bytesOf(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256))
}

/** Elements whose lengths are right, mostly, and whose types are those of certificates. */
function derGarbage(random: Random, depth: number): Uint8Array {
  const tags = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x16, 0x17, 0x18, 0xa0, 0xa3, 0x1f, 0x80]
  if (depth === 0 || random(4) === 0) return asn1.der(tags[random(tags.length)] ?? 0, bytesOf(random, random(20)))
  const children = Array.from({ length: random(7) }, () => derGarbage(random, depth - 1))
  const written = Uint8Array.from(asn1.der(random(3) === 0 ? 0xa0 : 0x30, ...children))
  if (random(8) === 0 && written.length > 1) written[1] = random(256)
  return written
}

/** Items whose heads are right, mostly: every type, all forms of numbers, labels of COSE. */
function cborGarbage(random: Random, depth: number): Uint8Array {
  const head = (major: number, argument: number): Uint8Array =>
    argument < 24 ? Uint8Array.of((major << 5) | argument) : Uint8Array.of((major << 5) | 24, argument)
  const items = (count: number): Uint8Array[] => Array.from({ length: count }, () => cborGarbage(random, depth - 1))
  const length = random(6)
  switch (depth === 0 ? random(4) : random(9)) {
    case 0:
      return head(0, [1, 2, 3, 15, 33, 34][random(6)] ?? 0)
    case 1:
      return head(1, [6, 34, 36, 37, 38][random(5)] ?? 0)
    case 2:
      return Buffer.concat([head(2, length), bytesOf(random, length)])
    case 3:
      return Buffer.concat([head(3, length), bytesOf(random, length)])
    case 4:
      return Buffer.concat([head(4, length), ...items(length)])
    case 5:
      return Buffer.concat([head(5, length), ...items(2 * length)])
    case 6:
      return Buffer.concat([head(6, [1, 18, 98][random(3)] ?? 0), ...items(1)])
    case 7: {
      // A message of the right form, so that what is inside is reached.
      const inside = Buffer.concat([head(5, 1), ...items(2)])
      return Buffer.concat([Uint8Array.of(0xd2, 0x84), head(2, inside.length), inside, head(5, 0), ...items(2)])
    }
    default:
      return bytesOf(random, 1 + random(9))
  }
}

function jsonGarbage(random: Random, depth: number): string {
  const names = ['confrouter', 'keys', 'v', 'rsa', 'x5c', 'kid', '__proto__', 'constructor', '']
  const scalars = ['null', 'true', '1e999', '-0', '1.5', '""', '"\\u0000"', '"\\ud800"', '[]', '{}']
  if (depth === 0) return scalars[random(scalars.length)] ?? 'null'
  const members = Array.from({ length: random(5) }, () => jsonGarbage(random, depth - 1))
  if (random(2) === 0) return `[${members.join(',')}]`
  return `{${members.map((member) => `"${names[random(names.length)] ?? ''}":${member}`).join(',')}}`
}

function tokenGarbage(random: Random): string {
  const part = (json: string): string => Buffer.from(json).toString('base64url')
  const time = ['1e999', '-1e999', '0', '1e300', '"1"'][random(5)] ?? '0'
  const claims = `{"iat":${time},"nbf":${time},"exp":${time},"x-ms-runtime":${jsonGarbage(random, 4)}}`
  return `${part('{"alg":"RS256","kid":"key-1"}')}.${part(random(3) === 0 ? jsonGarbage(random, 4) : claims)}.AAAA`
}
