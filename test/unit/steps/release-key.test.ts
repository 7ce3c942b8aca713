import { describe, expect, it } from '@jest/globals'
import { parseSha256Hex } from '../../../src/base/digest.js'
import { createReleasePolicy, encodeReleasePolicy } from '../../../src/policy/index.js'
import { changesBetween, pinsOf } from '../../../src/steps/release-key.js'

const hash = (byte: string) => parseSha256Hex(byte.repeat(32), 'host data')
const policy = (byte: string, authority = 'https://a.attest.example') =>
  encodeReleasePolicy(createReleasePolicy({ authority, hostData: [hash(byte)] }))

describe('changesBetween', () => {
  it('finds nothing between two spellings of one policy', () => {
    const spaced = JSON.stringify(JSON.parse(policy('ab')), null, 2)
    expect(changesBetween(spaced, policy('ab'))).toEqual([])
  })

  it('names old and new host data', () => {
    expect(changesBetween(policy('ab'), policy('cd'))).toEqual([
      { what: 'host data', from: hash('ab'), to: hash('cd') }
    ])
  })

  it('names a change of whose tokens are believed, though the host data is the same', () => {
    expect(changesBetween(policy('ab', 'https://b.attest.example'), policy('ab'))).toEqual([
      { what: 'attestation authority', from: 'https://b.attest.example', to: 'https://a.attest.example' }
    ])
  })

  it('names a change of the other conditions, such as a policy made before debug was refused', () => {
    const old = JSON.parse(policy('ab')) as { anyOf: { allOf: { claim: string }[] }[] }
    old.anyOf[0]!.allOf = old.anyOf[0]!.allOf.filter(({ claim }) => !claim.endsWith('debuggable'))
    expect(changesBetween(JSON.stringify(old), policy('ab'))).toMatchObject([{ what: 'conditions of release' }])
  })

  it('does not show a policy that cannot be read as one that accepts nobody', () => {
    const [hostData] = changesBetween('{"version":"0.2","anyOf":[]}', policy('ab'))
    expect(hostData).toMatchObject({ what: 'host data', from: '(a policy that cannot be read)' })
    expect(pinsOf('not JSON')).toEqual(['(a policy that cannot be read)'])
  })

  it('says that an unbound key was bound to nothing', () => {
    expect(changesBetween(undefined, policy('ab'))).toMatchObject([{ from: '(none)' }, { from: '(none)' }])
  })
})
