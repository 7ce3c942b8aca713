import { createHash, createPrivateKey, type KeyObject } from 'node:crypto'
import { CompactSign } from 'jose'
import { encodeBase64, utf8 } from '../../../base/encoding.js'
import { endEntityExtensions, issueCertificate } from '../../hardware/certificate.js'
import { makeRsaKeyPair } from '../../hardware/key-pair.js'
import type { Store } from '../../store.js'

/** The RSA key with which one provider signs its tokens. */
export interface TokenSigner {
  /** As in `GET /certs`: `x5c`, `kid` and `kty`, and no `n` or `e`. */
  readonly jwk: { readonly x5c: readonly string[]; readonly kid: string; readonly kty: 'RSA' }
  /** A compact JWT, RS256, whose header names `jku` and the key. */
  sign(claims: Readonly<Record<string, unknown>>, jku: string): Promise<string>
}

interface SignerRecord {
  readonly privateKey: string
  /** Standard base64 of the DER. */
  readonly certificate: string
}

const collectionName = 'attestation-signers'

/** Opens the provider's key, or makes one. */
export async function openTokenSigner(store: Store, name: string, now: Date): Promise<TokenSigner> {
  const collection = store.collection<SignerRecord>(collectionName)
  let record = collection.get(name)
  if (record === undefined) {
    record = await makeSigner(name, now)
    await collection.set(name, record)
  }
  return fromRecord(record)
}

/** Destroys the key of a provider that has been deleted: one of the same name later is another authority. */
export async function removeTokenSigner(store: Store, name: string): Promise<void> {
  await store.collection<SignerRecord>(collectionName).delete(name)
}

async function makeSigner(name: string, now: Date): Promise<SignerRecord> {
  const { publicKey, privateKey } = await makeRsaKeyPair(2048)
  const distinguishedName = [['CN', `${name} attestation (simulated)`]] as const
  const certificate = issueCertificate(
    {
      subject: distinguishedName,
      issuer: distinguishedName,
      notBefore: new Date(now.getTime() - 86_400_000),
      notAfter: new Date(now.getTime() + 10 * 365 * 86_400_000),
      publicKey,
      extensions: endEntityExtensions(publicKey, [])
    },
    privateKey,
    'rsa-sha256'
  )
  return {
    privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    certificate: encodeBase64(certificate)
  }
}

function fromRecord(record: SignerRecord): TokenSigner {
  const key: KeyObject = createPrivateKey(record.privateKey)
  const kid = createHash('sha256').update(record.certificate).digest('base64')
  return {
    jwk: { x5c: [record.certificate], kid, kty: 'RSA' },
    sign: (claims, jku) =>
      new CompactSign(utf8.encode(JSON.stringify(claims)))
        .setProtectedHeader({ alg: 'RS256', jku, kid, typ: 'JWT' })
        .sign(key)
  }
}
