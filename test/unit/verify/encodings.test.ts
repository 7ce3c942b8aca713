import { describe, expect, it } from '@jest/globals'
import { decode, encode, Tagged } from 'cborg'
import type { Claim } from '../../../src/verify/check.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { type Verdict, verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { headsOf, indefinite, lengthened } from './cbor-heads.js'
import { pem } from './certificate-forge.js'
import { nodesOf, parseTree, spellings, write } from './der-tree.js'
import { createWorld, forge, type Members, mismatches } from './forge.js'
import {
  derOf,
  hardwareOnly,
  knownMismatches,
  milanV2,
  type Parts,
  reportAlone,
  verifyCaptured
} from './golden-evidence.js'

/** Evidence that is cut off, followed by something, or spelt otherwise than its format has it. */

const captured = milanV2()
const ofChain: readonly Claim[] = [
  'report.signature',
  'vcek.chain',
  'ark.pinned',
  'vcek.hwid',
  'vcek.tcb',
  'tcb.minimum'
]
const ofReport: readonly Claim[] = [
  'report.format',
  'report.signature',
  'vcek.hwid',
  'vcek.tcb',
  'tcb.minimum',
  'guest.debug',
  'guest.migration',
  'guest.vmpl',
  'uvm.measurement',
  'hostData',
  'ccePolicy.digest',
  'reportData'
]
const ofEndorsement: readonly Claim[] = ['uvm.signature', 'uvm.issuer', 'uvm.feed', 'uvm.svn', 'uvm.measurement']

async function faultsOf(changed: Partial<Parts>, trust: unknown = hardwareOnly): Promise<readonly Claim[]> {
  const faults = mismatches(await verifyCaptured(captured, changed, trust))
  return faults.filter((claim) => !knownMismatches.includes(claim))
}

/** `count` lengths from 0 up to, and not including, the whole. */
function lengthsBelow(whole: number, count: number): number[] {
  const spread = Array.from({ length: count }, (_, i) => Math.floor((i * whole) / count))
  return [...new Set([...spread, 1, 2, whole - 2, whole - 1])]
}

describe('captured evidence that is cut off', () => {
  const { report, uvmEndorsements, ccePolicy, runtimeData } = captured.parts
  const certificates = captured.parts.certificates.trimEnd()

  it('in its report names every claim that needs one', async () => {
    for (const length of lengthsBelow(report.length, 40)) {
      expect({ length, faults: await faultsOf({ report: report.subarray(0, length) }) }).toEqual({
        length,
        faults: ofReport
      })
    }
  })

  it('in its certificates names every claim that needs them', async () => {
    for (const length of lengthsBelow(certificates.length, 60)) {
      const faults = await faultsOf({ certificates: certificates.slice(0, length) })
      expect({ length, faults }).toEqual({ length, faults: ofChain })
    }
  })

  it('inside one of its certificates names the same', async () => {
    const ders = captured.chain.map(derOf)
    for (const [position, der] of ders.entries()) {
      for (const length of lengthsBelow(der.length, 30)) {
        if (length === 0) continue
        const cut = pem(...ders.with(position, der.subarray(0, length)))
        expect({ length, faults: await faultsOf({ certificates: cut }) }).toEqual({ length, faults: ofChain })
      }
    }
  })

  it('in its endorsement names every claim of the utility VM', async () => {
    for (const length of lengthsBelow(uvmEndorsements.length, 60)) {
      const faults = await faultsOf({ uvmEndorsements: uvmEndorsements.subarray(0, length) })
      expect({ length, faults }).toEqual({ length, faults: ofEndorsement })
    }
  })

  it('in policy or runtime data names what the report says of it', async () => {
    for (const length of lengthsBelow(ccePolicy.length, 10)) {
      expect(await faultsOf({ ccePolicy: ccePolicy.subarray(0, length) })).toEqual(['ccePolicy.digest'])
    }
    for (const length of lengthsBelow(runtimeData.length, 10)) {
      expect(await faultsOf({ runtimeData: runtimeData.subarray(0, length) })).toEqual(['reportData'])
    }
  })
})

describe('captured evidence that is followed by something', () => {
  const { report, certificates, uvmEndorsements, ccePolicy, runtimeData } = captured.parts
  const longer = (part: Uint8Array, ...more: number[]): Uint8Array => Buffer.concat([part, Uint8Array.from(more)])

  it.each<readonly [string, Partial<Parts>, readonly Claim[]]>([
    ['a zero after the report', { report: longer(report, 0) }, ofReport],
    ['a report after the report', { report: Buffer.concat([report, report]) }, ofReport],
    ['a word after the certificates', { certificates: `${certificates}x` }, ofChain],
    ['a word between certificates', { certificates: captured.chain.join('x\n') }, ofChain],
    ['a comment before the certificates', { certificates: `subject=x\n${certificates}` }, ofChain],
    ['a zero after the endorsement', { uvmEndorsements: longer(uvmEndorsements, 0) }, ofEndorsement],
    ['an endorsement after it', { uvmEndorsements: Buffer.concat([uvmEndorsements, uvmEndorsements]) }, ofEndorsement],
    ['a line end after the policy', { ccePolicy: longer(ccePolicy, 10) }, ['ccePolicy.digest']],
    ['a line end after the runtime data', { runtimeData: longer(runtimeData, 10) }, ['reportData']]
  ])('%s', async (_, changed, expected) => {
    expect(await faultsOf(changed)).toEqual(expected)
  })

  it('blank lines around certificates change nothing', async () => {
    expect(await faultsOf({ certificates: `\n${captured.chain.join('\r\n\r\n')}\n\n` })).toEqual([])
  })
})

