import type { Claim } from '../../../src/verify/check.js'
import type { MaaKeySet } from '../../../src/verify/maa-token.js'
import { ecKey, rsaPkcs1Key } from './certificate-forge.js'
import { describeFaults } from './faults.js'
import { type Changes, createWorld, maaEndpoint, maaKeySet, now, put } from './forge.js'

const world = await createWorld()
const stranger = { maa: await rsaPkcs1Key('SHA-256'), vcek: await ecKey() }
const seconds = now.getTime() / 1000

const allMaa: readonly Claim[] = [
  'maa.signature',
  'maa.issuer',
  'maa.time',
  'maa.type',
  'maa.compliance',
  'maa.hostData',
  'maa.debug',
  'maa.vmpl',
  'maa.measurement',
  'maa.reportData',
  'maa.runtime'
]
const claim = (value: unknown, ...path: string[]): Changes => ({ claims: put(value, ...path) })
const key = (name: string): string => `x-ms-sevsnpvm-${name}`
const ec = await maaKeySet(stranger.vcek)
const own = await maaKeySet(world.maa)
const short = await rsaPkcs1Key('SHA-256', 1024)
const ofShort = await maaKeySet(short)

describeFaults('the token', world, [
  ['signed by a stranger', ['maa.signature'], { maaSigner: stranger.maa }],
  ['unknown key id', ['maa.signature'], { tokenHeader: put('other', 'kid') }],
  ['a key id that is a number', ['maa.signature'], { tokenHeader: put(1, 'kid') }],
  ['no key id', ['maa.signature'], { tokenHeader: put(undefined, 'kid') }],
  ['algorithm none', ['maa.signature'], { tokenHeader: put('none', 'alg') }],
  ['algorithm HS256', ['maa.signature'], { tokenHeader: put('HS256', 'alg') }],
  ['algorithm PS256', ['maa.signature'], { tokenHeader: put('PS256', 'alg') }],
  ['critical header', ['maa.signature'], { tokenHeader: put(['x'], 'crit') }],
  ['jku elsewhere is not followed', [], { tokenHeader: put('https://evil.example/certs', 'jku') }],
  ['no keys at all', ['maa.signature'], { maaKeys: () => [] }],
  [
    'keys of another endpoint',
    ['maa.signature'],
    { maaKeys: ([set]) => [{ endpoint: 'https://other.example', jwks: set?.jwks }] }
  ],
  ['keys that are no key set', ['maa.signature'], { maaKeys: () => [{ endpoint: maaEndpoint, jwks: 'x' }] }],
  [
    'a key without certificate',
    ['maa.signature'],
    { maaKeys: () => [{ endpoint: maaEndpoint, jwks: { keys: [{ kid: 'key-1', kty: 'RSA', n: 'AA', e: 'AQAB' }] } }] }
  ],
  [
    'a key with a certificate that is none',
    ['maa.signature'],
    { maaKeys: () => [{ endpoint: maaEndpoint, jwks: { keys: [{ kid: 'key-1', kty: 'RSA', x5c: ['AAAA'] }] } }] }
  ],
  ['an elliptic key', ['maa.signature'], { maaKeys: () => [ec] }],
  ['a key that is too short', ['maa.signature'], { maaSigner: short, maaKeys: () => [ofShort] }],
  ['no critical header, in a list that says so', ['maa.signature'], { tokenHeader: put([], 'crit') }],
  ['an empty signature', ['maa.signature'], { rawToken: (token) => token.slice(0, token.lastIndexOf('.') + 1) }],
  [
    'the right one among several keys of one id',
    [],
    {
      maaKeys: () => [
        { endpoint: maaEndpoint, jwks: { keys: [{ kid: 'key-1', kty: 'RSA' }, ...keysOf(ec), ...keysOf(own)] } }
      ]
    }
  ],
  ['another issuer', ['maa.issuer'], claim('https://evil.example', 'iss')],
  ['issuer with a slash at its end', ['maa.issuer'], claim(`${maaEndpoint}/`, 'iss')],
  ['issuer that is not trusted', ['maa.issuer'], { trust: put(['https://other.example'], 'maa', 'endpoints') }],
  [
    'endpoint that is not the issuer',
    ['maa.signature', 'maa.issuer'],
    { document: put('https://other.example', 'maa', 'endpoint') }
  ],
  ['expired', ['maa.time'], claim(seconds - 61, 'exp')],
  ['expired within the allowance for clocks', [], claim(seconds - 30, 'exp')],
  ['not valid yet', ['maa.time'], claim(seconds + 61, 'nbf')],
  ['issued in the future', ['maa.time'], claim(seconds + 3600, 'iat')],
  ['too old', ['maa.time'], claim(seconds - 361, 'iat')],
  ['times as text', ['maa.time'], claim(`${seconds}`, 'iat')],
  ['no times', ['maa.time'], claim(undefined, 'exp')],
  ['no time of issue', ['maa.time'], claim(undefined, 'iat')],
  ['no time from which it is valid', ['maa.time'], claim(undefined, 'nbf')],
  [
    'a time that no clock reaches',
    ['maa.signature', 'maa.time'],
    { rawToken: (token) => replaceInPayload(token, /"exp":\d+/, '"exp":1e999') }
  ],
  ['the hash of the policy of the provider, whatever it is', [], claim('AAAA', 'x-ms-policy-hash')],
  ['another type', ['maa.type'], claim('azurevm', 'x-ms-attestation-type')],
  ['compliant as a VM', ['maa.compliance'], claim('azure-compliant-cvm', 'x-ms-compliance-status')],
  ['no compliance', ['maa.compliance'], claim(undefined, 'x-ms-compliance-status')],
  ['bootloader below the minimum', ['maa.compliance'], claim(3, key('bootloader-svn'))],
  ['SNP firmware below the minimum', ['maa.compliance'], claim(23, key('snpfw-svn'))],
  ['microcode missing', ['maa.compliance'], claim(undefined, key('microcode-svn'))],
  ['TEE level as text', ['maa.compliance'], claim('3', key('tee-svn'))],
  ['another host data', ['maa.hostData'], claim('00'.repeat(32), key('hostdata'))],
  [
    'host data in capitals',
    ['maa.hostData'],
    { claims: (claims) => put(String(claims[key('hostdata')]).toUpperCase(), key('hostdata'))(claims) }
  ],
  ['debuggable', ['maa.debug'], claim(true, key('is-debuggable'))],
  ['debuggable as text', ['maa.debug'], claim('false', key('is-debuggable'))],
  ['migration allowed', ['maa.debug'], claim(true, key('migration-allowed'))],
  ['no word about debugging', ['maa.debug'], claim(undefined, key('is-debuggable'))],
  [
    'migration allowed where debugging is not looked at',
    ['maa.debug'],
    { ...claim(true, key('migration-allowed')), trust: put('any', 'debug') }
  ],
  ['VMPL 1', ['maa.vmpl'], claim(1, key('vmpl'))],
  ['VMPL as text', ['maa.vmpl'], claim('0', key('vmpl'))],
  ['another measurement', ['maa.measurement'], claim('00'.repeat(48), key('launchmeasurement'))],
  [
    'endorsement for another measurement',
    ['maa.measurement'],
    claim('00'.repeat(48), key('uvm-endorsement'), key('launchmeasurement'))
  ],
  ['endorsement with too low an SVN', ['maa.measurement'], claim('99', key('uvm-endorsement'), key('guestsvn'))],
  ['endorsement with its SVN as a number', [], claim(100, key('uvm-endorsement'), key('guestsvn'))],
  ['endorsement without SVN', ['maa.measurement'], claim(undefined, key('uvm-endorsement'), key('guestsvn'))],
  ['endorsement that is a list', ['maa.measurement'], claim([], key('uvm-endorsement'))],
  ['headers of the endorsement missing', ['maa.measurement'], claim(undefined, key('uvm-endorsement-headers'))],
  ['endorsement missing', ['maa.measurement'], claim(undefined, key('uvm-endorsement'))],
  [
    'endorsement by another issuer',
    ['maa.measurement'],
    claim('did:x509:0:sha256:x', key('uvm-endorsement-headers'), 'iss')
  ],
  ['endorsement in another feed', ['maa.measurement'], claim('x', key('uvm-endorsement-headers'), 'feed')],
  ['another report data', ['maa.reportData'], claim('00'.repeat(64), key('reportdata'))],
  ['another runtime claim', ['maa.runtime'], claim('x', 'x-ms-runtime', 'confrouter', 'hpke')],
  [
    'a number in the runtime claim that is none',
    ['maa.signature', 'maa.runtime'],
    { rawToken: (token) => replaceInPayload(token, '"v":1', '"v":1e999') }
  ],
  ['a release target in the runtime claim', ['maa.runtime'], claim([{ kty: 'RSA' }], 'x-ms-runtime', 'keys')],
  ['no runtime claim', ['maa.runtime'], claim(undefined, 'x-ms-runtime')],
  [
    'runtime claim in another order is the same',
    [],
    { claims: (claims) => put(reversed(claims['x-ms-runtime']), 'x-ms-runtime')(claims) }
  ],
  ['two parts', allMaa, { rawToken: (token) => token.split('.').slice(0, 2).join('.') }],
  ['four parts', allMaa, { rawToken: (token) => `${token}.x` }],
  ['signature with padding', allMaa, { rawToken: (token) => `${token}==` }],
  ['signature in the other alphabet', allMaa, { rawToken: (token) => `${token.slice(0, -4)}+/+/` }],
  ['payload that is no object', allMaa, { rawToken: (token) => replacePart(token, 1, '[]') }],
  ['payload with a member twice', allMaa, { rawToken: (token) => replacePart(token, 1, '{"iss":"a","iss":"b"}') }],
  ['empty', allMaa, { rawToken: () => '' }]
])

function keysOf({ jwks }: MaaKeySet): readonly unknown[] {
  return (jwks as { keys: readonly unknown[] }).keys
}

function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)])
  )
}

function replaceInPayload(token: string, search: string | RegExp, replacement: string): string {
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()
  return replacePart(token, 1, payload.replace(search, replacement))
}

function replacePart(token: string, index: number, json: string): string {
  const parts = token.split('.')
  parts[index] = Buffer.from(json).toString('base64url')
  return parts.join('.')
}
