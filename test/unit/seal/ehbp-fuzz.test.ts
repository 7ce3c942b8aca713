import { createCipheriv, createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { parseSealExtension } from '../../../src/seal/ehbp.js'
import { openFrames } from '../../../src/seal/opened-body.js'
import { FrameOpener } from '../../../src/seal/node/frame-opener.js'
import { HpkeReceiver } from '../../../src/seal/node/hpke.js'
import { deriveResponseKeys } from '../../../src/seal/response-keys.js'
import { codeOf, framed, padded, rawResponse } from './raw-ehbp.js'
import { Seeded } from './seeded.js'

/** 100,000 cases in all. Whatever comes, the outcome is a result or the error that has a name. */
const cases = { frames: 55_000, extensions: 40_000, answers: 5_000 }

const key = new Uint8Array(32).fill(1)
const baseNonce = new Uint8Array(12).fill(2)
const contextHash = createHash('sha256').update('context').digest()
const receiver = () => new HpkeReceiver('aes-256-gcm', key, baseNonce, new Uint8Array(32), new Uint8Array())

/** Frames of a request that the receiver above opens; `hash` makes them those of the extension. */
function requestBody(contents: readonly { kind: number; text: Uint8Array }[], hash: Uint8Array | undefined): Buffer {
  const frames = contents.map(({ kind, text }, index) => {
    const nonce = Uint8Array.from(baseNonce)
    nonce[11]! ^= index
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    const head = hash === undefined ? Buffer.alloc(0) : Buffer.of(kind)
    if (hash !== undefined) cipher.setAAD(Buffer.concat([head, hash]))
    return framed(Buffer.concat([head, cipher.update(text), cipher.final(), cipher.getAuthTag()]))
  })
  return Buffer.concat(frames)
}

/** Breaks bytes the ways a network or an attacker does; sometimes it leaves them as they are. */
function mutate(bytes: Uint8Array, random: Seeded): Buffer {
  const altered = Buffer.from(bytes)
  const at = random.below(altered.length)
  const other = random.below(altered.length)
  switch (random.below(9)) {
    case 0:
      altered[at]! ^= 1 << random.below(8)
      return altered
    case 1:
      return altered.subarray(0, at)
    case 2:
      return altered.subarray(at)
    case 3:
      return Buffer.concat([altered, random.bytes(1 + random.below(30))])
    case 4:
      return Buffer.concat([altered.subarray(0, at), random.bytes(random.below(10)), altered.subarray(at)])
    case 5:
      return Buffer.concat([altered.subarray(0, Math.min(at, other)), altered.subarray(Math.max(at, other))])
    case 6:
      altered.writeUInt32BE(random.pick([0, 1, 15, 16, 17, 255, 65_536, 0x7fffffff, 0xffffffff]), 0)
      return altered
    case 7:
      return Buffer.from(random.bytes(random.below(60)))
    default:
      return altered
  }
}

const pieces = function* (bytes: Uint8Array, random: Seeded): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.length;) {
    const next = offset + 1 + random.below(bytes.length)
    yield bytes.subarray(offset, next)
    offset = next
  }
}

