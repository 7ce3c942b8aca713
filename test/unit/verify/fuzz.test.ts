import { describe, expect, it } from '@jest/globals'
import { VerifyError } from '../../../src/verify/errors.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { createWorld, forge, type Members } from './forge.js'

const world = await createWorld()
/** Enough to reach every reader many times; raise it for a search. */
const rounds = 60

/** Deterministic 32-bit generator (mulberry32), so that a failure can be run again. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

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
  /** The claims of the token behind intact base64url. */
  const insideToken = {
    decode: (token: string): Uint8Array => Buffer.from(token.split('.')[1] ?? '', 'base64url'),
    encode: (bytes: Uint8Array): string =>
      `eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS0xIn0.${Buffer.from(bytes).toString('base64url')}.AAAA`
  }

  it.each([
    ['report', ['snp', 'report'], base64, 1],
    ['certificates as text', ['snp', 'certificates'], plain, 2],
    ['VCEK as DER', ['snp', 'certificates'], insidePem, 3],
    ['UVM endorsement', ['snp', 'uvmEndorsements'], base64, 4],
    ['runtime data', ['runtimeData'], base64, 5],
    ['token as text', ['maa', 'token'], plain, 6],
    ['claims of the token', ['maa', 'token'], insideToken, 7]
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
})
