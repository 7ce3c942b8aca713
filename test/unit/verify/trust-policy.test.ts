import { describe, expect, it } from '@jest/globals'
import { VerifyError } from '../../../src/verify/errors.js'
import { azureUvmIssuer, defaultMinimumTcb, strictTrustPolicy } from '../../../src/verify/strict-trust-policy.js'
import { parseTrustPolicy } from '../../../src/verify/trust-policy.js'
import { type Members, put } from './forge.js'

const hash = 'ab'.repeat(32)
const endpoint = 'https://sharedeus.eus.attest.azure.net'

function good(): Members {
  return {
    version: 1,
    hostData: [hash],
    roots: 'amd',
    minimumTcb: JSON.parse(JSON.stringify(defaultMinimumTcb)),
    debug: 'forbidden',
    migration: 'forbidden',
    vmpl: 0,
    uvm: { issuer: azureUvmIssuer, feed: 'ContainerPlat-AMD-UVM', minimumSvn: 100 },
    maa: { endpoints: [endpoint] },
    nonce: 'required',
    maximumAgeSeconds: 300
  }
}

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run()
  } catch (error) {
    if (error instanceof VerifyError && error.code === 'trust.invalid') return error.problems
    throw error
  }
  return []
}

function problemsWith(value: unknown, ...path: readonly string[]): readonly string[] {
  const policy = good()
  put(value, ...path)(policy)
  return problemsOf(() => parseTrustPolicy(JSON.stringify(policy)))
}

describe('parseTrustPolicy', () => {
  it('reads the strict policy', () => {
    expect(parseTrustPolicy(JSON.stringify(good()))).toEqual(good())
  })

  it.each(Object.keys(good()))('does not do without %s', (field) => {
    expect(problemsWith(undefined, field)).toEqual([`${field} is missing`])
  })

  it.each([
    ['hostData'],
    ['minimumTcb'],
    ['debug'],
    ['migration'],
    ['vmpl'],
    ['uvm'],
    ['maa'],
    ['nonce'],
    ['maximumAgeSeconds']
  ])('takes "any" as a decision for %s', (field) => {
    expect(problemsWith('any', field)).toEqual([])
  })

  it('never takes any root', () => {
    expect(problemsWith('any', 'roots')).toEqual(['roots must be an object, got "any"'])
  })

  it('takes "none" for the attestation provider alone', () => {
    expect(problemsWith('none', 'maa')).toEqual([])
    expect(problemsWith('none', 'uvm')).toHaveLength(1)
  })

  it.each<readonly [string, unknown, readonly string[]]>([
    ['another version', 2, ['version']],
    ['no host data', [], ['hostData']],
    ['host data in capitals', ['AB'.repeat(32)], ['hostData']],
    ['host data that is short', ['ab'], ['hostData']],
    ['no roots', { arkSha256: [] }, ['roots']],
    ['roots with another field', { arkSha256: [hash], sha256: [hash] }, ['roots']],
    ['a product without minimum', undefined, ['minimumTcb', 'turin']],
    ['a component without minimum', undefined, ['minimumTcb', 'turin', 'fmc']],
    ['a component that the product has not', 1, ['minimumTcb', 'milan', 'fmc']],
    ['a level above 255', 256, ['minimumTcb', 'milan', 'snp']],
    ['a level that is a fraction', 1.5, ['minimumTcb', 'milan', 'snp']],
    ['debug as a boolean', false, ['debug']],
    ['a VMPL that does not exist', 4, ['vmpl']],
    ['a negative VMPL', -1, ['vmpl']],
    ['an issuer without policy', azureUvmIssuer.split('::')[0], ['uvm', 'issuer']],
    ['an issuer with another kind of policy', `${azureUvmIssuer.split('::')[0]}::subject:CN:x`, ['uvm', 'issuer']],
    ['an issuer whose fingerprint is short', azureUvmIssuer.replace('I__iuL', ''), ['uvm', 'issuer']],
    ['an issuer whose fingerprint is of another hash', azureUvmIssuer.replace('sha256', 'sha384'), ['uvm', 'issuer']],
    ['an issuer whose fingerprint has bits to spare', azureUvmIssuer.replace('pt9s:', 'pt9t:'), ['uvm', 'issuer']],
    ['an issuer by an unknown hash', azureUvmIssuer.replace('sha256', 'sha1'), ['uvm', 'issuer']],
    ['an empty feed', '', ['uvm', 'feed']],
    ['an SVN as text', '100', ['uvm', 'minimumSvn']],
    ['an endpoint over http', ['http://a.example'], ['maa', 'endpoints']],
    ['an endpoint with a path', ['https://a.example/x'], ['maa', 'endpoints']],
    ['an endpoint with a slash', ['https://a.example/'], ['maa', 'endpoints']],
    ['an endpoint with a user', ['https://u@a.example'], ['maa', 'endpoints']],
    ['an endpoint without scheme', ['a.example'], ['maa', 'endpoints']],
    ['no endpoint', [], ['maa', 'endpoints']],
    ['an age of zero', 0, ['maximumAgeSeconds']],
    ['an age as text', '300', ['maximumAgeSeconds']]
  ])('refuses %s and names the place', (_, value, path) => {
    const problems = problemsWith(value, ...path)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(path[0])
  })

  it('lists all problems at once', () => {
    const policy = { ...good(), hostData: ['x'], vmpl: 9, extra: 1, uvm: { issuer: 'x', feed: '' } }
    expect(problemsOf(() => parseTrustPolicy(JSON.stringify({ ...policy, nonce: undefined })))).toEqual([
      'extra is not a known field',
      'hostData[0] must be 64 lower-case hex characters, got "x"',
      'vmpl must be a whole number from 0 to 3, got 9',
      'uvm.issuer must be a did:x509:0 identifier with eku policies, got "x"',
      'uvm.feed must be a text, got ""',
      'uvm.minimumSvn is missing',
      'nonce is missing'
    ])
  })

  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['a field twice', '{"version":1,"version":1}'],
    ['a field twice, spelt differently', '{"hostData":["x"],"host\\u0044ata":"any"}'],
    ['too deep', '['.repeat(100) + ']'.repeat(100)],
    ['too long', ' '.repeat(70_000)]
  ])('refuses what is %s', (_, json) => {
    expect(problemsOf(() => parseTrustPolicy(json))).toHaveLength(1)
  })
})

describe('strictTrustPolicy', () => {
  it('leaves nothing open', () => {
    const policy = strictTrustPolicy({ hostData: [hash], maaEndpoints: [endpoint] })
    expect(policy).toEqual(good())
    expect(JSON.stringify(policy)).not.toContain('"any"')
  })

  it('takes other roots and issuers, and no provider', () => {
    const uvmIssuer = `did:x509:0:sha256:${'A'.repeat(43)}::eku:1.2.3`
    const roots = { arkSha256: [hash] }
    expect(strictTrustPolicy({ hostData: [hash], maaEndpoints: 'none', roots, uvmIssuer })).toMatchObject({
      maa: 'none',
      roots,
      uvm: { issuer: uvmIssuer }
    })
  })

  it('refuses values of another form', () => {
    expect(problemsOf(() => strictTrustPolicy({ hostData: [], maaEndpoints: ['x'] }))).toHaveLength(2)
  })

  it('refuses a policy that is known to allow everything', () => {
    const open = 'cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c'
    expect(problemsOf(() => strictTrustPolicy({ hostData: [open], maaEndpoints: [endpoint] }))).toEqual([
      `hostData ${open} is that of a policy that allows everything`
    ])
  })
})
