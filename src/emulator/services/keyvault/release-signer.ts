import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { CompactSign } from 'jose'
import { decodeBase64, encodeBase64, utf8 } from '../../../base/encoding.js'
import {
  authorityExtensions,
  certificatePem,
  endEntityExtensions,
  issueCertificate,
  subjectAlternativeName
} from '../../hardware/certificate.js'
import { makeEcKeyPair, makeRsaKeyPair } from '../../hardware/key-pair.js'
import type { Store } from '../../store.js'
import type { Vault } from './vault.js'

/** Signs release responses in the name of a vault. */
export interface ReleaseSigner {
  /** A compact JWS, RS256, whose `x5c` is leaf, intermediate and root. */
  sign(payload: unknown): Promise<string>
}

/** Certificates in standard base64 of DER, keys in PKCS#8 PEM. */
interface AuthorityRecord {
  readonly root: string
  readonly intermediate: string
  readonly intermediateKey: string
}

interface LeafRecord {
  readonly certificate: string
  readonly privateKey: string
}

/**
 * The root under which every vault of the store signs its releases, as PEM. A real vault has a
 * public CA here; whoever verifies releases of this one needs to be told of it.
 */
export async function releaseRootPem(store: Store, now: Date): Promise<string> {
  return certificatePem(decodeBase64((await openAuthority(store, now)).root, 'release root'))
}

/** Opens the vault's signing key, or makes one with a certificate for the host of the vault's URI. */
export async function openReleaseSigner(store: Store, vault: Vault, now: Date): Promise<ReleaseSigner> {
  const authority = await openAuthority(store, now)
  const host = new URL(vault.vaultUri).hostname
  const collection = store.collection<LeafRecord>('key-vault-signers')
  const id = `${vault.name.toLowerCase()}/${host}`
  let leaf = collection.get(id)
  if (leaf === undefined) {
    leaf = await makeLeaf(authority, host, now)
    await collection.set(id, leaf)
  }
  return signer(leaf, authority)
}

async function openAuthority(store: Store, now: Date): Promise<AuthorityRecord> {
  const collection = store.collection<AuthorityRecord>('key-vault-release-authority')
  let authority = collection.get('current')
  if (authority === undefined) {
    authority = await makeAuthority(now)
    await collection.set('current', authority)
  }
  return authority
}

const rootName = [['CN', 'Key Vault release root (simulated)']] as const
const intermediateName = [['CN', 'Key Vault release authority (simulated)']] as const
const serverAuthentication = '1.3.6.1.5.5.7.3.1'

async function makeAuthority(now: Date): Promise<AuthorityRecord> {
  const [root, intermediate] = await Promise.all([makeEcKeyPair('P-256'), makeEcKeyPair('P-256')])
  const rootCertificate = issueCertificate(
    {
      subject: rootName,
      issuer: rootName,
      ...validity(now),
      publicKey: root.publicKey,
      extensions: authorityExtensions(root.publicKey)
    },
    root.privateKey,
    'ecdsa-sha256'
  )
  const intermediateCertificate = issueCertificate(
    {
      subject: intermediateName,
      issuer: rootName,
      ...validity(now),
      publicKey: intermediate.publicKey,
      extensions: authorityExtensions(intermediate.publicKey, 0)
    },
    root.privateKey,
    'ecdsa-sha256'
  )
  return {
    root: encodeBase64(rootCertificate),
    intermediate: encodeBase64(intermediateCertificate),
    intermediateKey: pkcs8(intermediate.privateKey)
  }
}

async function makeLeaf(authority: AuthorityRecord, host: string, now: Date): Promise<LeafRecord> {
  const { publicKey, privateKey } = await makeRsaKeyPair(2048)
  const issuerKey = createPrivateKey(authority.intermediateKey)
  const certificate = issueCertificate(
    {
      subject: [['CN', host]],
      issuer: intermediateName,
      ...validity(now),
      publicKey,
      extensions: [
        ...endEntityExtensions(createPublicKey(issuerKey), [serverAuthentication]),
        subjectAlternativeName([host])
      ]
    },
    issuerKey,
    'ecdsa-sha256'
  )
  return { certificate: encodeBase64(certificate), privateKey: pkcs8(privateKey) }
}

function signer(leaf: LeafRecord, authority: AuthorityRecord): ReleaseSigner {
  const key = createPrivateKey(leaf.privateKey)
  const certificate = decodeBase64(leaf.certificate, 'release certificate')
  const sha1 = createHash('sha1').update(certificate).digest()
  const header = {
    alg: 'RS256',
    kid: sha1.toString('hex').toUpperCase(),
    x5t: sha1.toString('base64url'),
    typ: 'JWT',
    'x5t#S256': createHash('sha256').update(certificate).digest('base64url'),
    x5c: [leaf.certificate, authority.intermediate, authority.root]
  }
  return {
    sign: (payload) => new CompactSign(utf8.encode(JSON.stringify(payload))).setProtectedHeader(header).sign(key)
  }
}

function validity(now: Date): { notBefore: Date; notAfter: Date } {
  const day = 86_400_000
  return { notBefore: new Date(now.getTime() - day), notAfter: new Date(now.getTime() + 3650 * day) }
}

function pkcs8(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString()
}
