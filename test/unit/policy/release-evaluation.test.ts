import { describe, expect, it } from '@jest/globals'
import { parseSha256Hex, sha256Hex } from '../../../src/base/digest.js'
import type { Json, JsonObject } from '../../../src/base/json.js'
import { createReleasePolicy, evaluateReleasePolicy, parseReleasePolicy } from '../../../src/policy/index.js'
import { jsonVector, vector } from './vectors.js'

const claims = jsonVector('maa-claims.json')
const issuer = claims['iss'] as string
const hostData = parseSha256Hex(claims['x-ms-sevsnpvm-hostdata'] as string, 'host data')
const policy = createReleasePolicy({ authority: issuer, hostData: [hostData] })

describe('evaluateReleasePolicy with a real token', () => {
  it('is met by the host data that the policy names', () => {
    expect(evaluateReleasePolicy(policy, { issuer, claims })).toEqual({ met: true })
  })

  it('ignores one trailing slash on either side', () => {
    expect(evaluateReleasePolicy(policy, { issuer: `${issuer}/`, claims }).met).toBe(true)
    expect(evaluateReleasePolicy(policy, { issuer: `${issuer}//`, claims }).met).toBe(false)
  })

  it('is met by one of several host data', () => {
    const several = createReleasePolicy({ authority: issuer, hostData: [sha256Hex('other'), hostData] })
    expect(evaluateReleasePolicy(several, { issuer, claims }).met).toBe(true)
  })

  it('refuses another issuer and says so', () => {
    expect(evaluateReleasePolicy(policy, { issuer: 'https://evil.example', claims })).toEqual({
      met: false,
      failures: [{ kind: 'authority', authority: issuer, issuer: 'https://evil.example' }]
    })
  })

  const changes: readonly (readonly [string, Json | undefined, string | undefined])[] = [
    ['x-ms-attestation-type', 'azurevm', 'azurevm'],
    ['x-ms-compliance-status', 'azure-compliant-cvm', 'azure-compliant-cvm'],
    ['x-ms-sevsnpvm-hostdata', sha256Hex('other'), sha256Hex('other')],
    ['x-ms-sevsnpvm-is-debuggable', true, 'true'],
    ['x-ms-sevsnpvm-vmpl', 1, '1'],
    ['x-ms-sevsnpvm-vmpl', undefined, undefined],
    ['x-ms-sevsnpvm-vmpl', null, 'not a scalar'],
    ['x-ms-sevsnpvm-is-debuggable', [false], 'not a scalar']
  ]
  for (const [claim, value, actual] of changes) {
    it(`refuses ${claim} of ${JSON.stringify(value) ?? 'nothing'}`, () => {
      const { [claim]: _, ...others } = claims
      const changed: JsonObject = value === undefined ? others : { ...claims, [claim]: value }
      const decision = evaluateReleasePolicy(policy, { issuer, claims: changed })
      expect(decision).toMatchObject({ met: false, failures: [{ kind: 'claim', claim, operator: 'equals' }] })
      expect(decision.met ? undefined : decision.failures[0]).toHaveProperty('actual', actual)
    })
  }

  it('reports every difference at once', () => {
    const changed = { ...claims, 'x-ms-sevsnpvm-vmpl': 2, 'x-ms-sevsnpvm-is-debuggable': true }
    const decision = evaluateReleasePolicy(policy, { issuer, claims: changed })
    expect(decision.met ? [] : decision.failures).toHaveLength(2)
  })

  it('follows dotted paths into objects', () => {
    const nested = parseReleasePolicy(vector('release-policies', '03_cvm_nested_dotted.json'))
    const authority = nested.anyOf[0]!.authority
    const inner = { 'x-ms-compliance-status': 'azure-compliant-cvm', 'x-ms-attestation-type': 'sevsnpvm' }
    expect(evaluateReleasePolicy(nested, { issuer: authority, claims: { 'x-ms-isolation-tee': inner } }).met).toBe(true)
    expect(evaluateReleasePolicy(nested, { issuer: authority, claims: inner }).met).toBe(false)
  })
})

