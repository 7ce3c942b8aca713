import { describe, expect, it } from '@jest/globals'
import type { Claim } from '../../../src/verify/check.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { pem } from './certificate-forge.js'
import { createWorld, forge, type Members, mismatches, put } from './forge.js'
import {
  amdAuthorities,
  type CapturedSet,
  derOf,
  hardwareOnly,
  inOrder,
  knownMismatches,
  milanV2,
  type Parts,
  reportAlone,
  verifyCaptured,
  version3
} from './golden-evidence.js'

/** Captured evidence with one thing wrong: what fails must be the claim that the thing belongs to. */

const captured = milanV2()
const world = await createWorld()
const productClaims: readonly Claim[] = ['vcek.hwid', 'vcek.tcb', 'tcb.minimum']
const withoutChain: readonly Claim[] = ['report.signature', 'vcek.chain', 'ark.pinned', ...productClaims]

async function faultsOf(set: CapturedSet, changed: Partial<Parts>, trust: unknown = hardwareOnly): Promise<Claim[]> {
  const verdict = await verifyCaptured(set, changed, trust)
  expect(verdict.verdict).toBe('rejected')
  expect(verdict).not.toHaveProperty('evidence')
  return mismatches(verdict).filter((claim) => !knownMismatches.includes(claim))
}

/** `report.signature` and, where the field has claims of its own, those. First and last byte of each field. */
const signedFields: readonly (readonly [first: number, last: number, ...Claim[]])[] = [
  // Any version from 3 on has a CPUID, which a report of version 2 has not.
  [0, 3, 'report.format', ...productClaims],
  // Bits 16 to 23 of POLICY: SMT, one that must be set, migration, debugging.
  [10, 10, 'report.format', 'guest.debug', 'guest.migration'],
  [48, 51, 'guest.vmpl'],
  [52, 55, 'report.format'],
  [72, 72, 'report.format'],
  [80, 143, 'reportData'],
  [144, 191, 'uvm.measurement'],
  [192, 223, 'hostData', 'ccePolicy.digest'],
  [384, 385, 'vcek.tcb'],
  [390, 391, 'vcek.tcb'],
  [416, 479, 'vcek.hwid']
]

/** What must fail if every bit of this byte is turned over. */
function claimsOfByte(offset: number): readonly Claim[] {
  const isSignature = (offset >= 672 && offset < 720) || (offset >= 744 && offset < 792)
  if (isSignature) return ['report.signature']
  if (offset >= 672) return ['report.format']
  const own = signedFields.flatMap(([first, last, ...names]) => (offset >= first && offset <= last ? names : []))
  return inOrder(['report.signature', ...own])
}

const turned = (original: Uint8Array, offset: number, bits: number): Buffer => {
  const copy = Buffer.from(original)
  copy[offset] = (copy[offset] ?? 0) ^ bits
  return copy
}

describe('the captured report', () => {
  it('has no byte that may change: each names the claims of its field', async () => {
    const { report } = captured.parts
    for (let offset = 0; offset < report.length; offset++) {
      const expected = claimsOfByte(offset)
      // The endorsement takes as long as all the rest, and only the measurement is held against it.
      const trust = expected.includes('uvm.measurement') ? hardwareOnly : reportAlone
      const faults = await faultsOf(captured, { report: turned(report, offset, 0xff) }, trust)
      expect({ offset, faults }).toEqual({ offset, faults: expected })
    }
    expect(report).toHaveLength(1184)
  })

  it.each(['milan', 'genoa'] as const)('has no bit that may change in version 3: %s', async (product) => {
    const set = version3(product)
    expect(mismatches(await verifyCaptured(set, {}, reportAlone))).not.toContain('report.signature')
    for (let offset = 0; offset < 1184; offset += 11) {
      const report = turned(set.parts.report, offset, 1 << (offset % 8))
      const faults = await faultsOf(set, { report }, reportAlone)
      const expected = offset < 672 ? 'report.signature' : claimsOfByte(offset)[0]
      expect({ offset, faults }).toEqual({ offset, faults: expect.arrayContaining([expected]) })
    }
  })

  it('tells the processor by family and model from version 3 on', async () => {
    const set = version3('milan')
    for (const offset of [392, 393]) {
      const faults = await faultsOf(set, { report: turned(set.parts.report, offset, 0x40) }, reportAlone)
      expect(faults).toEqual(expect.arrayContaining([...productClaims]))
    }
  })

  it.each([
    ['committed', 480],
    ['launch', 496]
  ])('must have reached the minimum with its %s TCB as well', async (_, offset) => {
    const report = Buffer.from(captured.parts.report)
    report.fill(0, offset, offset + 8)
    expect(await faultsOf(captured, { report })).toEqual(['report.signature', 'tcb.minimum'])
  })

  it('of another machine does not fit the chain', async () => {
    const { report } = version3('milan').parts
    const faults = await faultsOf(captured, { report }, reportAlone)
    expect(faults).toEqual(expect.arrayContaining(['report.signature', 'vcek.hwid', 'vcek.tcb']))
    expect(faults).not.toContain('vcek.chain')
  })
})

