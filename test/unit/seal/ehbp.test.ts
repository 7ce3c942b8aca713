import { describe, expect, it } from '@jest/globals'
import { decodeHex, encodeHex } from '../../../src/base/encoding.js'
import {
  encodeKeyConfiguration,
  formatSealExtension,
  hpkeKeyId,
  parseKeyConfiguration,
  parseSealExtension,
  requestContext,
  responseContext
} from '../../../src/seal/ehbp.js'
import { pad, paddedLength, unpad } from '../../../src/seal/padding.js'
import { codeOf, keyIdOf } from './raw-ehbp.js'

const kid = 'AAECAwQFBgcICQoL'
const good = `v=1;kid=${kid};t=1790000000000;h=content-type+authorization`

describe('parseSealExtension', () => {
  it('reads what the header says, and keeps its text', () => {
    expect(parseSealExtension(good)).toEqual({
      text: good,
      kid,
      timeMs: 1_790_000_000_000,
      covered: ['content-type', 'authorization'],
      pad: false
    })
    expect(parseSealExtension(`v=1;kid=${kid};t=0000000000000;h=;pad=1`)).toMatchObject({
      timeMs: 0,
      covered: [],
      pad: true
    })
  })

  const names = (count: number) => Array.from({ length: count }, (_, index) => `x-${index}`).join('+')
  it('takes 16 names and 512 characters', () => {
    expect(parseSealExtension(`v=1;kid=${kid};t=1790000000000;h=${names(16)}`).covered).toHaveLength(16)
    const long = `v=1;kid=${kid};t=1790000000000;h=`
    expect(parseSealExtension(long + 'a'.repeat(512 - long.length)).text).toHaveLength(512)
  })

  it.each([
    ['nothing', ''],
    ['another version', good.replace('v=1', 'v=2')],
    ['white space', good.replace(';', '; ')],
    ['white space at the end', `${good} `],
    ['a line end at the end', `${good}\n`],
    ['another order', `v=1;t=1790000000000;kid=${kid};h=`],
    ['a key id that is short', good.replace(kid, kid.slice(1))],
    ['a key id that is long', good.replace(kid, `${kid}A`)],
    ['a key id in the other alphabet', good.replace(kid, `+${kid.slice(1)}`)],
    ['a time of 12 digits', good.replace('1790000000000', '179000000000')],
    ['a time of 14 digits', good.replace('1790000000000', '17900000000000')],
    ['a time with a sign', good.replace('1790000000000', '-179000000000')],
    ['no names at all', `v=1;kid=${kid};t=1790000000000`],
    ['a name in capitals', good.replace('content', 'Content')],
    ['a name with an underscore', good.replace('content-', 'content_')],
    ['an empty name', good.replace('+', '++')],
    ['a name missing at the start', good.replace('h=', 'h=+')],
    ['a name missing at the end', `${good}+`],
    ['a name twice', `${good}+content-type`],
    ['17 names', `v=1;kid=${kid};t=1790000000000;h=${names(17)}`],
    ['513 characters', `${good}+`.padEnd(513, 'a')],
    ['no padding in words', `${good};pad=0`],
    ['padding twice', `${good};pad=1;pad=1`],
    ['another parameter', `${good};x=1`]
  ])('refuses %s', async (_, text) => {
    expect(await codeOf(() => parseSealExtension(text))).toBe('bad_sealed_request')
  })
})

describe('formatSealExtension', () => {
  it('writes what the parser reads', () => {
    for (const pad of [false, true]) {
      const parts = { kid, timeMs: 1_790_000_000_001, covered: ['a', 'b-1'], pad }
      const text = formatSealExtension(parts)
      expect(parseSealExtension(text)).toEqual({ ...parts, text })
    }
    expect(formatSealExtension({ kid, timeMs: 5, covered: [], pad: false })).toBe(`v=1;kid=${kid};t=0000000000005;h=`)
  })

  it.each([
    ['a fraction of a millisecond', { timeMs: 1.5 }],
    ['a time that is not a number', { timeMs: Number.NaN }],
    ['a time before 1970', { timeMs: -1 }],
    ['a time that is too late', { timeMs: 1e13 }],
    ['a name twice', { covered: ['a', 'a'] }],
    ['a name that would end the list', { covered: ['a;pad=1'] }],
    ['an empty name', { covered: [''] }],
    ['a name with a plus', { covered: ['a+b'] }],
    ['another key id', { kid: 'short' }]
  ])('refuses %s', async (_, bad) => {
    const act = () => formatSealExtension({ kid, timeMs: 1_790_000_000_000, covered: [], pad: false, ...bad })
    expect(await codeOf(act)).toBe('invalid_request')
  })
})