describe('the operators of a release policy', () => {
  const values: JsonObject = {
    number: 5,
    digits: '5',
    flag: true,
    word: 'abc',
    empty: '',
    deep: { inner: 'x' },
    'a.b': 1,
    long: '9007199254740993',
    unsafe: 2 ** 53,
    negative: '-1.5',
    endless: '1'.repeat(2_000)
  }
  const cases: readonly (readonly [string, boolean])[] = [
    ['{"claim":"number","equals":5}', true],
    ['{"claim":"number","equals":"5"}', true],
    ['{"claim":"digits","equals":5}', true],
    ['{"claim":"number","equals":"5.0"}', false],
    ['{"claim":"flag","equals":"true"}', true],
    ['{"claim":"flag","equals":true}', true],
    ['{"claim":"flag","equals":"True"}', false],
    ['{"claim":"word","equals":"ABC"}', false],
    ['{"claim":"word","notEquals":"x"}', true],
    ['{"claim":"word","notEquals":"abc"}', false],
    ['{"claim":"missing","notEquals":"x"}', false],
    ['{"claim":"number","less":6}', true],
    ['{"claim":"number","less":5}', false],
    ['{"claim":"number","lessOrEquals":"5"}', true],
    ['{"claim":"number","greater":"4.5"}', true],
    ['{"claim":"number","greater":5}', false],
    ['{"claim":"digits","greaterOrEquals":5}', true],
    ['{"claim":"word","greater":"1"}', false],
    ['{"claim":"empty","less":1}', false],
    ['{"claim":"number","exists":"true"}', true],
    ['{"claim":"number","exists":false}', false],
    ['{"claim":"missing","exists":"false"}', true],
    ['{"claim":"missing","exists":true}', false],
    ['{"claim":"deep","exists":true}', true],
    ['{"claim":"deep","equals":"x"}', false],
    ['{"claim":"deep.inner","equals":"x"}', true],
    ['{"claim":"deep.inner.more","equals":"x"}', false],
    ['{"claim":"a.b","equals":1}', true],
    ['{"claim":"constructor","exists":true}', false],
    ['{"claim":"deep.__proto__","exists":true}', false],
    ['{"claim":"long","greater":"9007199254740992"}', true],
    ['{"claim":"long","lessOrEquals":"9007199254740992"}', false],
    ['{"claim":"long","less":"9007199254740993.1"}', true],
    ['{"claim":"long","equals":"9007199254740992"}', false],
    ['{"claim":"unsafe","equals":"9007199254740992"}', false],
    ['{"claim":"unsafe","notEquals":"1"}', false],
    ['{"claim":"unsafe","greater":1}', false],
    ['{"claim":"unsafe","exists":true}', true],
    ['{"claim":"negative","less":"-1.49"}', true],
    ['{"claim":"negative","greater":-2}', true],
    ['{"claim":"endless","greater":1}', false],
    ['{"anyOf":[{"claim":"word","equals":"x"},{"claim":"word","equals":"abc"}]}', true],
    ['{"anyOf":[{"claim":"word","equals":"x"},{"claim":"word","equals":"y"}]}', false],
    ['{"allOf":[{"claim":"word","equals":"abc"},{"anyOf":[{"claim":"number","less":9}]}]}', true],
    ['{"allOf":[{"claim":"word","equals":"abc"},{"claim":"number","less":1}]}', false]
  ]
  for (const [condition, expected] of cases) {
    it(`${expected ? 'accepts' : 'refuses'} ${condition}`, () => {
      const text = `{"version":"1.0.0","anyOf":[{"authority":"https://a.example","allOf":[${condition}]}]}`
      expect(evaluateReleasePolicy(parseReleasePolicy(text), { issuer: 'https://a.example', claims: values }).met).toBe(
        expected
      )
    })
  }
})
