import { describe, expect, it } from '@jest/globals'
import { type Claim, claims } from '../../../src/verify/check.js'
import { VerifyError } from '../../../src/verify/errors.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { appraise, type Changes, createWorld, forge, mismatches, mismatchOf, now, put, sha256 } from './forge.js'

const world = await createWorld()
const stranger = await createWorld()

describe('claims', () => {
  it('are these, in this order', () => {
    expect(claims.join(' ')).toBe(
      'report.format report.signature vcek.chain ark.pinned vcek.hwid vcek.tcb tcb.minimum guest.debug ' +
        'guest.migration guest.vmpl uvm.signature uvm.issuer uvm.feed uvm.svn uvm.measurement hostData ' +
        'ccePolicy.digest reportData runtimeData.keys nonce maa.signature maa.issuer maa.time maa.type ' +
        'maa.compliance maa.hostData maa.debug maa.vmpl maa.measurement maa.reportData maa.runtime'
    )
  })
})

describe('verifyEvidence', () => {
  it.each(['Milan', 'Genoa', 'Turin'] as const)(
    'trusts good evidence of %s and hands out its keys',
    async (product) => {
      const claimsOf = { Milan: {}, Genoa: { snp: 23, boot: 10, ucode: 84 }, Turin: { snp: 4, boot: 2, ucode: 200 } }[
        product
      ]
      const { document, trust, inputs } = await forge(world, {
        product,
        claims: (members) => {
          if ('snp' in claimsOf) {
            members['x-ms-sevsnpvm-snpfw-svn'] = claimsOf.snp
            members['x-ms-sevsnpvm-bootloader-svn'] = claimsOf.boot
            members['x-ms-sevsnpvm-microcode-svn'] = claimsOf.ucode
          }
        }
      })
      const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
      expect(verdict.checks.filter(({ outcome }) => outcome !== 'match')).toEqual([])
      if (verdict.verdict !== 'trusted') throw new Error('not trusted')
      const { rsa, rsaThumbprint, hpke, ed25519, nonce, hostData, tls } = verdict.evidence
      const { n } = await crypto.subtle.exportKey('jwk', world.router.publicKey)
      expect(rsa).toEqual({ kty: 'RSA', n, e: 'AQAB', kid: rsaThumbprint })
      expect(rsaThumbprint).toBe(sha256(Buffer.from(`{"e":"AQAB","kty":"RSA","n":"${n}"}`)).toString('base64url'))
      expect(Buffer.from(hpke)).toEqual(Buffer.alloc(32, 0x11))
      expect(Buffer.from(ed25519)).toEqual(Buffer.alloc(32, 0x22))
      expect(nonce).toEqual(inputs.nonce)
      expect([hostData]).toEqual(trust.hostData)
      expect(tls).toBeUndefined()
    }
  )

  it('asks for both paths unless it is told otherwise', async () => {
    const { document, trust, inputs } = await forge(world)
    const evidence = parseEvidence(document)
    const verdict = await verifyEvidence(evidence, trust, { ...inputs, via: undefined })
    expect(verdict).toEqual(await verifyEvidence(evidence, trust, { ...inputs, via: 'both' }))
    expect(verdict.checks.filter(({ outcome }) => outcome === 'not-required')).toEqual([])
  })

  it('warns of an accepted policy that is known to allow everything', async () => {
    const open = '4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10'
    const verdict = await appraise(world, {
      report: (view) => view.set(192, Buffer.from(open, 'hex')),
      trust: put([open], 'hostData')
    })
    expect(verdict.checks.find(({ claim }) => claim === 'hostData')).toEqual({
      claim: 'hostData',
      outcome: 'match',
      expected: open,
      actual: open,
      warning: 'this is a policy known to allow everything'
    })
    expect((await appraise(world)).checks.filter((check) => 'warning' in check)).toEqual([])
  })

  it('says simulated for a root that is not one of AMD, whatever the document says', async () => {
    for (const simulated of [true, false]) {
      expect(await appraise(world, { document: put(simulated, 'simulated') })).toMatchObject({
        verdict: 'trusted',
        simulated: true
      })
    }
  })

  it('lists all claims in the same order, whatever is wrong', async () => {
    const verdicts = await Promise.all([
      appraise(world),
      appraise(world, { document: put('AAAA', 'snp', 'report') }),
      appraise(world, { document: (document) => Object.assign(document, { maa: undefined, ccePolicy: undefined }) })
    ])
    for (const { checks } of verdicts) expect(checks.map(({ claim }) => claim)).toEqual(claims)
  })

  it('looks at bytes once: what its caller makes of them while it waits changes nothing', async () => {
    const { document, trust, inputs } = await forge(world)
    const evidence = parseEvidence(document)
    const { runtimeData, ccePolicy, snp } = evidence
    const nonce = Uint8Array.from(inputs.nonce)
    const parts = [runtimeData, ccePolicy, snp.report, snp.uvmEndorsements, nonce]
    const bytes = parts.map((part) => part ?? new Uint8Array())
    const time = new Date(inputs.now)
    const verdict = verifyEvidence(evidence, trust, { ...inputs, now: time, nonce })
    for (const part of bytes) part.fill(0)
    time.setTime(0)
    expect(mismatches(await verdict)).toEqual([])
  })

  it('gives no keys that were put where the genuine ones are looked for later', async () => {
    const { document, trust, inputs } = await forge(world)
    const evidence = parseEvidence(document)
    const genuine = Uint8Array.from(evidence.runtimeData)
    const text = Buffer.from(genuine).toString()
    const put = Buffer.alloc(32, 0x66).toString('base64url')
    evidence.runtimeData.set(Buffer.from(text.replace(JSON.parse(text).confrouter.hpke, put)))
    const verdict = verifyEvidence(evidence, trust, inputs)
    evidence.runtimeData.set(genuine)
    expect(mismatches(await verdict)).toEqual(['reportData', 'maa.reportData', 'maa.runtime'])
  })

  it('gives no keys with a rejection', async () => {
    const verdict = await appraise(world, { report: (view) => view.u32(48, 1) })
    expect(verdict.verdict).toBe('rejected')
    expect(verdict).not.toHaveProperty('evidence')
  })

  it('names several faults at once', async () => {
    const verdict = await appraise(world, {
      report: (view) => view.u64(8, 0xb001fn),
      uvmHeader: (header) => header.set('feed', 'Another'),
      claims: put('azure-compliant-cvm', 'x-ms-compliance-status')
    })
    expect(mismatches(verdict)).toEqual(['guest.debug', 'uvm.feed', 'maa.compliance'])
  })

  it('takes the TLS key from the runtime data', async () => {
    const tls = 'ab'.repeat(32)
    const verdict = await appraise(world, { runtimeData: (value) => void put(tls, 'confrouter', 'tls')(value) })
    expect(verdict).toMatchObject({ verdict: 'trusted', evidence: { tls } })
  })

  const missing: readonly [string, Changes, RegExp][] = [
    ['the token', { document: put(undefined, 'maa') }, /^maa\./],
    ['the UVM endorsement', { document: put(undefined, 'snp', 'uvmEndorsements') }, /^uvm\./],
    ['the CCE policy', { document: put(undefined, 'ccePolicy') }, /^ccePolicy\.digest$/]
  ]
  it.each(missing)('makes every claim that needs %s a mismatch if it is missing', async (_, changes, needing) => {
    const verdict = await appraise(world, changes)
    expect(mismatches(verdict)).toEqual(claims.filter((claim) => needing.test(claim)))
    for (const claim of mismatches(verdict)) expect(mismatchOf(verdict, claim).actual).toBe('missing')
  })

  const loosened: readonly [string, Changes, RegExp][] = [
    ['hostData', { trust: put('any', 'hostData') }, /^hostData$/],
    ['minimumTcb', { trust: put('any', 'minimumTcb') }, /^tcb\.minimum$/],
    ['debug', { trust: put('any', 'debug') }, /^guest\.debug$/],
    ['migration', { trust: put('any', 'migration') }, /^guest\.migration$/],
    ['vmpl', { trust: put('any', 'vmpl') }, /^(guest|maa)\.vmpl$/],
    ['uvm', { trust: put('any', 'uvm') }, /^uvm\./],
    ['maa', { trust: put('any', 'maa') }, /^maa\.issuer$/]
  ]
  it.each(loosened)('does not require what the trust policy accepts in any form: %s', async (_, changes, freed) => {
    const verdict = await appraise(world, changes)
    expect(verdict.verdict).toBe('trusted')
    const notRequired = verdict.checks.filter(({ outcome }) => outcome === 'not-required').map(({ claim }) => claim)
    expect(notRequired).toEqual(claims.filter((claim) => freed.test(claim)))
  })

  it('relies on the report alone where the trust policy says none', async () => {
    const verdict = await appraise(world, { trust: put('none', 'maa'), document: put(undefined, 'maa') })
    expect(verdict.verdict).toBe('trusted')
    expect(verdict.checks.filter(({ outcome }) => outcome === 'not-required')).toHaveLength(11)
  })

  it('still needs the provider that the evidence names to be the issuer where any is accepted', async () => {
    const verdict = await appraise(world, { trust: put('any', 'maa'), claims: put('https://other.example', 'iss') })
    expect(mismatches(verdict)).toEqual(['maa.issuer'])
  })

  it('throws its own error for a policy that leaves a field undecided', async () => {
    const { document, trust, inputs } = await forge(world)
    for (const field of Object.keys(trust)) {
      const undecided = { ...trust, [field]: undefined }
      const verdict = verifyEvidence(parseEvidence(document), undecided, inputs)
      await expect(verdict).rejects.toMatchObject({ name: 'VerifyError', code: 'trust.invalid' })
    }
  })

  it('throws its own error for what parseEvidence did not return', async () => {
    const { document, trust, inputs } = await forge(world)
    const raw = document as unknown as Parameters<typeof verifyEvidence>[0]
    await expect(verifyEvidence(raw, trust, inputs)).rejects.toThrow(VerifyError)
    const evidence = parseEvidence(document)
    await expect(verifyEvidence(evidence, trust, { ...inputs, now: new Date(Number.NaN) })).rejects.toThrow(VerifyError)
    await expect(verifyEvidence(evidence, trust, { ...inputs, nonce: new Uint8Array(15) })).rejects.toThrow(VerifyError)
    for (const [wrong, wrongInputs] of [
      [null, inputs],
      [7, inputs],
      [{ version: 1 }, inputs],
      [{ ...evidence, snp: null }, inputs],
      [{ ...evidence, snp: { ...evidence.snp, certificates: undefined } }, inputs],
      [{ ...evidence, maa: null }, inputs],
      [{ ...evidence, maa: { endpoint: 'https://maa.example' } }, inputs],
      [evidence, undefined],
      [evidence, { ...inputs, now: '2026-06-01' }],
      [evidence, { ...inputs, nonce: 'x'.repeat(32) }],
      [evidence, { ...inputs, nonce: Array(32).fill(0) }],
      [evidence, { ...inputs, maaKeys: {} }],
      [evidence, { ...inputs, maaKeys: [null] }],
      [evidence, { ...inputs, maaKeys: ['https://maa.example'] }],
      [evidence, { ...inputs, via: 'hardware' }],
      [evidence, { ...inputs, via: null }]
    ] as unknown as [typeof evidence, typeof inputs][]) {
      const verdict = verifyEvidence(wrong, trust, wrongInputs)
      await expect(verdict).rejects.toMatchObject({ name: 'VerifyError', code: 'evidence.unreadable' })
    }
  })
})

