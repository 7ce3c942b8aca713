import { describe, expect, it } from '@jest/globals'
import { parseSha256Hex, sha256Hex } from '../../../src/base/digest.js'
import { UserError } from '../../../src/base/user-error.js'
import {
  createReleasePolicy,
  encodeReleasePolicy,
  hostDataOf,
  openDoorHostData,
  parseReleasePolicy,
  sameReleasePolicy
} from '../../../src/policy/index.js'
import { damaged, generator } from './random.js'
import { vector } from './vectors.js'

const authority = 'https://conf.weu.attest.azure.net'
const hash = sha256Hex('one policy')
const otherHash = sha256Hex('another policy')

describe('createReleasePolicy', () => {
  it('requires type, compliance, host data, no debugging and VMPL 0', () => {
    expect(createReleasePolicy({ authority, hostData: [hash] })).toEqual({
      version: '1.0.0',
      anyOf: [
        {
          authority,
          allOf: [
            { claim: 'x-ms-attestation-type', equals: 'sevsnpvm' },
            { claim: 'x-ms-compliance-status', equals: 'azure-compliant-uvm' },
            { claim: 'x-ms-sevsnpvm-hostdata', equals: hash },
            { claim: 'x-ms-sevsnpvm-is-debuggable', equals: 'false' },
            { claim: 'x-ms-sevsnpvm-vmpl', equals: '0' }
          ]
        }
      ]
    })
  })

  it('gives each host data its own authority entry, once', () => {
    const policy = createReleasePolicy({ authority: `${authority}/`, hostData: [hash, otherHash, hash] })
    expect(policy.anyOf.map((rule) => rule.authority)).toEqual([authority, authority])
    expect(hostDataOf(policy)).toEqual([hash, otherHash])
  })

  it('refuses the host data of every known policy that allows all', () => {
    expect(openDoorHostData.size).toBe(3)
    for (const open of openDoorHostData) {
      expect(() => createReleasePolicy({ authority, hostData: [hash, open] })).toThrow('allows all')
    }
  })

  it('refuses an empty list of host data', () => {
    expect(() => createReleasePolicy({ authority, hostData: [] })).toThrow('at least one')
  })

  for (const wrong of [
    'conf.weu.attest.azure.net',
    'http://conf.weu.attest.azure.net',
    'https://conf.weu.attest.azure.net/path',
    'https://conf.weu.attest.azure.net//',
    'https://user@conf.weu.attest.azure.net',
    'https://conf.weu.attest.azure.net?x=1',
    ''
  ]) {
    it(`refuses the authority ${JSON.stringify(wrong)}`, () => {
      expect(() => createReleasePolicy({ authority: wrong, hostData: [hash] })).toThrow('is not an https origin')
    })
  }
})

