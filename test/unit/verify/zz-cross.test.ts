import { expect, it } from '@jest/globals'
import { createHash } from 'node:crypto'
import { createHardware } from '../../../src/emulator/hardware/simulated-hardware.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { readTrustPolicy } from '../../../src/verify/trust-policy.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { mismatches } from './forge.js'
import { defaultMinimumTcb } from '../../../src/verify/strict-trust-policy.js'
it('cross', async () => {
  const map = new Map<string, unknown>()
  const store = {
    collection: () => ({ get: (k: string) => map.get(k), set: async (k: string, v: unknown) => void map.set(k, v) })
  } as never
  const hw = await createHardware({ store })
  const r = Buffer.from('{}')
  const reportData = Buffer.concat([createHash('sha256').update(r).digest(), Buffer.alloc(32)])
  const hostData = createHash('sha256').update('p').digest()
  const b = (x: Uint8Array) => Buffer.from(x).toString('base64')
  const v = await verifyEvidence(
    parseEvidence({
      version: 1,
      runtimeData: b(r),
      snp: {
        report: b(hw.report({ reportData, hostData })),
        certificates: hw.certificatesPem,
        uvmEndorsements: b(hw.uvmEndorsements)
      },
      ccePolicy: b(Buffer.from('p')),
      createdAt: new Date().toISOString(),
      simulated: true
    }),
    readTrustPolicy({
      version: 1,
      hostData: [hostData.toString('hex')],
      roots: { arkSha256: [hw.arkSha256] },
      minimumTcb: defaultMinimumTcb,
      debug: 'forbidden',
      migration: 'forbidden',
      vmpl: 0,
      uvm: { issuer: hw.uvmIssuer, feed: 'ContainerPlat-AMD-UVM', minimumSvn: 100 },
      maa: 'none',
      nonce: 'any',
      maximumAgeSeconds: 'any'
    }),
    { now: new Date() }
  )
  console.log(v.checks.filter((c) => c.outcome === 'mismatch'))
  expect(mismatches(v)).toEqual(['runtimeData.keys'])
})
