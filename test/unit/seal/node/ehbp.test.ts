import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { curveKeyPair } from '../../../../src/seal/node/hpke-kem.js'
import { openSealed, recognizeSealed, type RequestHead } from '../../../../src/seal/node/ehbp.js'
import {
  begin,
  codeOf,
  flipped,
  framed,
  keyIdOf,
  maximumFrameBytes,
  openWhole,
  padded,
  rawExtension,
  rawPlain,
  routerKey,
  timeMs
} from '../raw-ehbp.js'
import { Seeded } from '../seeded.js'

const textOf = (plaintexts: readonly Uint8Array[]): string => Buffer.concat(plaintexts).toString()

function withHeader(head: RequestHead, name: string, value: string | string[] | undefined): RequestHead {
  return { ...head, headers: { ...head.headers, [name]: value } }
}

describe('recognizeSealed', () => {
  const enc = 'ab'.repeat(32)
  const seal = `v=1;kid=${keyIdOf(routerKey.publicKey)};t=${timeMs};h=`
  const recognize = (headers: RequestHead['headers']) => recognizeSealed({ method: 'POST', path: '/', headers })

  it('tells a plain request from a sealed one', () => {
    expect(recognize({ 'content-type': 'application/json' })).toBeUndefined()
    expect(recognize({ 'ehbp-encapsulated-key': enc })).toEqual({
      encapsulatedKey: Buffer.from(enc, 'hex'),
      extension: undefined
    })
    expect(recognize({ 'ehbp-encapsulated-key': enc, 'confrouter-seal': seal })?.extension).toMatchObject({
      text: seal,
      timeMs
    })
  })

  it.each([
    ['capitals', { 'ehbp-encapsulated-key': enc.toUpperCase() }],
    ['62 characters', { 'ehbp-encapsulated-key': enc.slice(2) }],
    ['66 characters', { 'ehbp-encapsulated-key': `${enc}ab` }],
    ['a line end', { 'ehbp-encapsulated-key': `${enc}\n` }],
    ['nothing', { 'ehbp-encapsulated-key': '' }],
    ['two keys in one line', { 'ehbp-encapsulated-key': `${enc}, ${enc}` }],
    ['two keys', { 'ehbp-encapsulated-key': [enc, enc] }],
    ['the extension without a key', { 'confrouter-seal': seal }],
    ['the extension twice', { 'ehbp-encapsulated-key': enc, 'confrouter-seal': [seal, seal] }],
    ['an empty extension', { 'ehbp-encapsulated-key': enc, 'confrouter-seal': '' }],
    ['another extension', { 'ehbp-encapsulated-key': enc, 'confrouter-seal': 'v=2' }]
  ])('refuses %s', async (_, headers) => {
    expect(await codeOf(() => recognize(headers))).toBe('bad_sealed_request')
  })
})

