import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { createReleasePolicy, encodeReleasePolicy, parseReleasePolicy } from '../../../src/policy/index.js'
import { pinsOf } from '../../../src/steps/release-key.js'
import { narrowedPolicy, widenedPolicy } from '../../../src/steps/upgrade-window.js'

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