describe('the nonce', () => {
  const verifyWith = async (changes: Changes, nonce: Uint8Array | undefined): Promise<Claim[]> => {
    const { document, trust, inputs } = await forge(world, changes)
    return mismatches(await verifyEvidence(parseEvidence(document), trust, { ...inputs, nonce }))
  }
  const withoutNonce: Changes['runtimeData'] = (value) => void put(undefined, 'confrouter', 'nonce')(value)

  it('must be the one that the caller sent', async () => {
    expect(await verifyWith({}, new Uint8Array(32))).toEqual(['nonce'])
  })

  it('must be there if the trust policy requires one', async () => {
    expect(await verifyWith({ runtimeData: withoutNonce }, new Uint8Array(32))).toEqual(['nonce'])
  })

  it('must have been given to compare with if the trust policy requires one', async () => {
    expect(await verifyWith({}, undefined)).toEqual(['nonce'])
  })

  it('is compared when given, even if the trust policy accepts any', async () => {
    expect(await verifyWith({ trust: put('any', 'nonce') }, new Uint8Array(32))).toEqual(['nonce'])
    expect(await verifyWith({ trust: put('any', 'nonce') }, undefined)).toEqual([])
    expect(await verifyWith({ trust: put('any', 'nonce'), runtimeData: withoutNonce }, undefined)).toEqual([])
  })

  it('is the only proof of age without a token', async () => {
    const trust: Changes['trust'] = (policy) => Object.assign(policy, { nonce: 'any', maa: 'none' })
    expect(await verifyWith({ trust }, undefined)).toEqual(['nonce'])
    const ageless: Changes['trust'] = (policy) =>
      Object.assign(policy, { nonce: 'any', maa: 'none', maximumAgeSeconds: 'any' })
    expect(await verifyWith({ trust: ageless }, undefined)).toEqual([])
  })
})

