import type { Claim } from '../../../src/verify/check.js'
import { describeFaults } from './faults.js'
import { createWorld, type Members, put } from './forge.js'

const world = await createWorld()
const unreadable: readonly Claim[] = ['runtimeData.keys', 'nonce']
const base64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
const change =
  (value: unknown, ...path: string[]) =>
  (members: Members): void =>
    put(value, ...path)(members)

describeFaults('the runtime data', world, [
  ['a member named keys', unreadable, { runtimeData: change([], 'keys') }],
  ['another member beside', unreadable, { runtimeData: change({}, 'other') }],
  ['an unknown member inside', unreadable, { runtimeData: change(1, 'confrouter', 'x') }],
  ['another version', unreadable, { runtimeData: change(2, 'confrouter', 'v') }],
  [
    'a member twice',
    [...unreadable, 'maa.runtime'],
    { runtimeData: (value) => Buffer.from(JSON.stringify(value).replace('{"v":1', '{"v":1,"v":1')) }
  ],
  ['not JSON', [...unreadable, 'maa.runtime'], { runtimeData: () => Buffer.from('{') }],
  ['not UTF-8', [...unreadable, 'maa.runtime'], { runtimeData: () => Buffer.from([0x22, 0xff, 0x22]) }],
  ['a list', unreadable, { runtimeData: () => [] }],
  ['a private key', unreadable, { runtimeData: change('AQAB', 'confrouter', 'rsa', 'd') }],
  ['an elliptic key', unreadable, { runtimeData: change('EC', 'confrouter', 'rsa', 'kty') }],
  ['kid of another key', unreadable, { runtimeData: change('x'.repeat(43), 'confrouter', 'rsa', 'kid') }],
  ['exponent 3', unreadable, { runtimeData: change('Aw', 'confrouter', 'rsa', 'e') }],
  ['exponent with a leading zero', unreadable, { runtimeData: change('AAEAAQ', 'confrouter', 'rsa', 'e') }],
  [
    'RSA key of 1024 bits',
    unreadable,
    { runtimeData: change(base64Url(Buffer.alloc(128, 0xff)), 'confrouter', 'rsa', 'n') }
  ],
  [
    'modulus with a leading zero',
    unreadable,
    {
      runtimeData: change(
        base64Url(Buffer.concat([Buffer.alloc(1), Buffer.alloc(256, 0xff)])),
        'confrouter',
        'rsa',
        'n'
      )
    }
  ],
  [
    'modulus in the other alphabet',
    unreadable,
    { runtimeData: change(Buffer.alloc(256, 0xff).toString('base64'), 'confrouter', 'rsa', 'n') }
  ],
  ['HPKE key of 31 bytes', unreadable, { runtimeData: change(base64Url(Buffer.alloc(31)), 'confrouter', 'hpke') }],
  [
    'HPKE key with padding',
    unreadable,
    { runtimeData: change(Buffer.alloc(32).toString('base64'), 'confrouter', 'hpke') }
  ],
  ['no Ed25519 key', unreadable, { runtimeData: change(undefined, 'confrouter', 'ed25519') }],
  ['nonce of 65 bytes', unreadable, { runtimeData: change(base64Url(Buffer.alloc(65)), 'confrouter', 'nonce') }],
  ['another nonce', ['nonce'], { runtimeData: change(base64Url(Buffer.alloc(32)), 'confrouter', 'nonce') }],
  ['TLS key that is no digest', unreadable, { runtimeData: change('ab', 'confrouter', 'tls') }]
])
