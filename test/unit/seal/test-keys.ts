import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseRsaPublicJwk, type RsaPublicJwk, rsaThumbprint } from '../../../src/seal/rsa-key.js'

export interface TestKey {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly publicJwk: RsaPublicJwk
}

/** The throw-away key of test/vectors/seal, from which docs/wire-format.md derives its vectors. */
export async function vectorKey(): Promise<TestKey> {
  const path = join(import.meta.dirname, '..', '..', 'vectors', 'seal', 'rsa-2048.jwk.json')
  return testKey(createPrivateKey({ key: JSON.parse(readFileSync(path, 'utf8')), format: 'jwk' }))
}

export async function testKey(privateKey: KeyObject): Promise<TestKey> {
  const publicKey = createPublicKey(privateKey)
  const publicJwk = parseRsaPublicJwk(publicKey.export({ format: 'jwk' }), 'test key')
  return { kid: await rsaThumbprint(publicJwk), privateKey, publicKey, publicJwk }
}
