import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { parseEcPublicJwk } from '../../../src/seal/ec-key.js'
import type { RsaPublicJwk } from '../../../src/seal/rsa-key.js'
import { sealSecrets } from '../../../src/seal/secrets.js'
import { type BundleSigner, signSecrets } from '../../../src/seal/signed-secrets.js'

/** A signer whose key is made from a name: a private key that is the SHA-256 of it. */
export function testSigner(name = 'confrouter test signer'): BundleSigner & { readonly privateKey: KeyObject } {
  const scalar = createHash('sha256').update(name).digest('hex')
  // RFC 5915 without the public key, in PKCS#8.
  const der = `3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420${scalar}`
  const privateKey = createPrivateKey({ key: Buffer.from(der, 'hex'), format: 'der', type: 'pkcs8' })
  return {
    privateKey,
    publicKey: parseEcPublicJwk(createPublicKey(privateKey).export({ format: 'jwk' }), 'test signer'),
    sign: async (data) => sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  }
}

/** What a router needs to be told to take the bundles of `signedSecrets`. */
export const expectedOfTests = {
  signer: 'xmsndafpGev_p83SrnPK-2yE650XIkMd7Ty8tnX0cCc',
  deployment: 'router-test'
} as const

/** A bundle as the operator makes it: each value sealed by itself, all of them signed. */
export async function signedSecrets({
  values,
  version,
  recipient,
  deployment = expectedOfTests.deployment,
  signer = testSigner()
}: {
  readonly values: Readonly<Record<string, string>>
  readonly version: number
  readonly recipient: RsaPublicJwk
  readonly deployment?: string
  readonly signer?: BundleSigner
}): Promise<string> {
  const secrets = await Promise.all(
    Object.entries(values).map(async ([name, value]) => ({
      name,
      version,
      jwe: await sealSecrets({ values: { [name]: value }, version, recipient })
    }))
  )
  return signSecrets({ deployment, version, secrets }, signer)
}