describe('the context of a request', () => {
  const request = {
    method: 'POST',
    path: '/v1/x?y=1',
    encapsulatedKeyHex: 'ab'.repeat(32),
    extension: parseSealExtension(good),
    header: (name: string) => (name === 'content-type' ? 'application/json' : undefined)
  }

  it('has the lines of docs/wire-format.md', () => {
    expect(requestContext(request).split('\n')).toEqual([
      'confrouter seal v1',
      'POST',
      '/v1/x?y=1',
      good,
      'ab'.repeat(32),
      'content-type: application/json',
      'authorization: '
    ])
    expect(responseContext(200, 'text/event-stream').split('\n')).toEqual([
      'confrouter seal v1 response',
      '200',
      'text/event-stream'
    ])
    expect(responseContext(204, '')).toBe('confrouter seal v1 response\n204\n')
  })

  it('has no value that could pass for two lines', async () => {
    for (const bad of [{ method: 'A\nB' }, { path: '/\n' }, { header: () => 'a\nb: c' }]) {
      expect(await codeOf(() => requestContext({ ...request, ...bad }))).toBe('bad_sealed_request')
    }
    expect(await codeOf(() => responseContext(200, 'a\nb'))).toBe('bad_sealed_request')
  })
})

describe('padding', () => {
  it.each([
    [0, 256],
    [255, 256],
    [256, 512],
    [511, 512],
    [512, 1024],
    [32_767, 32_768],
    [32_768, 65_536],
    [65_535, 65_536],
    [65_536, 131_072],
    [131_071, 131_072],
    [131_072, 196_608]
  ])('pads %d bytes to %d, and comes off again', (length, expected) => {
    const data = new Uint8Array(length).fill(0x80)
    const whole = pad(data)
    expect([whole.length, paddedLength(length)]).toEqual([expected, expected])
    expect(whole[length]).toBe(0x80)
    expect(unpad(whole)).toEqual(data)
  })

  it('is the same for every length up to some thousand', () => {
    for (let length = 0; length < 5000; length++) {
      const size = paddedLength(length)
      expect(size > length && (size === 256 || size / 2 <= length)).toBe(true)
    }
  })

  const padded = pad(Uint8Array.of(1, 2, 3))
  it.each([
    ['nothing', new Uint8Array()],
    ['zeros alone', new Uint8Array(256)],
    ['no mark', Uint8Array.from(padded, (byte) => (byte === 0x80 ? 0 : byte))],
    ['another mark', Uint8Array.from(padded, (byte) => (byte === 0x80 ? 0x81 : byte))],
    ['something in the zeros', Uint8Array.from(padded, (byte, index) => (index === 100 ? 1 : byte))],
    ['a length that is no bucket', padded.subarray(0, 255)],
    ['a larger bucket than needed', new Uint8Array([...padded, ...new Uint8Array(256)])]
  ])('is not %s', (_, bytes) => {
    expect(() => unpad(bytes)).toThrow('padding')
  })
})

describe('hpkeKeyId', () => {
  it('is the start of the SHA-256', async () => {
    const publicKey = new Uint8Array(32).fill(5)
    expect(await hpkeKeyId(publicKey)).toBe(keyIdOf(publicKey))
    expect(await hpkeKeyId(publicKey)).toHaveLength(16)
  })
})

describe('the key configuration', () => {
  const publicKey = Uint8Array.from({ length: 32 }, (_, index) => index)
  const text = `000020${encodeHex(publicKey)}000400010002`

  it('has 41 bytes', () => {
    expect(encodeHex(encodeKeyConfiguration(publicKey))).toBe(text)
    expect(parseKeyConfiguration(decodeHex(text, 'configuration'))).toEqual(publicKey)
  })

  it('of another form is refused', async () => {
    const bytes = decodeHex(text, 'configuration')
    for (const index of [0, 1, 2, 35, 36, 37, 38, 39, 40]) {
      const altered = Uint8Array.from(bytes)
      altered[index]! ^= 1
      expect(await codeOf(() => parseKeyConfiguration(altered))).toBe('invalid_key')
    }
    for (let length = 0; length <= 42; length++) {
      const other = new Uint8Array(length)
      other.set(bytes.subarray(0, length))
      expect(await codeOf(() => parseKeyConfiguration(other))).toBe(length === 41 ? 'no error' : 'invalid_key')
    }
    expect(await codeOf(() => encodeKeyConfiguration(new Uint8Array(31)))).toBe('invalid_key')
  })
})
