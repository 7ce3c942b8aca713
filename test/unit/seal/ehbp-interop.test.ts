import { describe, expect, it } from '@jest/globals'
import { Identity, PROTOCOL } from 'ehbp'
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import { ehbpLabels, encodeKeyConfiguration, parseKeyConfiguration, sealHeaders } from '../../../src/seal/ehbp.js'
import { sealEhbp } from '../../../src/seal/ehbp-client.js'
import { begin, routerKey } from './raw-ehbp.js'
import { Seeded } from './seeded.js'

const url = 'https://router.example/v1/chat/completions'

/** The caller's half of the `ehbp` package, as `Transport.request` uses it. */
async function sealWithPackage(body: Uint8Array | string) {
  const identity = await Identity.unmarshalPublicConfig(encodeKeyConfiguration(routerKey.publicKey))
  const headers = { 'content-type': 'application/json' }
  const sealed = await identity.encryptRequestWithContext(
    new Request(url, { method: 'POST', headers, body: body as BodyInit })
  )
  const { request, context } = sealed
  if (context === null) throw new Error('the package has not sealed the request')
  return {
    head: { method: 'POST', path: '/v1/chat/completions', headers: Object.fromEntries(request.headers) },
    body: new Uint8Array(await request.arrayBuffer()),
    open: (response: Response) => identity.decryptResponseWithContext(response, context)
  }
}

describe('the ehbp package', () => {
  it('means the same headers and labels', () => {
    expect(sealHeaders.encapsulatedKey).toBe(PROTOCOL.ENCAPSULATED_KEY_HEADER.toLowerCase())
    expect(sealHeaders.responseNonce).toBe(PROTOCOL.RESPONSE_NONCE_HEADER.toLowerCase())
  })

  it('takes our key configuration, and we take its', async () => {
    const identity = await Identity.unmarshalPublicConfig(encodeKeyConfiguration(routerKey.publicKey))
    expect(await identity.getPublicKeyHex()).toBe(Buffer.from(routerKey.publicKey).toString('hex'))
    expect(Buffer.from(parseKeyConfiguration(await identity.marshalConfig()))).toEqual(Buffer.from(routerKey.publicKey))
  })

  it('seals requests that the router opens, and opens its answers, 40 cases', async () => {
    const random = new Seeded(21)
    for (let round = 0; round < 40; round++) {
      const text = random.bytes(1 + random.below(5000))
      const { head, body, open } = await sealWithPackage(text)
      const opened = begin(head)
      expect(Buffer.concat(opened.push(body)).equals(text)).toBe(true)
      opened.end()
      const answer = opened.startResponse(200, 'application/json')
      const chunks = Array.from({ length: 1 + random.below(5) }, () => random.bytes(random.below(1000)))
      const sealed = Buffer.concat([...chunks.map((chunk) => answer.seal(chunk)), answer.end('receipt')])
      const response = await open(
        new Response(Uint8Array.from(sealed), { headers: { 'Ehbp-Response-Nonce': answer.nonce } })
      )
      expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true)
    }
  })

  it('sends a large body as one frame', async () => {
    const text = Buffer.alloc(3_000_000, 'z')
    const { head, body } = await sealWithPackage(text)
    const opened = begin(head)
    const plaintexts: Uint8Array[] = []
    for (let offset = 0; offset < body.length; offset += 60_000) {
      plaintexts.push(...opened.push(body.subarray(offset, offset + 60_000)))
    }
    opened.end()
    expect(plaintexts).toHaveLength(1)
    expect(text.equals(plaintexts[0]!)).toBe(true)
  })

  it('refuses an answer that was altered', async () => {
    const { head, body, open } = await sealWithPackage('{}')
    const opened = begin(head)
    opened.push(body)
    const answer = opened.startResponse(200, '')
    const sealed = answer.seal(Buffer.from('hello'))
    sealed[8]! ^= 1
    const response = await open(
      new Response(Uint8Array.from(sealed), { headers: { 'Ehbp-Response-Nonce': answer.nonce } })
    )
    await expect(response.text()).rejects.toThrow()
  })
})

describe('a server of EHBP that is not ours', () => {
  const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)

  it('opens what our client seals, 20 cases', async () => {
    const random = new Seeded(22)
    const pair = await suite.GenerateKeyPair(true)
    const recipient = await suite.SerializePublicKey(pair.publicKey)
    for (let round = 0; round < 20; round++) {
      const text = random.bytes(random.below(3000))
      const half = random.below(text.length + 1)
      const stream = new Blob([text.subarray(0, half), text.subarray(half)]).stream()
      const sealed = await sealEhbp({
        recipient,
        method: 'POST',
        path: '/v1',
        headers: {},
        body: round % 2 === 0 ? text : stream
      })
      const encapsulated = Buffer.from(sealed.headers['ehbp-encapsulated-key'] ?? '', 'hex')
      const info = Buffer.from(ehbpLabels.plain.info)
      const context = await suite.SetupRecipient(pair.privateKey, Uint8Array.from(encapsulated), { info })
      const body = Buffer.from(await new Response(sealed.body).arrayBuffer())
      const plaintexts: Uint8Array[] = []
      for (let offset = 0; offset < body.length;) {
        const end = offset + 4 + body.readUInt32BE(offset)
        plaintexts.push(await context.Open(Uint8Array.from(body.subarray(offset + 4, end))))
        offset = end
      }
      expect(Buffer.concat(plaintexts).equals(text)).toBe(true)
    }
  })
})