describe.each([
  ['VCEK', 0, 'vcek.chain'],
  ['ASK', 1, 'vcek.chain'],
  ['ARK', 2, 'ark.pinned']
] as const)('the captured %s', (_, position, claim) => {
  const ders = captured.chain.map(derOf)
  const der = ders[position] ?? Buffer.alloc(0)
  const chainWith = (changed: Uint8Array): string => pem(...ders.with(position, Buffer.from(changed)))

  it('has no bit that may change', async () => {
    for (let offset = 0; offset < der.length; offset += 11) {
      const changed = turned(der, offset, 1 << (offset % 8))
      const faults = await faultsOf(captured, { certificates: chainWith(changed) }, reportAlone)
      expect({ offset, faults }).toEqual({ offset, faults: expect.arrayContaining([claim]) })
      expect(faults).toContain('vcek.chain')
    }
  })

  it.each(['genoa', 'turin'] as const)('is not replaced by one of another product: %s', async (product) => {
    const changed = derOf([version3('genoa').chain[0], ...amdAuthorities(product)][position] ?? '')
    const faults = await faultsOf(captured, { certificates: chainWith(changed) }, reportAlone)
    expect(faults).toEqual(expect.arrayContaining([claim, 'vcek.chain']))
  })

  it('is not left out, and not sent twice', async () => {
    for (const certificates of [pem(...ders.toSpliced(position, 1)), pem(...ders.toSpliced(position, 0, der))]) {
      expect(await faultsOf(captured, { certificates }, reportAlone)).toEqual(withoutChain)
    }
  })

  it('is not read with bytes before or after it', async () => {
    for (const changed of [Buffer.concat([der, Buffer.alloc(1)]), Buffer.concat([Buffer.alloc(1), der])]) {
      expect(await faultsOf(captured, { certificates: chainWith(changed) }, reportAlone)).toEqual(withoutChain)
    }
  })
})

describe('the captured chain', () => {
  it('has the authorities that AMD serves for its product', () => {
    expect(amdAuthorities('milan').map(derOf)).toEqual(captured.chain.slice(1).map(derOf))
  })

  it('is not that of another chip of the product', async () => {
    const certificates = [version3('milan').chain[0], ...captured.chain.slice(1)].join('\n')
    const faults = await faultsOf(captured, { certificates }, reportAlone)
    // The other certificate was issued later, so that time is wrong as well.
    expect(faults).toEqual(['report.signature', 'vcek.chain', 'vcek.hwid', 'vcek.tcb'])
  })

  it.each([
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0]
  ])('is not accepted in the order %i, %i, %i', async (...order) => {
    const certificates = order.map((i) => captured.chain[i]).join('\n')
    const faults = await faultsOf(captured, { certificates }, reportAlone)
    expect(faults).toContain('vcek.chain')
    expect(faults.includes('ark.pinned')).toBe(order[2] !== 2)
  })

  it.each(['genoa', 'turin'] as const)('is not accepted below the authorities of %s', async (product) => {
    const certificates = [captured.chain[0], ...amdAuthorities(product)].join('\n')
    expect(await faultsOf(captured, { certificates }, reportAlone)).toEqual(['vcek.chain', 'ark.pinned'])
  })
})

describe('a foreign root', () => {
  const openTo = (members: Members): void => put('amd', 'roots')(members)

  it('below the genuine chain is named, and its signatures do not fit', async () => {
    const [vcek, ask] = captured.chain
    const certificates = `${vcek}${ask}${pem(world.arks.Milan)}`
    const verdict = await verifyCaptured(captured, { certificates }, reportAlone)
    expect(mismatches(verdict)).toEqual(['vcek.chain', 'ark.pinned', ...knownMismatches])
    expect(verdict.simulated).toBe(true)
  })

  it('that signed a chain of its own, good in everything else, is not trusted for coming with it', async () => {
    const { document, trust, inputs } = await forge(world, { trust: openTo })
    const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
    expect(mismatches(verdict)).toEqual(['ark.pinned'])
    expect(verdict).toMatchObject({ verdict: 'rejected', simulated: true })
  })

  it('is not hidden by shipping the genuine one in its place', async () => {
    const genuine = derOf(captured.chain[2])
    const { document, trust, inputs } = await forge(world, {
      trust: openTo,
      certificates: ([vcek, ask]) => [vcek, ask, genuine]
    })
    const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
    expect(mismatches(verdict)).toEqual(['vcek.chain'])
    expect(verdict.verdict).toBe('rejected')
  })

  it('is not reached by a genuine intermediate above a forged key of a chip', async () => {
    const [, ask, ark] = captured.chain.map(derOf)
    const { document, trust, inputs } = await forge(world, {
      trust: openTo,
      certificates: ([vcek]) => [vcek, ask ?? vcek, ark ?? vcek]
    })
    const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
    expect(mismatches(verdict)).toEqual(['vcek.chain'])
  })
})