describe('parseReleasePolicy', () => {
  it('reads back what encodeReleasePolicy writes, in canonical form', () => {
    const policy = createReleasePolicy({ authority, hostData: [hash] })
    const text = encodeReleasePolicy(policy)
    expect(parseReleasePolicy(text)).toEqual(policy)
    expect(parseReleasePolicy(new TextEncoder().encode(text))).toEqual(policy)
    expect(text.startsWith('{"anyOf":[{"allOf":[{"claim":"x-ms-attestation-type","equals":"sevsnpvm"}')).toBe(true)
  })

  it('reads the policies of documents and samples', () => {
    const sample = vector('release-policies', '01_sidecar_tests_aci_full.json').replace(
      'https://<maa-endpoint>',
      authority
    )
    expect(parseReleasePolicy(sample).anyOf).toHaveLength(1)
    expect(hostDataOf(parseReleasePolicy(vector('release-policies', '02_mslearn_aci_container.json')))).toEqual([
      '532eaabd9574880dbf76b9b8cc00832c20a6ec113d682299550d7a6e0f345e25'
    ])
    expect(hostDataOf(parseReleasePolicy(vector('release-policies', '03_cvm_nested_dotted.json')))).toBe('any')
  })

  const claim = '{"claim":"c","equals":"v"}'
  const rule = `{"authority":"${authority}","allOf":[${claim}]}`
  const faults: readonly (readonly [string, string, string])[] = [
    ['text that is not JSON', '{', 'is not JSON'],
    ['a list', '[]', 'must be an object'],
    ['an unknown member', `{"version":"1.0.0","anyOf":[${rule}],"x":1}`, 'unknown member "x"'],
    ['a member that appears twice', `{"version":"1.0.0","version":"1.0.0","anyOf":[${rule}]}`, 'appears twice'],
    ['another version', `{"version":"0.2","anyOf":[${rule}]}`, 'version must be'],
    ['no authorities', '{"version":"1.0.0","anyOf":[]}', 'list that is not empty'],
    ['an authority that is no text', '{"version":"1.0.0","anyOf":[{"authority":1,"allOf":[]}]}', 'authority must be'],
    ['an authority without TLS', wrap(`{"authority":"http://a","allOf":[${claim}]}`), 'not an https address'],
    ['an authority with a query', wrap(`{"authority":"https://a/?x","allOf":[${claim}]}`), 'not an https address'],
    ['allOf and anyOf together', wrap(`{"authority":"${authority}","allOf":[${claim}],"anyOf":[${claim}]}`), 'either'],
    ['neither allOf nor anyOf', wrap(`{"authority":"${authority}"}`), 'either allOf or anyOf'],
    ['an empty condition list', wrap(`{"authority":"${authority}","allOf":[]}`), 'not empty'],
    ['a condition without operator', condition('{"claim":"c"}'), 'exactly one of'],
    ['a condition with two operators', condition('{"claim":"c","equals":"v","less":1}'), 'exactly one of'],
    ['an unknown operator', condition('{"claim":"c","contains":"v"}'), 'unknown member "contains"'],
    ['the obsolete preview form', condition('{"claim":"c","condition":"equals","value":"v"}'), 'unknown member'],
    ['a claim without a name', condition('{"claim":"","equals":"v"}'), 'must be a name'],
    ['a value that is a list', condition('{"claim":"c","equals":["v"]}'), 'must be a text, a number or a boolean'],
    ['a null value', condition('{"claim":"c","equals":null}'), 'must be a text, a number or a boolean'],
    ['exists with another value', condition('{"claim":"c","exists":"maybe"}'), 'must be true or false'],
    ['a condition that is a text', condition('"c"'), 'must be an object'],
    ['deep nesting', condition('{"allOf":['.repeat(10) + claim + ']}'.repeat(10)), 'levels deep'],
    ['too many conditions', condition(Array.from({ length: 1_001 }, () => claim).join(',')), 'more than 1000'],
    ['an integer beyond 2^53', condition('{"claim":"c","equals":9007199254740993}'), 'number 9007199254740993 cannot'],
    [
      'an integer beyond 2^53 that a double holds',
      condition('{"claim":"c","equals":9007199254740992}'),
      'cannot be kept'
    ],
    ['a negative integer beyond 2^53', condition('{"claim":"c","less":-9007199254740993}'), 'cannot be kept'],
    ['a number with too many digits', condition('{"claim":"c","less":0.10000000000000000001}'), 'cannot be kept'],
    ['a number with an exponent', condition('{"claim":"c","less":1e3}'), 'number 1e3 cannot be kept exactly'],
    ['a number that is written in another way than its text', condition('{"claim":"c","equals":1.0}'), 'number 1.0'],
    ['a negative zero', condition('{"claim":"c","equals":-0}'), 'number -0'],
    ['too long a text', ' '.repeat(70_000), 'longer than'],
    ['a text that is too long in bytes', condition(`{"claim":"${'é'.repeat(40_000)}","equals":"v"}`), '65536 bytes']
  ]
  for (const [what, text, problem] of faults) {
    it(`refuses ${what}`, () => {
      expect(() => parseReleasePolicy(text)).toThrow(problem)
    })
  }

  it('reads numbers that have one spelling', () => {
    for (const number of ['0', '-1', '9007199254740991', '4.5', '-0.25']) {
      expect(encodeReleasePolicy(parseReleasePolicy(condition(`{"claim":"c","less":${number}}`)))).toContain(
        `:${number}`
      )
    }
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parseReleasePolicy(Uint8Array.of(0x7b, 0xff))).toThrow('not UTF-8')
  })

  it('answers damaged policies with a policy or a UserError, and nothing else', () => {
    const random = generator(11)
    const text = encodeReleasePolicy(createReleasePolicy({ authority, hostData: [hash] }))
    for (let round = 0; round < 3_000; round++) {
      const broken = damaged(text, random)
      try {
        const parsed = parseReleasePolicy(broken)
        expect(parseReleasePolicy(encodeReleasePolicy(parsed))).toEqual(parsed)
      } catch (error) {
        expect(error).toBeInstanceOf(UserError)
      }
    }
  })

  function wrap(entry: string): string {
    return `{"version":"1.0.0","anyOf":[${entry}]}`
  }

  function condition(text: string): string {
    return wrap(`{"authority":"${authority}","allOf":[${text}]}`)
  }
})

