import { constants, createHash, sign } from 'node:crypto'
import { encode, Tagged } from 'cborg'
import { encodeBase64Url, encodeHex, utf8 } from '../../base/encoding.js'
import { authorityExtensions, endEntityExtensions, issueCertificate } from './certificate.js'
import type { KeyPair } from './key-pair.js'

/** The extended key usage that did:x509 names for signers of ACI's utility VM. */
const signerUsage = '1.3.6.1.4.1.311.76.59.1.2'
/** Security version of the utility VM; public policies ask for at least 100. */
const guestSvn = 101

export interface UvmEndorsement {
  /** COSE_Sign1 with tag 18, as ACI puts it into `reference-info-base64`. */
  readonly document: Uint8Array
  /** did:x509 of the authority that the document's chain ends in. */
  readonly issuer: string
}

/**
 * Signs a launch measurement as Microsoft does: COSE_Sign1 (RFC 9052), PS384, an x5chain that ends
 * in a self-signed authority, and the authority as a did:x509 issuer.
 */
export function endorseUvm(
  measurement: Uint8Array,
  keys: { readonly root: KeyPair; readonly leaf: KeyPair },
  validity: { readonly notBefore: Date; readonly notAfter: Date },
  signedAt: Date
): UvmEndorsement {
  const root = issueCertificate(
    {
      subject: rootName,
      issuer: rootName,
      publicKey: keys.root.publicKey,
      ...validity,
      extensions: authorityExtensions(keys.root.publicKey)
    },
    keys.root.privateKey,
    'rsa-sha384'
  )
  const leaf = issueCertificate(
    {
      subject: leafName,
      issuer: rootName,
      publicKey: keys.leaf.publicKey,
      ...validity,
      extensions: endEntityExtensions(keys.root.publicKey, [signerUsage])
    },
    keys.root.privateKey,
    'rsa-sha384'
  )
  const issuer = `did:x509:0:sha256:${encodeBase64Url(sha256(root))}::eku:${signerUsage}`
  const protectedHeader = encode(
    new Map<number | string, unknown>([
      [1, -38],
      [3, 'application/json'],
      [33, [leaf, root]],
      [34, [-16, sha256(leaf)]],
      ['iss', issuer],
      ['feed', 'ContainerPlat-AMD-UVM'],
      ['signingtime', new Tagged(1, Math.floor(signedAt.getTime() / 1000))]
    ])
  )
  const payload = utf8.encode(
    JSON.stringify({
      'x-ms-sevsnpvm-guestsvn': String(guestSvn),
      'x-ms-sevsnpvm-launchmeasurement': encodeHex(measurement)
    })
  )
  const signature = sign('sha384', encode(['Signature1', protectedHeader, new Uint8Array(0), payload]), {
    key: keys.leaf.privateKey,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: 48
  })
  return { document: encode(new Tagged(18, [protectedHeader, new Map(), payload, new Uint8Array(signature)])), issuer }
}

const rootName = [
  ['O', 'Simulated, no hardware protection'],
  ['CN', 'UVM endorsement root (simulated)']
] as const

const leafName = [
  ['O', 'Simulated, no hardware protection'],
  ['CN', 'UVM endorsement signer (simulated)']
] as const

function sha256(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(data).digest())
}