describe('what stands in a mismatch', () => {
  it('is expected and actual in the same encoding', async () => {
    const { document, trust, inputs } = await forge(world, { trust: put(['00'.repeat(32)], 'hostData') })
    const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
    expect(mismatchOf(verdict, 'hostData')).toEqual({
      expected: '00'.repeat(32),
      actual: sha256(Buffer.from(String(document['ccePolicy']), 'base64')).toString('hex')
    })
  })

  it('cannot control a terminal', async () => {
    const hostile = '\u001b[2J\u009b31m\u202e' + 'x'.repeat(500)
    const verdict = await appraise(world, { claims: put(hostile, 'x-ms-attestation-type') })
    const { actual } = mismatchOf(verdict, 'maa.type')
    expect(actual).toMatch(/^[\x20-\x7e]+$/)
    expect(actual.length).toBeLessThan(200)
  })

  it('shows where long runtime claims differ', async () => {
    const verdict = await appraise(world, { claims: put('zzzz', 'x-ms-runtime', 'confrouter', 'nonce') })
    const { expected, actual } = mismatchOf(verdict, 'maa.runtime')
    expect(actual).toContain('zzzz')
    expect(expected).not.toEqual(actual)
  })
})

describe('time', () => {
  it('decides nothing by createdAt, which nobody signs', async () => {
    const { document, trust, inputs } = await forge(world, { document: put('2001-01-01T00:00:00Z', 'createdAt') })
    expect(await verifyEvidence(parseEvidence(document), trust, inputs)).toMatchObject({ verdict: 'trusted' })
  })

  it('rejects evidence of yesterday', async () => {
    const { document, trust, inputs } = await forge(world)
    const tomorrow = new Date(now.getTime() + 24 * 3600 * 1000)
    const verdict = await verifyEvidence(parseEvidence(document), trust, { ...inputs, now: tomorrow })
    expect(mismatches(verdict)).toEqual(['maa.time'])
  })
})

describe('evidence of another router', () => {
  it.each([
    ['report and chain', 'snp' as const, ['ark.pinned', 'uvm.issuer', 'reportData', 'maa.reportData']],
    ['runtime data', 'runtimeData' as const, ['reportData', 'maa.reportData', 'maa.runtime']],
    ['token', 'maa' as const, ['maa.signature', 'maa.measurement', 'maa.reportData', 'maa.runtime']]
  ])('does not fit: %s', async (_, part, expected) => {
    const { document, trust, inputs } = await forge(world)
    const other = await forge(stranger)
    const mixed = { ...document, [part]: other.document[part] }
    const found = mismatches(await verifyEvidence(parseEvidence(mixed), trust, inputs))
    expect(found).toEqual(expect.arrayContaining(['reportData'].filter((claim) => expected.includes(claim))))
    expect(found.length).toBeGreaterThan(0)
    expect(found.filter((claim) => !expected.includes(claim))).toEqual([])
  })
})