describe('whatever comes', () => {
  const start = process.cpuUsage().user
  const { arrayBuffers } = process.memoryUsage()

  it(`frames of a request: ${cases.frames} cases`, () => {
    const random = new Seeded(101)
    const contents = [
      { kind: 0, text: Buffer.from('first') },
      { kind: 2, text: padded('second', 256) },
      { kind: 1, text: Buffer.alloc(0) }
    ]
    const bodies = [requestBody(contents, undefined), requestBody(contents, contextHash)]
    const outcomes: Record<string, number> = {}
    for (let round = 0; round < cases.frames; round++) {
      const hash = random.pick([undefined, contextHash])
      const opener = new FrameOpener(receiver(), hash, 1_000_000)
      let plaintext = ''
      let outcome = 'whole'
      try {
        for (const piece of pieces(mutate(random.pick(bodies), random), random)) {
          for (const part of opener.push(piece)) plaintext += Buffer.from(part).toString('latin1')
        }
        opener.end()
      } catch (error) {
        const { name, code } = error as { name: string; code: string }
        outcome = name === 'SealError' ? code : `another error: ${String(error)}`
      }
      // Whatever was given away is a beginning of what was sealed, or all of it.
      const whole = hash === undefined ? contents.map(({ text }) => text.toString('latin1')).join('') : 'firstsecond'
      if (!whole.startsWith(plaintext)) outcome = 'not what was sealed'
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
    expect(Object.keys(outcomes).sort()).toEqual(['bad_sealed_request', 'stale_key', 'whole'])
    expect(outcomes.whole).toBeGreaterThan(1000)
  })

  it(`extension headers: ${cases.extensions} cases`, () => {
    const random = new Seeded(102)
    const good = Buffer.from('v=1;kid=AAECAwQFBgcICQoL;t=1790000000000;h=content-type+authorization+accept;pad=1')
    const outcomes: Record<string, number> = {}
    for (let round = 0; round < cases.extensions; round++) {
      const text = mutate(good, random).toString('latin1')
      let outcome = 'read'
      try {
        const { kid, timeMs, covered, pad } = parseSealExtension(text)
        const time = String(timeMs).padStart(13, '0')
        const again = `v=1;kid=${kid};t=${time};h=${covered.join('+')}${pad ? ';pad=1' : ''}`
        if (again !== text) outcome = 'read as something else'
      } catch (error) {
        const { name, code } = error as { name: string; code: string }
        outcome = name === 'SealError' ? code : `another error: ${String(error)}`
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
    expect(Object.keys(outcomes).sort()).toEqual(['bad_sealed_request', 'read'])
    expect(outcomes.read).toBeGreaterThan(1000)
  })

  it(`frames of an answer: ${cases.answers} cases`, async () => {
    const random = new Seeded(103)
    const exported = new Uint8Array(32).fill(3)
    const sender = { encapsulatedKey: new Uint8Array(32).fill(4), seal: noSeal, export: async () => exported }
    const nonce = new Uint8Array(32).fill(5)
    const keys = await deriveResponseKeys({ exported, encapsulatedKey: sender.encapsulatedKey, nonce })
    const contents = [
      { kind: 0, text: 'first' },
      { kind: 2, text: padded('second', 256) },
      { kind: 1, text: 'a.b.c' }
    ]
    const binding = { status: 200, contentType: 'text/plain' }
    const context = ['confrouter seal v1 response', '200', 'text/plain'].join('\n')
    const hash = createHash('sha256').update(context).digest()
    const bodies = [
      (await rawResponse(sender, nonce, contents)).body,
      (await rawResponse(sender, nonce, contents, binding)).body
    ]
    const outcomes: Record<string, number> = {}
    for (let round = 0; round < cases.answers; round++) {
      const queue = [...pieces(mutate(random.pick(bodies), random), random)]
      const reader = {
        read: async () => {
          const value = queue.shift()
          return value === undefined ? { done: true as const, value } : { done: false as const, value }
        }
      }
      let plaintext = ''
      const read = async () => {
        const frames = openFrames(
          reader as ReadableStreamDefaultReader<Uint8Array>,
          keys,
          random.pick([undefined, hash])
        )
        for await (const part of frames) plaintext += Buffer.from(part).toString('latin1')
      }
      const outcome = await codeOf(read)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      if (!/^(first(second.*)?)?$/s.test(plaintext)) outcomes['not what was sealed'] = 1
    }
    expect(Object.keys(outcomes).sort()).toEqual(['bad_sealed_answer', 'no error', 'truncated_answer'])
    expect(outcomes['no error']).toBeGreaterThan(200)
  })

  it('takes seconds, and no memory', () => {
    expect((process.cpuUsage().user - start) / 1e6).toBeLessThan(10)
    expect((process.memoryUsage().arrayBuffers - arrayBuffers) / 1e6).toBeLessThan(200)
  })
})

const noSeal = (): Promise<Uint8Array> => {
  throw new Error('nothing is sealed here')
}