describe('a request of plain EHBP', () => {
  it('is opened frame by frame, empty ones skipped', async () => {
    const { head, body } = await rawPlain({ frames: [{ text: 'one' }, { text: '' }, { text: 'two' }] })
    const opened = begin(head)
    expect(opened.authenticated).toBe(false)
    const plaintexts = opened.push(Buffer.concat([Buffer.alloc(4), body, Buffer.alloc(8)]))
    expect(plaintexts.map(String)).toEqual(['one', 'two'].map((text) => String(Buffer.from(text))))
    expect(opened.authenticated).toBe(true)
    opened.end()
  })

  it('ends where its body ends, but not within a frame', async () => {
    const { head, body, frames } = await rawPlain({ frames: [{ text: 'one' }, { text: 'two' }] })
    const boundaries = [frames[0]!.length, body.length]
    for (let length = 0; length <= body.length; length++) {
      const code = await codeOf(() => openWhole(head, body.subarray(0, length)))
      expect([length, code]).toEqual([length, boundaries.includes(length) ? 'no error' : 'bad_sealed_request'])
    }
    expect(await codeOf(() => openWhole(head, Buffer.alloc(8)))).toBe('bad_sealed_request')
  })

  it('may be sealed to a stale key if its first frame does not open, and is altered if a later one does not', async () => {
    const { head, body, frames } = await rawPlain({ frames: [{ text: 'one' }, { text: 'two' }] })
    const lengthBits = [...Array(32).keys()]
    const second = frames[0]!.length * 8
    for (let bit = 32; bit < second; bit++) {
      expect(await codeOf(() => openWhole(head, flipped(body, bit)))).toBe('stale_key')
    }
    for (let bit = second + 32; bit < body.length * 8; bit++) {
      expect(await codeOf(() => openWhole(head, flipped(body, bit)))).toBe('bad_sealed_request')
    }
    // With another length it is a frame that is too short, too long, not whole, or not authentic.
    for (const bit of lengthBits) {
      expect(['stale_key', 'bad_sealed_request']).toContain(await codeOf(() => openWhole(head, flipped(body, bit))))
      expect(await codeOf(() => openWhole(head, flipped(body, second + bit)))).toBe('bad_sealed_request')
    }
    const other = await rawPlain({ ephemeralSecret: new Uint8Array(32).fill(0x23) })
    expect(await codeOf(() => openWhole(other.head, body))).toBe('stale_key')
    expect(await codeOf(() => openWhole(head, Buffer.concat([frames[1]!, frames[0]!])))).toBe('stale_key')
    expect(await codeOf(() => openWhole(head, Buffer.concat([frames[0]!, frames[0]!])))).toBe('bad_sealed_request')
  })

  it('is not opened with another key', async () => {
    const { head, body } = await rawPlain()
    const sealed = recognizeSealed(head)!
    const other = curveKeyPair('X25519', new Uint8Array(32).fill(0x12))
    expect(await codeOf(() => openSealed(head, sealed, other, { maximumFrameBytes }).push(body))).toBe('stale_key')
  })

  it.each(['00'.repeat(32), `01${'00'.repeat(31)}`])(
    'whose encapsulated key gives no secret is malformed',
    async (enc) => {
      const { head } = await rawPlain()
      expect(await codeOf(() => begin(withHeader(head, 'ehbp-encapsulated-key', enc)))).toBe('bad_sealed_request')
    }
  )

  it.each([1, 15])('has no frame of %d bytes', async (length) => {
    const { head } = await rawPlain()
    expect(await codeOf(() => begin(head).push(framed(Buffer.alloc(length))))).toBe('bad_sealed_request')
  })
})

