import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  authorityExtensions,
  certificatePem,
  type DistinguishedName,
  endEntityExtensions,
  issueCertificate,
  subjectAlternativeName
} from './hardware/certificate.js'
import { vaultSuffix } from './local-caller.js'
import { writeTextAtomically } from '../image/index.js'

/** What the emulator's listeners present, and the file that a client has to trust. */
export interface TlsIdentity {
  readonly key: string
  /** The leaf alone: the root is what the client already has. */
  readonly certificate: string
  readonly ca: string
  readonly caFile: string
}

const dayMs = 24 * 60 * 60 * 1000
const rootLifetimeMs = 3650 * dayMs
/** 398 days is the most that browsers and some operating systems accept of a leaf. */
const leafLifetimeMs = 397 * dayMs
const serverAuth = '1.3.6.1.5.5.7.3.1'
const hosts = ['localhost', '127.0.0.1', `*.${vaultSuffix}`]

/**
 * Reads the throw-away root and the leaf for 127.0.0.1 and localhost from `directory`, or makes new
 * ones when there are none or the leaf ends within a week. The machine's clock decides and not the
 * emulator's, because it is the one that TLS clients compare with.
 */
export async function openTlsIdentity(directory: string, now: Date = new Date()): Promise<TlsIdentity> {
  const caFile = join(directory, 'ca.pem')
  const stored = await readStored(directory)
  if (stored && isUsable(new X509Certificate(stored.certificate), now)) return { ...stored, caFile }
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const made = makeTlsIdentity(now)
  await writePrivate(join(directory, 'server.key'), made.key)
  await writePrivate(join(directory, 'server.pem'), made.certificate)
  await writePrivate(caFile, made.ca)
  return { ...made, caFile }
}

/** One of an earlier version may lack a name. */
function isUsable(leaf: X509Certificate, now: Date): boolean {
  const isLasting = Date.parse(leaf.validTo) > now.getTime() + 7 * dayMs
  return isLasting && leaf.checkHost(`any.${vaultSuffix}`) !== undefined
}

async function readStored(directory: string): Promise<Omit<TlsIdentity, 'caFile'> | undefined> {
  try {
    const [key, certificate, ca] = await Promise.all(
      ['server.key', 'server.pem', 'ca.pem'].map((file) => readFile(join(directory, file), 'utf8'))
    )
    if (!key || !certificate || !ca) return undefined
    // A kill between the writes of two generations leaves files that do not belong together.
    const issued = new X509Certificate(certificate).verify(new X509Certificate(ca).publicKey)
    return issued ? { key, certificate, ca } : undefined
  } catch {
    // Missing or unreadable: new ones are made, and clients read the new root from the same file.
    return undefined
  }
}

/** The root's private key is dropped here: nothing else will be signed with it, so it cannot leak. */
function makeTlsIdentity(now: Date): Omit<TlsIdentity, 'caFile'> {
  const root = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  // Two generations with one name would confuse a client that still holds the older root.
  const rootName: DistinguishedName = [['CN', `Azure on loopback, throw-away root ${randomBytes(4).toString('hex')}`]]
  const notBefore = new Date(now.getTime() - dayMs)
  const ca = issueCertificate(
    {
      subject: rootName,
      issuer: rootName,
      notBefore,
      notAfter: new Date(now.getTime() + rootLifetimeMs),
      publicKey: root.publicKey,
      extensions: authorityExtensions(root.publicKey, 0)
    },
    root.privateKey,
    'ecdsa-sha256'
  )
  const certificate = issueCertificate(
    {
      subject: [['CN', 'Azure on loopback']],
      issuer: rootName,
      notBefore,
      notAfter: new Date(now.getTime() + leafLifetimeMs),
      publicKey: leaf.publicKey,
      extensions: [...endEntityExtensions(root.publicKey, [serverAuth]), subjectAlternativeName(hosts)]
    },
    root.privateKey,
    'ecdsa-sha256'
  )
  return {
    key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: certificatePem(certificate),
    ca: certificatePem(ca)
  }
}

async function writePrivate(path: string, text: string): Promise<void> {
  await writeTextAtomically(path, text, { mode: 0o600, sync: false })
}
