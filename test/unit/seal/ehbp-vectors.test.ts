import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { decodeHex, utf8 } from '../../../src/base/encoding.js'
import { ehbpLabels, parseSealExtension } from '../../../src/seal/ehbp.js'
import { sealFor, type SealedEhbpRequest } from '../../../src/seal/ehbp-client.js'
import { type DerivedKeys, deriveKeys } from '../../../src/seal/node/derive-keys.js'
import { openSealed, recognizeSealed } from '../../../src/seal/node/ehbp.js'
import { sealedResponse } from '../../../src/seal/node/sealed-response.js'
import { verifyReceipt } from '../../../src/seal/receipt.js'
import { hpkeSender } from './hpke-sender.js'
import { codeOf, maximumFrameBytes } from './raw-ehbp.js'
import { vectorKey } from './test-keys.js'

interface RequestVector {
  readonly name: string
  readonly kind: 'request'
  readonly ephemeralSecret: string
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly result: string
  readonly plaintext?: string
  readonly sha256?: string
}

interface ResponseVector {
  readonly name: string
  readonly kind: 'response'
  readonly request: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly result: string
  readonly plaintext?: string
  readonly chunks?: readonly string[]
  readonly receipt?: string
}

const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', '..', 'vectors', 'seal', 'ehbp.json'), 'utf8')
) as {
  readonly hpkePublicKey: string
  readonly ed25519PublicKey: string
  readonly responseNonce: string
  readonly cases: readonly (RequestVector | ResponseVector)[]
}
const requests = vectors.cases.filter((vector) => vector.kind === 'request')
const responses = vectors.cases.filter((vector) => vector.kind === 'response')
const hex = (text: string): Uint8Array => decodeHex(text, 'vector')

let keys: DerivedKeys
beforeAll(async () => {
  keys = deriveKeys((await vectorKey()).privateKey)
})

/** The caller's half with the ephemeral key of the vector. */
async function sealAgain({ ephemeralSecret, method, path, headers, plaintext = '' }: RequestVector) {
  const seal = headers['confrouter-seal']
  const extension = seal === undefined ? undefined : parseSealExtension(seal)
  const sender = hpkeSender({
    recipient: hex(vectors.hpkePublicKey),
    ephemeralSecret: hex(ephemeralSecret),
    info: extension === undefined ? ehbpLabels.plain.info : ehbpLabels.extension.info
  })
  const sealed = await sealFor(sender, {
    recipient: hex(vectors.hpkePublicKey),
    method,
    path,
    headers,
    body: utf8.encode(plaintext),
    extension: extension && { timeMs: extension.timeMs, cover: extension.covered, pad: extension.pad }
  })
  return { sender, sealed, extension }
}

function requestNamed(name: string): RequestVector {
  const found = requests.find((vector) => vector.name === name)
  if (found === undefined) throw new Error(`there is no vector "${name}"`)
  return found
}

it('the vectors are for the keys that the RSA key of the vectors gives', () => {
  expect(Buffer.from(keys.hpke.publicKey).toString('hex')).toBe(vectors.hpkePublicKey)
  expect(Buffer.from(keys.ed25519.publicKey).toString('hex')).toBe(vectors.ed25519PublicKey)
})

describe('requests', () => {
  it.each(requests)('$name: the router says $result', async ({ method, path, headers, body, result, ...expected }) => {
    const act = () => {
      const head = { method, path, headers }
      const sealed = recognizeSealed(head)
      if (sealed === undefined) throw new Error('not sealed')
      const opened = openSealed(head, sealed, keys.hpke, { maximumFrameBytes })
      const text = Buffer.concat(opened.push(hex(body))).toString()
      opened.end()
      return { text, sha256: opened.sha256() }
    }
    expect(await codeOf(act)).toBe(result === 'ok' ? 'no error' : result)
    if (result === 'ok') expect(act()).toEqual({ text: expected.plaintext, sha256: expected.sha256 })
  })

  const good = requests.filter(({ result }) => result === 'ok')
  it.each(good)('$name: the caller seals the same bytes', async (vector) => {
    const { sealed } = await sealAgain(vector)
    expect(vector.headers).toMatchObject(sealed.headers)
    expect(Buffer.from(sealed.body as Uint8Array).toString('hex')).toBe(vector.body)
    expect(await sealed.sha256).toBe(vector.sha256)
  })
})

describe('answers', () => {
  async function open(sealed: SealedEhbpRequest, { status, headers, body }: ResponseVector) {
    const opened = sealed.openResponse({
      status,
      headers: new Headers(headers),
      body: new Blob([Uint8Array.from(hex(body))]).stream()
    })
    const text = await new Response(opened.body).text()
    const header = headers['confrouter-receipt']
    return { text, receipt: header === undefined ? await opened.receipt : await opened.openReceiptHeader(header) }
  }

  it.each(responses)('$name: the caller says $result', async (vector) => {
    const { sealed } = await sealAgain(requestNamed(vector.request))
    expect(await codeOf(() => open(sealed, vector))).toBe(vector.result === 'ok' ? 'no error' : vector.result)
    if (vector.result !== 'ok') return
    const { text, receipt } = await open(sealed, vector)
    expect({ text, receipt }).toEqual({ text: vector.plaintext, receipt: vector.receipt })
    const { request } = await verifyReceipt(receipt ?? '', keys.ed25519.publicKey)
    expect(request.sha256).toBe(requestNamed(vector.request).sha256)
  })

  const good = responses.filter(({ result }) => result === 'ok')
  it.each(good)('$name: the router seals the same bytes', async (vector) => {
    const { sender, extension } = await sealAgain(requestNamed(vector.request))
    const isExtended = extension !== undefined
    const label = isExtended ? ehbpLabels.extension.export : ehbpLabels.plain.export
    const context = [label, vector.status, vector.headers['content-type']].join('\n')
    const answer = sealedResponse(
      {
        exported: await sender.export(utf8.encode(label), 32),
        encapsulatedKey: sender.encapsulatedKey,
        nonce: hex(vectors.responseNonce)
      },
      extension && { contextHash: createHash('sha256').update(context).digest(), pad: extension.pad }
    )
    const frames = (vector.chunks ?? []).map((chunk) => answer.seal(utf8.encode(chunk)))
    frames.push(answer.end(vector.receipt ?? ''))
    expect(Buffer.concat(frames).toString('hex')).toBe(vector.body)
    expect(answer.nonce).toBe(vector.headers['ehbp-response-nonce'])
    if (!isExtended) expect(answer.sealReceipt(vector.receipt ?? '')).toBe(vector.headers['confrouter-receipt'])
  })
})

describe('the answer keys of the ehbp package', () => {
  interface KeyVector {
    readonly exported: string
    readonly encapsulatedKey: string
    readonly nonce: string
    readonly chunks: readonly string[]
    readonly body: string
  }
  const vector = JSON.parse(
    readFileSync(join(import.meta.dirname, '..', '..', 'vectors', 'seal', 'ehbp-answer-keys.json'), 'utf8')
  ) as KeyVector

  it('seal these frames', () => {
    const { exported, encapsulatedKey, nonce, chunks, body } = vector
    const answer = sealedResponse(
      { exported: hex(exported), encapsulatedKey: hex(encapsulatedKey), nonce: hex(nonce) },
      undefined
    )
    expect(Buffer.concat(chunks.map((chunk) => answer.seal(utf8.encode(chunk)))).toString('hex')).toBe(body)
  })
})