describe('a request of the extension', () => {
  it('is opened', async () => {
    const { head, body } = await rawExtension()
    expect(openWhole(head, body)).toBe('{"model":"m"}')
  })

  it('may have no data, and padded frames', async () => {
    const end = { kind: 1, text: '' }
    expect(openWhole(...args(await rawExtension({ frames: [end] })))).toBe('')
    expect(openWhole(...args(await rawExtension({ frames: [{ kind: 3, text: padded('', 256) }] })))).toBe('')
    const frames = [{ kind: 2, text: padded('one', 256) }, { text: ' two' }, { kind: 2, text: padded('', 256) }, end]
    expect(openWhole(...args(await rawExtension({ frames })))).toBe('one two')
  })

  it.each([
    ['no mark', Buffer.alloc(256)],
    ['no bucket', padded('x', 255)],
    ['a larger bucket than needed', padded('x', 512)],
    ['nothing', Buffer.alloc(0)]
  ])('with padding of %s is malformed', async (_, text) => {
    const frames = [
      { kind: 2, text },
      { kind: 1, text: '' }
    ]
    expect(await codeOf(async () => openWhole(...args(await rawExtension({ frames }))))).toBe('bad_sealed_request')
  })

  it('binds every bit of its body', async () => {
    const { head, body } = await rawExtension()
    for (let bit = 0; bit < body.length * 8; bit++) {
      expect([bit, await codeOf(() => openWhole(head, flipped(body, bit)))]).toEqual([bit, 'bad_sealed_request'])
    }
  })

  it('binds method, path, query, and every bit of the covered headers', async () => {
    const { head, body } = await rawExtension()
    const altered = [
      { ...head, method: 'PUT' },
      { ...head, path: '/v1/chat/completions?x=2' },
      { ...head, path: '/v1/chat/completions' },
      { ...head, path: '/v1/completions?x=1' },
      withHeader(head, 'content-type', undefined),
      withHeader(head, 'authorization', undefined),
      withHeader(head, 'authorization', ''),
      withHeader(head, 'x-absent', 'present'),
      withHeader(head, 'authorization', ['Bearer key']),
      withHeader(head, 'authorization', 'Bearer key\nx-absent: ')
    ]
    for (const name of ['content-type', 'authorization']) {
      const value = Buffer.from(String(head.headers[name]))
      for (let bit = 0; bit < value.length * 8; bit++) {
        altered.push(withHeader(head, name, flipped(value, bit).toString('latin1')))
      }
    }
    for (const other of altered) expect(await codeOf(() => openWhole(other, body))).toBe('bad_sealed_request')
    expect(openWhole(withHeader(head, 'x-other', 'changed'), body)).toBe('{"model":"m"}')
  })

  it('binds every bit of its own headers', async () => {
    const { head, body } = await rawExtension()
    for (const name of ['ehbp-encapsulated-key', 'confrouter-seal']) {
      const value = Buffer.from(String(head.headers[name]))
      for (let bit = 0; bit < value.length * 8; bit++) {
        const code = await codeOf(() => openWhole(withHeader(head, name, flipped(value, bit).toString('latin1')), body))
        expect(['bad_sealed_request', 'stale_key']).toContain(code)
      }
    }
  })

  it('does not become plain EHBP when the header is removed, nor the other way round', async () => {
    const { head, body } = await rawExtension()
    expect(await codeOf(() => openWhole(withHeader(head, 'confrouter-seal', undefined), body))).toBe('stale_key')
    const plain = await rawPlain()
    const seal = String(head.headers['confrouter-seal'])
    expect(await codeOf(() => openWhole(withHeader(plain.head, 'confrouter-seal', seal), plain.body))).toBe(
      'bad_sealed_request'
    )
  })

  it('is refused for a stale key before anything else is looked at', async () => {
    const seal = `v=1;kid=${keyIdOf(new Uint8Array(32))};t=${timeMs};h=`
    const { head } = await rawExtension({ seal })
    expect(await codeOf(() => begin(head))).toBe('stale_key')
    // Once the key is known to be the right one a frame that does not open is no stale key.
    const good = await rawExtension()
    expect(await codeOf(() => openWhole(good.head, flipped(good.body, 60)))).toBe('bad_sealed_request')
  })

  it('is not whole before its end frame, and has nothing behind it', async () => {
    const { head, body } = await rawExtension()
    for (let length = 0; length < body.length; length++) {
      expect([length, await codeOf(() => openWhole(head, body.subarray(0, length)))]).toEqual([
        length,
        'bad_sealed_request'
      ])
    }
    for (const more of [Buffer.of(0), Buffer.alloc(4), body]) {
      expect(await codeOf(() => openWhole(head, Buffer.concat([body, more])))).toBe('bad_sealed_request')
      const opened = begin(head)
      opened.push(body)
      expect(await codeOf(() => opened.push(more))).toBe('bad_sealed_request')
    }
  })

  it('has its frames in their order, each once', async () => {
    const end = { kind: 1, text: '' }
    const { head, frames } = await rawExtension({ frames: [{ text: 'a' }, { text: 'b' }, end] })
    const [first, second, last] = frames as [Buffer, Buffer, Buffer]
    expect(openWhole(head, Buffer.concat([first, second, last]))).toBe('ab')
    for (const order of [
      [second, first, last],
      [first, first, second, last],
      [first, last],
      [second, last],
      [last],
      [first, second, second, last],
      [first, Buffer.alloc(4), second, last],
      [first, second, last, last]
    ]) {
      expect(await codeOf(() => openWhole(head, Buffer.concat(order)))).toBe('bad_sealed_request')
    }
  })

  it.each([
    ['an end frame with content', [{ kind: 1, text: 'x' }]],
    ['a padded end frame with content', [{ kind: 3, text: padded('x', 256) }]],
    [
      'two end frames',
      [
        { kind: 1, text: '' },
        { kind: 1, text: '' }
      ]
    ],
    ['data behind the end', [{ kind: 1, text: '' }, { text: 'x' }]],
    [
      'a kind of the future',
      [
        { kind: 4, text: 'x' },
        { kind: 1, text: '' }
      ]
    ],
    [
      'a kind with the highest bit',
      [
        { kind: 0x80, text: 'x' },
        { kind: 1, text: '' }
      ]
    ],
    ['no frames', []]
  ])('with %s is malformed', async (_, frames) => {
    expect(await codeOf(async () => openWhole(...args(await rawExtension({ frames }))))).toBe('bad_sealed_request')
  })

  it.each([0, 1, 16])('has no frame of %d bytes', async (length) => {
    const { head } = await rawExtension()
    expect(await codeOf(() => begin(head).push(framed(Buffer.alloc(length))))).toBe('bad_sealed_request')
  })

  it('sealed with the info of plain EHBP does not open', async () => {
    expect(await codeOf(async () => openWhole(...args(await rawExtension({ info: 'ehbp request' }))))).toBe(
      'bad_sealed_request'
    )
  })
})