describe('sameReleasePolicy', () => {
  const policy = createReleasePolicy({ authority, hostData: [hash, otherHash] })

  it('ignores order, repetition, a trailing slash and the spelling of scalars', () => {
    const rules = policy.anyOf.map((rule) => ({
      allOf: [...(rule.allOf ?? []), ...(rule.allOf ?? [])].reverse(),
      authority: `${rule.authority}/`
    }))
    const text = JSON.stringify({ anyOf: rules.reverse(), version: '1.0.0' })
      .replaceAll('"equals":"false"', '"equals":false')
      .replaceAll('"equals":"0"', '"equals":0')
    expect(sameReleasePolicy(policy, parseReleasePolicy(text))).toBe(true)
  })

  const others: readonly (readonly [string, string, string])[] = [
    ['host data', hash, sha256Hex('third')],
    ['authority', authority, 'https://other.weu.attest.azure.net'],
    ['operator', '"equals":"0"', '"lessOrEquals":"0"'],
    ['claim', 'x-ms-sevsnpvm-vmpl', 'x-ms-sevsnpvm-guestsvn'],
    ['kind of group', '"allOf"', '"anyOf"']
  ]
  for (const [what, from, to] of others) {
    it(`sees another ${what}`, () => {
      const text = encodeReleasePolicy(policy).replace(from, to)
      expect(sameReleasePolicy(policy, parseReleasePolicy(text))).toBe(false)
    })
  }
})

describe('hostDataOf', () => {
  const pin = (value: string) => ({ claim: 'x-ms-sevsnpvm-hostdata', equals: value })
  const free = { claim: 'x-ms-attestation-type', equals: 'sevsnpvm' }

  it('finds host data in nested alternatives', () => {
    expect(
      hostDataOf({ version: '1.0.0', anyOf: [{ authority, allOf: [free, { anyOf: [pin(hash), pin(otherHash)] }] }] })
    ).toEqual([hash, otherHash])
  })

  it('is "any" as soon as one way through the policy does not pin them', () => {
    const pinned = { authority, allOf: [free, pin(hash)] }
    expect(hostDataOf({ version: '1.0.0', anyOf: [pinned, { authority, allOf: [free] }] })).toBe('any')
    expect(hostDataOf({ version: '1.0.0', anyOf: [{ authority, anyOf: [free, pin(hash)] }] })).toBe('any')
    expect(
      hostDataOf({
        version: '1.0.0',
        anyOf: [{ authority, allOf: [{ claim: 'x-ms-sevsnpvm-hostdata', notEquals: hash }] }]
      })
    ).toBe('any')
  })

  it('is empty where nothing can satisfy the policy', () => {
    expect(hostDataOf({ version: '1.0.0', anyOf: [{ authority, allOf: [pin(hash), pin(otherHash)] }] })).toEqual([])
    expect(hostDataOf({ version: '1.0.0', anyOf: [{ authority, allOf: [pin(hash.toUpperCase())] }] })).toEqual([])
  })

  it('returns what a test of the digest type accepts', () => {
    const [first] = hostDataOf(createReleasePolicy({ authority, hostData: [hash] }))
    expect(parseSha256Hex(String(first), 'host data')).toBe(hash)
  })
})
