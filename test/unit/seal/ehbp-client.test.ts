import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { type EhbpRequest, sealEhbp, sealFor, type SealedEhbpRequest } from '../../../src/seal/ehbp-client.js'
import { sealedResponse } from '../../../src/seal/node/sealed-response.js'
import { begin, codeOf, flipped, openWhole, padded, type RawFrame, rawResponse, routerKey, timeMs } from './raw-ehbp.js'
import { hpkeSender } from './hpke-sender.js'
import { Seeded } from './seeded.js'

const request: EhbpRequest = {
  recipient: routerKey.publicKey,
  method: 'POST',
  path: '/v1/chat/completions?x=1',
  headers: { 'Content-Type': ' application/json\t', Authorization: 'Bearer köy', 'X-Other': 'open' },
  body: Buffer.from('{"model":"m"}')
}
const extension = { timeMs, cover: ['content-type', 'Authorization', 'x-absent'] }
const received = { 'content-type': 'application/json', authorization: 'Bearer köy', 'x-other': 'open' }

function open(sealed: SealedEhbpRequest, body: Uint8Array, change: Readonly<Record<string, string>> = {}): string {
  const { method, path } = request
  return openWhole({ method, path, headers: { ...received, ...sealed.headers, ...change } }, body)
}

const bytesOf = (sealed: SealedEhbpRequest): Uint8Array => {
  if (!(sealed.body instanceof Uint8Array)) throw new Error('the body is a stream')
  return sealed.body
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function streamOf(...chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const left = [...chunks]
  return new ReadableStream({
    pull(controller) {
      const next = left.shift()
      if (next === undefined) controller.close()
      else controller.enqueue(next)
    }
  })
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe('sealEhbp', () => {
  it('seals what the router opens, in plain EHBP', async () => {
    const sealed = await sealEhbp(request)
    expect(Object.keys(sealed.headers)).toEqual(['ehbp-encapsulated-key'])
    expect(open(sealed, bytesOf(sealed))).toBe('{"model":"m"}')
    expect(await sealed.sha256).toBe(sha256(bytesOf(sealed)))
    expect(Buffer.from(bytesOf(sealed)).includes('model')).toBe(false)
  })

  it('seals what the router opens, with the extension', async () => {
    const sealed = await sealEhbp({ ...request, extension })
    expect(Object.keys(sealed.headers)).toEqual(['ehbp-encapsulated-key', 'confrouter-seal'])
    expect(sealed.headers['confrouter-seal']).toMatch(/;h=content-type\+authorization\+x-absent$/)
    expect(open(sealed, bytesOf(sealed))).toBe('{"model":"m"}')
    expect(open(sealed, bytesOf(sealed), { 'x-other': 'changed' })).toBe('{"model":"m"}')
    expect(await codeOf(() => open(sealed, bytesOf(sealed), { authorization: 'Bearer other' }))).toBe(
      'bad_sealed_request'
    )
    expect(await sealed.sha256).toBe(sha256(bytesOf(sealed)))
  })

  it('has bodies of few lengths when they are padded', async () => {
    const lengths = new Set<number>()
    for (const length of [0, 1, 100, 255]) {
      const sealed = await sealEhbp({
        ...request,
        body: Buffer.alloc(length, 'x'),
        extension: { ...extension, pad: true }
      })
      expect(open(sealed, bytesOf(sealed))).toBe('x'.repeat(length))
      if (length > 0) lengths.add(bytesOf(sealed).length)
    }
    expect(lengths.size).toBe(1)
  })

  it.each([
    ['plain EHBP', undefined],
    ['the extension', extension]
  ])('seals an empty body in %s, so that it is authentic', async (_, extension) => {
    for (const body of [undefined, new Uint8Array(), streamOf(), streamOf(new Uint8Array())]) {
      const sealed = await sealEhbp({ ...request, body, extension })
      const bytes = sealed.body instanceof Uint8Array ? sealed.body : await collect(sealed.body)
      expect(bytes).toHaveLength(extension === undefined ? 20 : 21)
      expect(open(sealed, bytes)).toBe('')
    }
  })

  it('seals a stream as it comes, and cuts large pieces', async () => {
    const random = new Seeded(8)
    const chunks = [random.bytes(10), random.bytes(0), Buffer.alloc(2_500_000, 'y'), random.bytes(3)]
    for (const seal of [undefined, extension, { ...extension, pad: true }]) {
      const sealed = await sealEhbp({ ...request, body: streamOf(...chunks), extension: seal })
      if (sealed.body instanceof Uint8Array) throw new Error('not a stream')
      const body = await collect(sealed.body)
      const head = { method: 'POST', path: request.path, headers: { ...received, ...sealed.headers } }
      const opened = begin(head, 2 * 1024 ** 2)
      const plaintexts = opened.push(body)
      opened.end()
      expect(plaintexts).toHaveLength(5)
      expect(Buffer.concat(plaintexts).equals(Buffer.concat(chunks))).toBe(true)
      expect(await sealed.sha256).toBe(sha256(body))
    }
  })

  it.each([
    ['a method in small letters', { method: 'post' }],
    ['a method with a line end', { method: 'POST\n' }],
    ['a path without its slash', { path: 'v1' }],
    ['a whole address', { path: 'https://router.example/v1' }],
    ['a path with a fragment', { path: '/v1#x' }],
    ['a path with white space', { path: '/v1 x' }],
    ['a path with a line end', { path: '/v1\n' }],
    ['a path with letters that a request line has not', { path: '/ä' }],
    ['a header twice', { headers: { a: '1', A: '2' } }],
    ['a value with a line end', { headers: { a: '1\nb: 2' } }],
    ['a value with a zero', { headers: { a: '1\0' } }],
    ['a value outside of Latin-1', { headers: { a: '✓' } }],
    ['a name that is none', { extension: { ...extension, cover: ['a b'] } }],
    ['a name twice', { extension: { ...extension, cover: ['a', 'A'] } }],
    ['a time that is none', { extension: { ...extension, timeMs: Number.NaN } }]
  ])('refuses %s', async (_, bad) => {
    expect(await codeOf(() => sealEhbp({ ...request, extension, ...bad }))).toBe('invalid_request')
  })

  it.each([0, 31, 33])('refuses a key of %d bytes', async (length) => {
    expect(await codeOf(() => sealEhbp({ ...request, recipient: new Uint8Array(length) }))).toBe('invalid_key')
  })

  it('says where WebCrypto has no X25519, which is no fault of the key', async () => {
    Object.assign(crypto.subtle, {
      importKey: (): never => {
        throw new DOMException('Unrecognized name.', 'NotSupportedError')
      }
    })
    try {
      expect(await codeOf(() => sealEhbp(request))).toBe('unsupported')
    } finally {
      // What was assigned hides the method of the prototype.
      Reflect.deleteProperty(crypto.subtle, 'importKey')
    }
    expect(await codeOf(() => sealEhbp(request))).toBe('no error')
  })

  it('refuses a key that gives no secret', async () => {
    expect(await codeOf(() => sealEhbp({ ...request, recipient: new Uint8Array(32) }))).toBe('invalid_key')
  })
})

describe('a sealed stream', () => {
  it('asks its source only when it is read, and for no more than is read', async () => {
    let pulled = 0
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled++
          controller.enqueue(new Uint8Array(100))
        }
      },
      { highWaterMark: 0 }
    )
    const sealed = await sealEhbp({ ...request, body, extension })
    if (sealed.body instanceof Uint8Array) throw new Error('not a stream')
    await turn()
    expect(pulled).toBe(0)
    const reader = sealed.body.getReader()
    for (let read = 1; read <= 3; read++) {
      await reader.read()
      await turn()
      expect(pulled).toBe(read)
    }
    await reader.cancel('enough')
  })

  it('cancels its source', async () => {
    const cancelled: unknown[] = []
    const body = new ReadableStream<Uint8Array>({ cancel: (reason) => void cancelled.push(reason) })
    const sealed = await sealEhbp({ ...request, body, extension })
    if (sealed.body instanceof Uint8Array) throw new Error('not a stream')
    const reason = new Error('gone')
    await sealed.body.cancel(reason)
    expect(cancelled).toEqual([reason])
    await expect(sealed.sha256).rejects.toBe(reason)
  })

  it('fails as its source does, and not for bytes alone', async () => {
    const failure = new Error('the file is gone')
    const failing = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(failure)
    })
    const sealed = await sealEhbp({ ...request, body: failing, extension })
    await expect(collect(sealed.body as ReadableStream<Uint8Array>)).rejects.toBe(failure)
    await expect(sealed.sha256).rejects.toBe(failure)
    const texts = await sealEhbp({
      ...request,
      body: new Blob(['x']).stream().pipeThrough(new TextDecoderStream()) as never
    })
    await expect(collect(texts.body as ReadableStream<Uint8Array>)).rejects.toThrow(TypeError)
  })
})