describe('a certificate in BER', () => {
  const ders = captured.chain.map(derOf)

  it('is written again as it was by the helper of these tests', () => {
    for (const der of ders) expect(Buffer.from(write(parseTree(der)) ?? [])).toEqual(der)
  })

  it.each(Object.keys(spellings))('is refused with %s, wherever it stands', async (name) => {
    let tried = 0
    // ASK and ARK are alike: one of them is enough.
    for (const [position, der] of ders.slice(0, 2).entries()) {
      const tree = parseTree(der)
      for (const node of nodesOf(tree)) {
        const written = write(tree, node, spellings[name])
        if (written === undefined) continue
        tried++
        const faults = await faultsOf({ certificates: pem(...ders.with(position, Buffer.from(written))) }, reportAlone)
        expect(faults).toContain('vcek.chain')
      }
    }
    expect(tried).toBeGreaterThan(1)
  })
})

describe('an endorsement in CBOR of another spelling', () => {
  const whole = captured.parts.uvmEndorsements
  const message = decode(whole, { useMaps: true, tags: Tagged.preserve(18, 1) }) as Tagged
  const [protectedHeader, ...rest] = message.value as [Uint8Array, ...unknown[]]
  const withHeader = (header: Uint8Array): Uint8Array => encode(new Tagged(18, [new Uint8Array(header), ...rest]))

  const every: readonly (readonly [string, Uint8Array, (bytes: Uint8Array) => Uint8Array])[] = [
    ['the message', whole, (bytes) => bytes],
    ['the protected header', protectedHeader, withHeader]
  ]

  it('is written again as it was by the helper of these tests', () => {
    expect(Buffer.from(withHeader(protectedHeader))).toEqual(whole)
  })

  it.each(every)('is unreadable with any head longer than it must be: %s', async (_, bytes, wrap) => {
    const heads = headsOf(bytes)
    for (const head of heads) {
      const faults = await faultsOf({ uvmEndorsements: wrap(lengthened(bytes, head)) })
      expect({ head, faults }).toEqual({ head, faults: ofEndorsement })
    }
    expect(heads.length).toBeGreaterThan(7)
  })

  it.each(every)('is unreadable with any indefinite length: %s', async (_, bytes, wrap) => {
    for (const head of headsOf(bytes)) {
      const changed = indefinite(bytes, head)
      if (changed === undefined) continue
      const faults = await faultsOf({ uvmEndorsements: wrap(changed) })
      expect({ head, faults }).toEqual({ head, faults: ofEndorsement })
    }
  })

  it('is unreadable with any header twice', async () => {
    const labels = [
      ...(decode(protectedHeader, { useMaps: true, tags: Tagged.preserve(1) }) as Map<unknown, unknown>).keys()
    ]
    for (const label of labels) {
      const [mapHead = 0, ...pairs] = protectedHeader
      const twice = Buffer.concat([Uint8Array.of(mapHead + 1), Uint8Array.from(pairs), encode(label), encode(0)])
      expect(await faultsOf({ uvmEndorsements: withHeader(twice) })).toEqual(ofEndorsement)
    }
    expect(labels).toEqual(expect.arrayContaining([1, 3, 33, 34, 'iss', 'feed', 'signingtime']))
  })

  it.each<readonly [string, unknown]>([
    ['untagged', message.value],
    ['of another tag', new Tagged(98, message.value)],
    ['tagged twice', new Tagged(18, message)],
    ['with a fifth part', new Tagged(18, [protectedHeader, ...rest, 0])],
    ['with three parts', new Tagged(18, [protectedHeader, ...rest.slice(0, 2)])],
    ['with a detached payload', new Tagged(18, [protectedHeader, rest[0], null, rest[2]])],
    ['with a list for a header', new Tagged(18, [protectedHeader, [], rest[1], rest[2]])],
    ['with a header that is no bytes', new Tagged(18, [new Map(), ...rest])],
    ['with an empty header', new Tagged(18, [new Uint8Array(0), ...rest])],
    ['with a header that is a list', new Tagged(18, [encode([]), ...rest])],
    ['a number', 1],
    ['a text', 'x']
  ])('is unreadable %s', async (_, value) => {
    expect(await faultsOf({ uvmEndorsements: encode(value) })).toEqual(ofEndorsement)
  })

  it('is the same with other bytes in the header that nobody signs', async () => {
    const other = encode(new Tagged(18, [protectedHeader, new Map([['timestamp', 'x']]), ...rest.slice(1)]))
    expect(await faultsOf({ uvmEndorsements: other })).toEqual([])
  })
})

describe('a token that is changed or cut off', () => {
  const tokens = async (): Promise<readonly [string, (token: string) => Promise<Verdict>]> => {
    const { document, trust, inputs } = await forge(await createWorld())
    const maa = document['maa'] as Members
    const verify = (token: string): Promise<Verdict> =>
      verifyEvidence(parseEvidence({ ...document, maa: { ...maa, token } }), trust, inputs)
    return [String(maa['token']), verify]
  }

  it('is refused, and nothing but its own claims fails', async () => {
    const [token, verify] = await tokens()
    const cut = lengthsBelow(token.length, 15).map((length) => token.slice(0, length))
    const other = lengthsBelow(token.length, 35).map((place) => {
      const digit = token[place] === 'A' ? 'B' : 'A'
      return `${token.slice(0, place)}${digit}${token.slice(place + 1)}`
    })
    const longer = [`${token}A`, `${token}=`, `${token}\n`, ` ${token}`, `${token}.`, `${token}.${token}`]
    for (const changed of [...cut, ...other, ...longer]) {
      const faults = mismatches(await verify(changed))
      expect(faults).toContain('maa.signature')
      expect(faults.filter((claim) => !claim.startsWith('maa.'))).toEqual([])
    }
    expect(mismatches(await verify(token))).toEqual([])
  })
})