describe('an opened request', () => {
  it('opens the same however the bytes come', async () => {
    const random = new Seeded(3)
    const frames = [
      { text: random.bytes(3000) },
      { kind: 2, text: padded(random.bytes(400), 512) },
      { text: random.bytes(1) },
      { kind: 1, text: '' }
    ]
    const { head, body } = await rawExtension({ frames })
    const whole = openWhole(head, body)
    for (let round = 0; round < 60; round++) {
      const opened = begin(head)
      const plaintexts: Uint8Array[] = []
      for (let offset = 0; offset < body.length;) {
        const chunk = Uint8Array.from(body.subarray(offset, offset + 1 + random.below(round < 2 ? 1 : 400)))
        plaintexts.push(...opened.push(chunk))
        // Whoever gave the chunk may use its memory again.
        chunk.fill(0)
        offset += chunk.length
      }
      opened.end()
      expect(textOf(plaintexts)).toBe(whole)
    }
  })

  it('gives nothing away before the tag was verified', async () => {
    const { head, frames } = await rawExtension({ frames: [{ text: 'x'.repeat(100_000) }] })
    const opened = begin(head)
    const [frame] = frames as [Buffer]
    expect(opened.push(frame.subarray(0, -1))).toEqual([])
    expect([opened.authenticated, opened.held]).toEqual([false, frame.length - 1])
    expect(await codeOf(() => opened.push(Buffer.of(frame.at(-1)! ^ 1)))).toBe('bad_sealed_request')
    expect(opened.authenticated).toBe(false)
  })

  it('fails again and alike after a failure', async () => {
    const { head, body } = await rawPlain()
    const opened = begin(head)
    expect(await codeOf(() => opened.push(flipped(body, 50)))).toBe('stale_key')
    expect(await codeOf(() => opened.push(body))).toBe('stale_key')
    expect(await codeOf(() => opened.end())).toBe('stale_key')
    expect(opened.held).toBeLessThan(64)
  })

  it('refuses a length above the limit before it reads on', async () => {
    const { head, body } = await rawExtension()
    const length = body.readUInt32BE(0)
    begin(head, length).push(body.subarray(0, 4))
    expect(await codeOf(() => begin(head, length - 1).push(body.subarray(0, 4)))).toBe('bad_sealed_request')
    expect(await codeOf(() => begin(head).push(Buffer.from('ffffffff', 'hex')))).toBe('bad_sealed_request')
  })

  it('allocates for what came, and not for what a length field says', async () => {
    const { head } = await rawExtension()
    const { arrayBuffers } = process.memoryUsage()
    const many = Array.from({ length: 50 }, () => {
      const opened = begin(head)
      opened.push(Buffer.concat([Buffer.from('0140000000', 'hex'), Buffer.alloc(100)]))
      return opened
    })
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(50 * 200_000)
    expect(many.map(({ held }) => held)).toEqual(many.map(() => 105))
  })

  it('counts and hashes the body as it came', async () => {
    const { head, body } = await rawExtension()
    const opened = begin(head)
    expect(opened.sha256()).toBe(createHash('sha256').digest('hex'))
    opened.push(body.subarray(0, 20))
    expect([opened.sealedBytes, opened.held]).toEqual([20, 20])
    expect(opened.sha256()).toBe(createHash('sha256').update(body.subarray(0, 20)).digest('hex'))
    opened.push(body.subarray(20))
    expect([opened.sealedBytes, opened.held]).toEqual([body.length, 0])
    expect(opened.sha256()).toBe(createHash('sha256').update(body).digest('hex'))
    expect(opened.sha256()).toBe(opened.sha256())
  })

  it('takes one frame of 20 MB in pieces, and a byte at a time, in linear time', async () => {
    const text = Buffer.alloc(20 * 1024 ** 2 - 16, 'x')
    const { head, body } = await rawPlain({ frames: [{ text }] })
    const opened = begin(head)
    const plaintexts: Uint8Array[] = []
    for (let offset = 0; offset < body.length; offset += 65_536) {
      plaintexts.push(...opened.push(body.subarray(offset, offset + 65_536)))
    }
    opened.end()
    expect(plaintexts).toHaveLength(1)
    expect(text.equals(plaintexts[0]!)).toBe(true)
    const slow = begin(head)
    for (let offset = 0; offset < 300_000; offset++) slow.push(body.subarray(offset, offset + 1))
    expect(slow.held).toBe(300_000)
  })

  it('answers once', async () => {
    const { head, body } = await rawExtension()
    const opened = begin(head)
    opened.push(body)
    opened.startResponse(200, '')
    expect(() => opened.startResponse(200, '')).toThrow('already')
  })
})

const args = ({ head, body }: { head: RequestHead; body: Buffer }): [RequestHead, Buffer] => [head, body]
