import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { computeNonce, decryptChunk, deriveResponseKeys } from 'ehbp'
import { sealedResponse } from '../../../../src/seal/node/sealed-response.js'
import { begin, padded, rawExtension, rawPlain, rawResponse } from '../raw-ehbp.js'

const count = (from: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, index) => from + index)
const secrets = { exported: count(0x00), encapsulatedKey: count(0x20), nonce: count(0x40) }
const text = (value: string): Uint8Array => Buffer.from(value)

describe('an answer in plain EHBP', () => {
  it('has the keys that the ehbp package derives, and the nonces', async () => {
    const keys = await deriveResponseKeys(secrets.exported, secrets.encapsulatedKey, secrets.nonce)
    expect(Buffer.from(keys.nonceBase).toString('hex')).toBe('f8b0ce9466f27aa6243c65f9')
    const answer = sealedResponse(secrets, undefined)
    expect(answer.nonce).toBe(Buffer.from(secrets.nonce).toString('hex'))
    for (let index = 0; index < 300; index++) {
      const frame = answer.seal(text(`chunk ${index}`))
      expect(frame.readUInt32BE(0)).toBe(frame.length - 4)
      expect(Buffer.from(await decryptChunk(keys, index, frame.subarray(4))).toString()).toBe(`chunk ${index}`)
    }
    expect(computeNonce(keys.nonceBase, 1)).not.toEqual(keys.nonceBase)
    expect(answer.end('receipt')).toHaveLength(0)
  })

  it('has no frame for an empty chunk', () => {
    const answer = sealedResponse(secrets, undefined)
    expect(answer.seal(new Uint8Array())).toHaveLength(0)
    expect(answer.seal(text('x')).equals(sealedResponse(secrets, undefined).seal(text('x')))).toBe(true)
  })

  it('seals one receipt, so that its key and nonce serve once', () => {
    const answer = sealedResponse(secrets, undefined)
    expect(answer.sealReceipt('a.b.c')).toMatch(/^[\w-]{28}$/)
    expect(() => answer.sealReceipt('a.b.d')).toThrow('receipt')
  })

  it('has nothing after its end', () => {
    const answer = sealedResponse(secrets, undefined)
    answer.end('')
    expect(() => answer.seal(text('x'))).toThrow('ended')
    expect(() => answer.end('')).toThrow('ended')
  })
})

describe('an answer of the extension', () => {
  const contextHash = createHash('sha256').update('context').digest()

  it('is what the document describes', async () => {
    const { head, body, sender } = await rawExtension()
    const opened = begin(head)
    opened.push(body)
    const answer = opened.startResponse(200, 'text/event-stream')
    const frames = [answer.seal(text('data: 1\n\n')), answer.seal(text('data: 2\n\n')), answer.end('a.b.c')]
    const expected = await rawResponse(
      sender,
      Buffer.from(answer.nonce, 'hex'),
      [{ text: 'data: 1\n\n' }, { text: 'data: 2\n\n' }, { kind: 1, text: 'a.b.c' }],
      { status: 200, contentType: 'text/event-stream' }
    )
    expect(Buffer.concat(frames).equals(expected.body)).toBe(true)
    expect(() => answer.sealReceipt('a.b.c')).toThrow('elsewhere')
  })

  it('is padded if the request asks for it, the end frame too', async () => {
    const { head, body, sender } = await rawExtension({
      seal: `${String((await rawExtension()).head.headers['confrouter-seal'])};pad=1`
    })
    const opened = begin(head)
    opened.push(body)
    const answer = opened.startResponse(500, '')
    const frames = [answer.seal(text('x')), answer.end('')]
    const expected = await rawResponse(
      sender,
      Buffer.from(answer.nonce, 'hex'),
      [
        { kind: 2, text: padded('x', 256) },
        { kind: 3, text: padded('', 256) }
      ],
      { status: 500, contentType: '' }
    )
    expect(Buffer.concat(frames).equals(expected.body)).toBe(true)
  })

  it('has a nonce of its own for every request', async () => {
    const { head, body } = await rawPlain()
    const nonces = new Set<string>()
    for (let round = 0; round < 50; round++) {
      const opened = begin(head)
      opened.push(body)
      nonces.add(opened.startResponse(200, '').nonce)
    }
    expect(nonces.size).toBe(50)
  })

  it('cuts a plaintext that no caller would take as one frame', () => {
    const answer = sealedResponse(secrets, { contextHash, pad: false })
    const plaintext = Buffer.alloc(40 * 1024 ** 2)
    const sealed = answer.seal(plaintext)
    const lengths: number[] = []
    for (let offset = 0; offset < sealed.length; offset += 4 + sealed.readUInt32BE(offset)) {
      lengths.push(sealed.readUInt32BE(offset) - 17)
    }
    const longest = 16 * 1024 ** 2 - 1
    expect(lengths).toEqual([longest, longest, plaintext.length - 2 * longest])
  })
})
