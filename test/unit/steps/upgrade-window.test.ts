import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { createReleasePolicy, encodeReleasePolicy, parseReleasePolicy } from '../../../src/policy/index.js'
import { pinsOf } from '../../../src/steps/release-key.js'
import {
  isWithin,
  narrowedPolicy,
  releasePolicyFor,
  waysBeyond,
  widenedPolicy
} from '../../../src/steps/upgrade-window.js'

const authority = 'https://maa.example'
const [old, wanted, stranger] = ['old', 'new', 'stranger'].map((name) => sha256Hex(name)) as [
  ReturnType<typeof sha256Hex>,
  ReturnType<typeof sha256Hex>,
  ReturnType<typeof sha256Hex>
]
const policy = (...hostData: ReturnType<typeof sha256Hex>[]) =>
  encodeReleasePolicy(createReleasePolicy({ authority, hostData }))
const pins = (text: string | undefined) => (text === undefined ? undefined : pinsOf(text))

describe('the window of an upgrade', () => {
  it('accepts old and new, each under its own conditions', () => {
    const open = widenedPolicy(policy(old), old, policy(wanted))
    expect(pins(open)).toEqual([old, wanted])
    expect(parseReleasePolicy(open).anyOf).toEqual(parseReleasePolicy(policy(old, wanted)).anyOf)
  })

  it('is the same however often it is opened', () => {
    const open = widenedPolicy(policy(old), old, policy(wanted))
    expect(widenedPolicy(open, old, policy(wanted))).toBe(open)
  })

  it('keeps out an old measurement that the key does not accept by now', () => {
    expect(pins(widenedPolicy(policy(stranger), old, policy(wanted)))).toEqual([wanted])
    expect(pins(widenedPolicy(undefined, old, policy(wanted)))).toEqual([wanted])
  })

  it('keeps out everybody else whom the key accepted', () => {
    expect(pins(widenedPolicy(policy(old, stranger), old, policy(wanted)))).toEqual([old, wanted])
  })

  it('keeps no way in that is open to more than the old measurement', () => {
    const any = { ...createReleasePolicy({ authority, hostData: [old] }) }
    const rule = any.anyOf[0]!
    const loose = encodeReleasePolicy({
      ...any,
      anyOf: [{ authority: rule.authority, allOf: [{ claim: 'x-ms-attestation-type', equals: 'sevsnpvm' }] }]
    })
    expect(pins(widenedPolicy(loose, old, policy(wanted)))).toEqual([wanted])
  })

  it('closes on the new measurement alone', () => {
    const open = widenedPolicy(policy(old), old, policy(wanted))
    expect(narrowedPolicy(open, wanted)).toBe(policy(wanted))
    expect(narrowedPolicy(open, old)).toBe(policy(old))
  })

  it('closes on nothing where the measurement is not accepted', () => {
    expect(narrowedPolicy(policy(old), wanted)).toBeUndefined()
    expect(narrowedPolicy(undefined, wanted)).toBeUndefined()
  })
})

describe('a release policy that is compared with what was approved', () => {
  const evil = (hostData: string) => ({
    authority: 'https://evil.example',
    allOf: [{ claim: 'x-ms-sevsnpvm-hostdata', equals: hostData }]
  })
  const plus = (text: string, rule: object) => {
    const { anyOf, ...rest } = JSON.parse(text) as { anyOf: object[] }
    return JSON.stringify({ ...rest, anyOf: [...anyOf, rule] })
  }
  const open = widenedPolicy(policy(old), old, policy(wanted))

  it('has no way beyond it, however it is spelled', () => {
    const spaced = JSON.stringify(JSON.parse(open.replaceAll('"false"', 'false')), null, 2)
    expect(waysBeyond(spaced, [open])).toEqual([])
    expect(isWithin(policy(wanted), spaced)).toBe(true)
  })

  it('names a foreign authority, though the host data are the right ones', () => {
    const found = waysBeyond(plus(open, evil(wanted)), [open])
    expect(found).toEqual([expect.stringContaining(`host data ${wanted}, attested by https://evil.example`)])
    expect(found[0]).toContain('x-ms-sevsnpvm-is-debuggable')
  })

  it('names a rule of the right authority that lacks a condition', () => {
    const [rule] = (JSON.parse(policy(wanted)) as { anyOf: { allOf: { claim: string }[] }[] }).anyOf
    const loose = { ...rule!, allOf: rule!.allOf.filter(({ claim }) => !claim.endsWith('debuggable')) }
    expect(waysBeyond(plus(open, loose), [open])).toEqual([
      `host data ${wanted}, attested by ${authority}, whatever its x-ms-sevsnpvm-is-debuggable`
    ])
  })

  it('names whoever is let in without any host data, and what cannot be read', () => {
    const any = { authority, allOf: [{ claim: 'x-ms-attestation-type', equals: 'sevsnpvm' }] }
    expect(waysBeyond(plus(open, any), [open])).toEqual([`any host data, attested by ${authority}`])
    expect(waysBeyond('{}', [open])).toEqual(['a policy that cannot be read'])
  })

  it('only loses by closing if everything that closes it is in it', () => {
    expect(isWithin(policy(wanted), open)).toBe(true)
    expect(isWithin(policy(wanted), policy(old))).toBe(false)
    expect(isWithin(policy(wanted), undefined)).toBe(false)
    expect(isWithin(policy(wanted), '{}')).toBe(false)
  })

  it('is written for one measurement, or not at all', () => {
    expect(releasePolicyFor({ hostData: wanted, authority })).toBe(policy(wanted))
    expect(releasePolicyFor({ hostData: wanted })).toBeUndefined()
    expect(releasePolicyFor({ hostData: wanted, authority: 'no url' })).toBeUndefined()
    expect(releasePolicyFor({ hostData: undefined, authority })).toBeUndefined()
  })
})