describe('openResponse', () => {
  const nonce = new Uint8Array(32).fill(0x44)
  const hex = Buffer.from(nonce).toString('hex')

  /** A request and the answer to it as the document describes it. */
  async function answered(frames: readonly RawFrame[], isExtended = true, contentType = 'text/event-stream') {
    const info = isExtended ? 'confrouter seal v1' : 'ehbp request'
    const sender = hpkeSender({ recipient: routerKey.publicKey, ephemeralSecret: new Uint8Array(32).fill(0x33), info })
    const sealed = await sealFor(sender, { ...request, extension: isExtended ? extension : undefined })
    const binding = isExtended ? { status: 200, contentType } : undefined
    const raw = await rawResponse(sender, nonce, frames, binding)
    const openBody = (
      body: ReadableStream<Uint8Array> | Uint8Array | null,
      { status = 200, type = contentType, nonceHex = hex }: { status?: number; type?: string; nonceHex?: string } = {}
    ) => {
      const headers = new Headers()
      if (nonceHex !== '') headers.set('Ehbp-Response-Nonce', nonceHex)
      if (type !== '') headers.set('Content-Type', type)
      return sealed.openResponse({ status, headers, body: body instanceof Uint8Array ? streamOf(body) : body })
    }
    const read = async (...given: Parameters<typeof openBody>) => {
      const { body, receipt } = openBody(...given)
      return { text: (await collect(body)).toString(), receipt: await receipt }
    }
    return { sealed, raw, openBody, read }
  }

  const frames = [{ text: 'data: 1\n\n' }, { text: 'data: 2\n\n' }, { kind: 1, text: 'a.b.c' }]

  it('opens the frames and gives the receipt', async () => {
    const { raw, read } = await answered(frames)
    expect(await read(raw.body)).toEqual({ text: 'data: 1\n\ndata: 2\n\n', receipt: 'a.b.c' })
  })

  it('opens padded frames, empty ones, no data and no receipt', async () => {
    for (const [given, text, receipt] of [
      [
        [
          { kind: 2, text: padded('x', 256) },
          { kind: 3, text: padded('a.b.c', 256) }
        ],
        'x',
        'a.b.c'
      ],
      [[{ text: '' }, { kind: 2, text: padded('', 256) }, { kind: 3, text: padded('', 256) }], '', undefined],
      [[{ kind: 1, text: '' }], '', undefined]
    ] as const) {
      const { raw, read } = await answered(given)
      expect(await read(raw.body)).toEqual({ text, receipt })
    }
  })

  it('opens an answer of plain EHBP, which has its receipt elsewhere', async () => {
    const { raw, read } = await answered([{ text: 'one' }, { text: '' }, { text: ' two' }], false)
    const zero = Buffer.alloc(4)
    const [first, second, third] = raw.frames as [Buffer, Buffer, Buffer]
    expect(await read(Buffer.concat([zero, first, zero, second, third, zero]))).toEqual({
      text: 'one two',
      receipt: undefined
    })
    expect(await read(new Uint8Array())).toEqual({ text: '', receipt: undefined })
    expect(await read(null)).toEqual({ text: '', receipt: undefined })
    // Nothing in plain EHBP says that this was not all.
    expect(await read(first)).toEqual({ text: 'one', receipt: undefined })
  })

  it('opens the same however the bytes come', async () => {
    const { raw, read } = await answered(frames)
    const random = new Seeded(11)
    for (let round = 0; round < 30; round++) {
      const chunks: Uint8Array[] = []
      for (let offset = 0; offset < raw.body.length;) {
        const next = offset + random.below(round === 0 ? 2 : 60)
        chunks.push(Uint8Array.from(raw.body.subarray(offset, next)))
        offset = next
      }
      expect(await read(streamOf(...chunks))).toEqual({ text: 'data: 1\n\ndata: 2\n\n', receipt: 'a.b.c' })
    }
  })

  it('notices every bit that was altered', async () => {
    const { raw, read } = await answered(frames)
    for (let bit = 0; bit < raw.body.length * 8; bit++) {
      const code = await codeOf(() => read(flipped(raw.body, bit)))
      // With a longer length the body ends within the frame.
      const isLength = [0, raw.frames[0]!.length, raw.frames[0]!.length + raw.frames[1]!.length].some(
        (start) => bit >> 3 >= start && bit >> 3 < start + 4
      )
      expect([bit, code]).toEqual([
        bit,
        isLength ? expect.stringMatching(/^(bad_sealed|truncated)_answer$/) : 'bad_sealed_answer'
      ])
    }
  })

  it('notices another status, content type or nonce', async () => {
    const { raw, read } = await answered(frames)
    expect(await codeOf(() => read(raw.body, { status: 201 }))).toBe('bad_sealed_answer')
    for (const type of ['', 'text/event-stream; charset=utf-8', 'text/html', 'TEXT/event-stream']) {
      expect(await codeOf(() => read(raw.body, { type }))).toBe('bad_sealed_answer')
    }
    for (let bit = 0; bit < 256; bit++) {
      const nonceHex = flipped(nonce, bit).toString('hex')
      expect(await codeOf(() => read(raw.body, { nonceHex }))).toBe('bad_sealed_answer')
    }
    for (const nonceHex of [hex.toUpperCase().replaceAll('4', 'A'), hex.slice(2), `${hex}44`, `${hex}, ${hex}`, 'x']) {
      expect(await codeOf(() => read(raw.body, { nonceHex }))).toBe('bad_sealed_answer')
    }
    const untyped = await answered(frames, true, '')
    expect(await codeOf(() => untyped.read(untyped.raw.body))).toBe('no error')
    expect(await codeOf(() => untyped.read(untyped.raw.body, { type: 'text/html' }))).toBe('bad_sealed_answer')
  })

  it('says of an answer without a nonce that it is in the open', async () => {
    for (const isExtended of [true, false]) {
      const { read, openBody } = await answered(frames, isExtended)
      expect(await codeOf(() => read(Buffer.from('{"error":{}}'), { nonceHex: '', status: 502 }))).toBe(
        'unsealed_answer'
      )
      expect(await codeOf(() => read(null, { nonceHex: '' }))).toBe('unsealed_answer')
      const { receipt, body, openReceiptHeader } = openBody(null, { nonceHex: '' })
      expect(await codeOf(() => openReceiptHeader('AAAA'))).toBe('unsealed_answer')
      await body.cancel()
      await expect(receipt).rejects.toThrow('cancelled')
    }
  })

  it('notices where it was cut, and gives what came before', async () => {
    const { raw, read, openBody } = await answered(frames)
    for (let length = 0; length < raw.body.length; length++) {
      expect([length, await codeOf(() => read(raw.body.subarray(0, length)))]).toEqual([length, 'truncated_answer'])
    }
    expect(await codeOf(() => read(null))).toBe('truncated_answer')
    const cut = openBody(raw.body.subarray(0, -1))
    const reader = cut.body.getReader()
    expect(String(Buffer.from((await reader.read()).value!))).toBe('data: 1\n\n')
    expect(String(Buffer.from((await reader.read()).value!))).toBe('data: 2\n\n')
    expect(await codeOf(() => reader.read())).toBe('truncated_answer')
    expect(await codeOf(() => cut.receipt)).toBe('truncated_answer')
  })

  it('notices in plain EHBP that it was cut within a frame', async () => {
    const { raw, read } = await answered([{ text: 'one' }, { text: 'two' }], false)
    const [first] = raw.frames as [Buffer]
    for (let length = 0; length <= raw.body.length; length++) {
      const isBoundary = [0, first.length, raw.body.length].includes(length)
      expect([length, await codeOf(() => read(raw.body.subarray(0, length)))]).toEqual([
        length,
        isBoundary ? 'no error' : 'truncated_answer'
      ])
    }
  })

  it('notices frames that are missing, repeated, in another order, or behind the end', async () => {
    const { raw, read } = await answered(frames)
    const [first, second, last] = raw.frames as [Buffer, Buffer, Buffer]
    for (const order of [
      [second, first, last],
      [first, first, second, last],
      [first, last],
      [last],
      [first, Buffer.alloc(4), second, last],
      [first, second, last, Buffer.of(0)],
      [first, second, last, Buffer.alloc(4)],
      [first, second, last, last]
    ]) {
      expect(await codeOf(() => read(Buffer.concat(order)))).toBe('bad_sealed_answer')
    }
  })

  it.each([
    [
      'a kind of the future',
      [
        { kind: 4, text: 'x' },
        { kind: 1, text: '' }
      ]
    ],
    [
      'padding without a mark',
      [
        { kind: 2, text: Buffer.alloc(256) },
        { kind: 1, text: '' }
      ]
    ],
    [
      'padding to a larger bucket',
      [
        { kind: 2, text: padded('x', 512) },
        { kind: 1, text: '' }
      ]
    ],
    ['a receipt that is no text', [{ kind: 1, text: Buffer.of(0xff) }]],
    ['data behind the end', [{ kind: 1, text: '' }, { text: 'x' }]]
  ])('refuses %s', async (_, given) => {
    const { raw, read } = await answered(given)
    expect(await codeOf(() => read(raw.body))).toBe('bad_sealed_answer')
  })

  it.each(['00000000', '00000010', '04000001', 'ffffffff'])(
    'refuses a frame length of 0x%s at once',
    async (length) => {
      const { read } = await answered(frames)
      // The stream never ends, so waiting for the frame would not end either.
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(Buffer.from(length, 'hex'))
      })
      expect(await codeOf(() => read(body))).toBe('bad_sealed_answer')
    }
  )

  it('fails as the connection does', async () => {
    const { raw, read } = await answered(frames)
    const failure = new TypeError('terminated')
    const chunks = [raw.body.subarray(0, 30)]
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const next = chunks.shift()
        if (next === undefined) controller.error(failure)
        else controller.enqueue(next)
      }
    })
    await expect(read(body)).rejects.toBe(failure)
  })

  it('reads on only when it is read, and cancels the connection', async () => {
    const { raw, openBody } = await answered(frames)
    let pulled = 0
    const cancelled: unknown[] = []
    const body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => controller.enqueue(raw.frames[pulled++ % 3]!),
        cancel: (reason) => void cancelled.push(reason)
      },
      { highWaterMark: 0 }
    )
    const opened = openBody(body)
    await turn()
    expect(pulled).toBe(0)
    const reader = opened.body.getReader()
    await reader.read()
    await turn()
    expect(pulled).toBe(1)
    await reader.cancel('enough')
    expect(cancelled).toEqual(['enough'])
    await expect(opened.receipt).rejects.toBe('enough')
  })

  it('lets go of the connection when something is wrong', async () => {
    const { raw, openBody } = await answered(frames)
    let cancelled = 0
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(flipped(raw.body, 100)),
      cancel: () => void cancelled++
    })
    expect(await codeOf(() => collect(openBody(body).body))).toBe('bad_sealed_answer')
    expect(cancelled).toBe(1)
  })

  it('opens the receipt of plain EHBP from its header, and no other', async () => {
    const { sealed, openBody } = await answered([{ text: 'x' }], false)
    const sender = hpkeSender({
      recipient: routerKey.publicKey,
      ephemeralSecret: new Uint8Array(32).fill(0x33),
      info: 'ehbp request'
    })
    const exported = await sender.export(Buffer.from('ehbp response'), 32)
    const { encapsulatedKey } = sender
    const header = sealedResponse({ exported, encapsulatedKey, nonce }, undefined).sealReceipt('a.b.c')
    const { openReceiptHeader } = openBody(null)
    expect(await openReceiptHeader(header)).toBe('a.b.c')
    const bytes = Buffer.from(header, 'base64url')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      expect(await codeOf(() => openReceiptHeader(flipped(bytes, bit).toString('base64url')))).toBe('bad_sealed_answer')
    }
    for (const other of ['', 'AAAA', `${header}=`, ` ${header}`, header.slice(1), 'A'.repeat(40_000)]) {
      expect(await codeOf(() => openReceiptHeader(other))).toBe('bad_sealed_answer')
    }
    expect(sealed.headers['confrouter-seal']).toBeUndefined()
    const extended = await answered(frames)
    expect(await codeOf(() => extended.openBody(null).openReceiptHeader(header))).toBe('bad_sealed_answer')
  })
})

/** Long enough for every reader that is going to read to have read. */
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))
