import { createHash, verify, X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { decode, Tagged } from 'cborg'
import { createHardware, type SimulatedHardware } from '../../../../src/emulator/hardware/simulated-hardware.js'
import { memoryStore } from './memory-store.js'

const store = memoryStore()
let hardware: SimulatedHardware

beforeAll(async () => {
  hardware = await createHardware({ store })
})

function certificates(): [X509Certificate, X509Certificate, X509Certificate] {
  const [vcek, ask, ark] = hardware.certificatesPem
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .map((pem) => new X509Certificate(pem))
  return [vcek!, ask!, ark!]
}

describe('simulated hardware', () => {
  it('has a chain of VCEK, ASK and ARK whose root is the pinned one', () => {
    const [vcek, ask, ark] = certificates()
    expect(vcek.checkIssued(ask) && vcek.verify(ask.publicKey)).toBe(true)
    expect(ask.checkIssued(ark) && ask.verify(ark.publicKey)).toBe(true)
    expect(ark.verify(ark.publicKey)).toBe(true)
    expect(createHash('sha256').update(ark.raw).digest('hex')).toBe(hardware.arkSha256)
    expect([vcek.ca, ask.ca, ark.ca]).toEqual([false, true, true])
  })

  it('says in every common name that it is simulated', () => {
    for (const certificate of certificates()) expect(certificate.subject).toMatch(/CN=.*\(simulated\)/)
  })

  it('signs the first 672 bytes of a report with the VCEK, r and s little-endian', () => {
    const report = hardware.report({ reportData: new Uint8Array(64).fill(7), hostData: new Uint8Array(32).fill(9) })
    const reversed = (offset: number): Uint8Array => report.slice(offset, offset + 48).reverse()
    const signature = Buffer.concat([reversed(672), reversed(744)])
    const key = { key: certificates()[0].publicKey, dsaEncoding: 'ieee-p1363' } as const
    expect(report).toHaveLength(1184)
    expect(verify('sha384', report.subarray(0, 672), key, signature)).toBe(true)
    expect([...report.subarray(80, 144)].every((byte) => byte === 7)).toBe(true)
    expect([...report.subarray(192, 224)].every((byte) => byte === 9)).toBe(true)
  })

  it('prints tcbm as REPORTED_TCB read big-endian', () => {
    const report = hardware.report({ reportData: new Uint8Array(64), hostData: new Uint8Array(32) })
    const thim = JSON.parse(hardware.thimJson)
    expect(thim.tcbm).toBe(Buffer.from(report.slice(384, 392)).reverse().toString('hex'))
    expect(thim.tcbm).toBe('db18000000000004')
    expect(thim.vcekCert + thim.certificateChain).toBe(hardware.certificatesPem)
  })

  it('sets the debug and migration bits and the VMPL that it is asked for, and nothing else', () => {
    const fields = { reportData: new Uint8Array(64), hostData: new Uint8Array(32), reportId: new Uint8Array(32) }
    const plain = Buffer.from(hardware.report(fields))
    const changed = Buffer.from(hardware.report({ ...fields, debug: true, migration: true, vmpl: 2 }))
    expect(plain.readBigUInt64LE(8)).toBe(0x3001fn)
    expect(changed.readBigUInt64LE(8)).toBe(0xf001fn)
    expect(changed.readUInt32LE(48)).toBe(2)
    changed.writeBigUInt64LE(0x3001fn, 8)
    changed.writeUInt32LE(0, 48)
    expect(changed.subarray(0, 672)).toEqual(plain.subarray(0, 672))
  })

  it('refuses report data that is not 64 bytes long', () => {
    expect(() => hardware.report({ reportData: new Uint8Array(63), hostData: new Uint8Array(32) })).toThrow(TypeError)
  })

  it('endorses its measurement in a COSE_Sign1 with the feed and a version that real policies accept', () => {
    const document = decode(hardware.uvmEndorsements, { useMaps: true, tags: Tagged.preserve(1, 18) })
    const [header, , payload] = document.value
    const fields = decode(header, { useMaps: true, tags: Tagged.preserve(1) })
    const report = hardware.report({ reportData: new Uint8Array(64), hostData: new Uint8Array(32) })
    expect(document.tag).toBe(18)
    expect(fields.get('feed')).toBe('ContainerPlat-AMD-UVM')
    expect(fields.get('iss')).toBe(hardware.uvmIssuer)
    const { 'x-ms-sevsnpvm-guestsvn': svn, 'x-ms-sevsnpvm-launchmeasurement': measurement } = JSON.parse(
      new TextDecoder().decode(payload)
    )
    expect(Number(svn)).toBeGreaterThanOrEqual(100)
    expect(measurement).toBe(Buffer.from(report.subarray(144, 192)).toString('hex'))
  })

  it('is the same processor when its store is opened again', async () => {
    const again = await createHardware({ store })
    expect(again.certificatesPem).toBe(hardware.certificatesPem)
    expect(again.uvmEndorsements).toEqual(hardware.uvmEndorsements)
  })

  it('is another processor in another store', async () => {
    expect((await createHardware({ store: memoryStore() })).arkSha256).not.toBe(hardware.arkSha256)
  })
})
