import { execFileSync } from 'node:child_process'
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer, type PeerCertificate, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import * as der from '../../../src/router/der.js'
import { createTlsIdentity, type TlsIdentity } from '../../../src/router/self-signed.js'
import { Cleanup } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

const now = new Date('2026-11-22T09:15:23.456Z')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

const openssl = (...args: string[]) => execFileSync('openssl', args, { encoding: 'utf8', stdio: 'pipe' })

const hasOpenssl = (() => {
  try {
    return openssl('version').startsWith('OpenSSL')
  } catch {
    return false
  }
})()
const whereOpenssl = (name: string, test: (file: string) => void, identity = () => createTlsIdentity(now)) => {
  if (!hasOpenssl) {
    it.skip(`${name}: not run, openssl is not installed (apt-get install openssl)`, () => undefined)
    return
  }
  it(name, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'confrouter-tls-'))
    cleanup.add(() => rm(directory, { recursive: true }))
    const file = join(directory, 'certificate.pem')
    await writeFile(file, identity().certificate)
    test(file)
  })
}

describe('createTlsIdentity', () => {
  it('makes a certificate that its own key has signed', () => {
    const { key, certificate, spkiSha256 } = createTlsIdentity(now)
    const x509 = new X509Certificate(certificate)
    expect(x509.verify(x509.publicKey)).toBe(true)
    expect(x509.checkPrivateKey(createPrivateKey(key))).toBe(true)
    // It may not sign certificates, and so is no authority, not even for itself.
    expect(x509.checkIssued(x509)).toBe(false)
    expect(x509).toMatchObject({
      subject: 'CN=confrouter',
      issuer: 'CN=confrouter',
      subjectAltName: 'DNS:confrouter',
      validFrom: 'Nov 21 09:15:23 2026 GMT',
      validTo: 'Nov 21 09:15:23 2036 GMT',
      keyUsage: ['1.3.6.1.5.5.7.3.1'],
      ca: false
    })
    expect(x509.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
    const spki = x509.publicKey.export({ type: 'spki', format: 'der' })
    expect(spkiSha256).toBe(createHash('sha256').update(spki).digest('hex'))
    // The bytes in the certificate are the ones that were hashed.
    expect(x509.raw.includes(spki)).toBe(true)
  })

  it('signs what it says: one changed bit is not verified', () => {
    const { raw } = new X509Certificate(createTlsIdentity(now).certificate)
    raw[raw.indexOf('confrouter')] = 'C'.charCodeAt(0)
    const changed = new X509Certificate(raw)
    expect(changed.issuer).toBe('CN=Confrouter')
    expect(changed.verify(changed.publicKey)).toBe(false)
  })

  it('makes another key, and a positive serial number of 16 bytes, every time', () => {
    const made = Array.from({ length: 40 }, () => createTlsIdentity(now))
    const numbers = made.map(({ certificate }) => new X509Certificate(certificate).serialNumber)
    expect(new Set(made.map(({ spkiSha256 }) => spkiSha256)).size).toBe(40)
    expect(new Set(numbers).size).toBe(40)
    for (const number of numbers) expect(number).toMatch(/^[4-7][0-9A-F]{31}$/)
  })

  it.each([
    ['2039-12-31T23:59:59Z', 'Dec 30 23:59:59 2049 GMT', 'two years of two digits', 'UTCTime', 'UTCTime'],
    ['2040-01-01T23:59:59Z', 'Dec 31 23:59:59 2049 GMT', 'the last second but a day', 'UTCTime', 'UTCTime'],
    ['2040-01-02T00:00:00Z', 'Jan  1 00:00:00 2050 GMT', 'the first of four digits', 'UTCTime', 'GeneralizedTime'],
    ['2050-01-01T12:00:00Z', 'Dec 31 12:00:00 2059 GMT', 'a beginning of two digits', 'UTCTime', 'GeneralizedTime'],
    ['2050-01-02T00:00:00Z', 'Jan  1 00:00:00 2060 GMT', 'both of four digits', 'GeneralizedTime', 'GeneralizedTime']
  ])('writes times as RFC 5280 has them: made at %s, valid to %s (%s)', (at, validTo, _, first, second) => {
    const x509 = new X509Certificate(createTlsIdentity(new Date(at)).certificate)
    expect(x509.validTo).toBe(validTo)
    const kinds = { UTCTime: String.raw`\x17\x0d\d{12}Z`, GeneralizedTime: String.raw`\x18\x0f\d{14}Z` }
    const validity = new RegExp(kinds[first as 'UTCTime'] + kinds[second as 'UTCTime'])
    expect(x509.raw.toString('latin1')).toMatch(validity)
  })

  whereOpenssl('makes what openssl reads in the same way', (file) => {
    const text = openssl('x509', '-in', file, '-noout', '-text').replace(/\s+/g, ' ')
    for (const part of [
      'Version: 3 (0x2)',
      'Signature Algorithm: ecdsa-with-SHA256 Issuer: CN = confrouter',
      'Subject: CN = confrouter',
      'ASN1 OID: prime256v1',
      'X509v3 Basic Constraints: critical CA:FALSE',
      'X509v3 Key Usage: critical Digital Signature X509v3',
      'X509v3 Extended Key Usage: TLS Web Server Authentication',
      'X509v3 Subject Alternative Name: DNS:confrouter'
    ]) {
      expect(text.replaceAll('CN=', 'CN = ')).toContain(part)
    }
  })

  whereOpenssl('makes what openssl verifies strictly', (file) => {
    const seconds = Math.floor(now.getTime() / 1000)
    const day = 86_400
    const verifyAt = (time: number, ...more: string[]) =>
      openssl('verify', '-x509_strict', '-attime', String(time), ...more, '-CAfile', file, file)
    expect(verifyAt(seconds, '-purpose', 'sslserver', '-verify_hostname', 'confrouter')).toContain(': OK')
    expect(() => verifyAt(seconds, '-purpose', 'sslclient')).toThrow('unsuitable certificate purpose')
    expect(() => verifyAt(seconds, '-verify_hostname', 'other')).toThrow('hostname mismatch')
    expect(() => verifyAt(seconds - day - 1)).toThrow('not yet valid')
    expect(() => verifyAt(seconds + 10 * 366 * day)).toThrow('expired')
  })

  whereOpenssl(
    'makes what openssl reads after 2050',
    (file) => {
      expect(openssl('x509', '-in', file, '-noout', '-dates')).toContain('notAfter=Jun 14 01:02:03 2061 GMT')
    },
    () => createTlsIdentity(new Date('2051-06-15T01:02:03Z'))
  )
})

describe('a TLS server with it', () => {
  async function serve({ key, certificate }: TlsIdentity): Promise<number> {
    const server = createServer({ key, cert: certificate }, (socket) => socket.end('hello'))
    server.on('tlsClientError', () => undefined)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanup.add(() => new Promise((resolve) => server.close(resolve)))
    return (server.address() as AddressInfo).port
  }

  const spkiOf = ({ raw }: PeerCertificate) =>
    createHash('sha256')
      .update(new X509Certificate(raw).publicKey.export({ type: 'spki', format: 'der' }))
      .digest('hex')

  /** Knows nothing of the router but the hash of its key. */
  async function ask(port: number, spkiSha256: string): Promise<string> {
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    if (spkiOf(socket.getPeerCertificate()) !== spkiSha256) {
      socket.destroy()
      throw new Error('another key')
    }
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    return text
  }

  it('answers a client that pins its key, and only on its own key', async () => {
    const identity = createTlsIdentity(new Date())
    const other = createTlsIdentity(new Date())
    const port = await serve(identity)
    expect(await ask(port, identity.spkiSha256)).toBe('hello')
    await expect(ask(port, other.spkiSha256)).rejects.toThrow('another key')
    await expect(ask(await serve(other), identity.spkiSha256)).rejects.toThrow('another key')
  })

  it('answers a client that trusts the certificate as a file, under its name alone', async () => {
    const { certificate, ...identity } = createTlsIdentity(new Date())
    const port = await serve({ certificate, ...identity })
    const trusting = (servername: string) => connect({ port, host: '127.0.0.1', ca: certificate, servername })
    const socket = trusting('confrouter')
    await once(socket, 'secureConnect')
    expect(socket.authorized).toBe(true)
    socket.destroy()
    await expect(once(trusting('elsewhere'), 'secureConnect')).rejects.toThrow('elsewhere')
    const stranger = connect({ port, host: '127.0.0.1', servername: 'confrouter' })
    await expect(once(stranger, 'secureConnect')).rejects.toThrow('self-signed certificate')
  })
})

describe('DER', () => {
  it.each([
    ['an OID of many arcs', der.objectIdentifier('1.2.840.10045.4.3.2'), '06082a8648ce3d040302'],
    ['an OID with large arcs', der.objectIdentifier('2.16.840.1.113730'), '06076086480186f842'],
    ['an OID with 127 and 128', der.objectIdentifier('2.5.127.128'), '0604557f8100'],
    ['an empty sequence', der.sequence(), '3000'],
    ['a set', der.set(der.utf8String('ä')), '31040c02c3a4'],
    ['a bit string', der.bitString(Uint8Array.of(0x80), 7), '03020780'],
    ['an explicit tag', der.explicit(3, der.TRUE), 'a3030101ff'],
    ['an implicit tag', der.implicit(2, Uint8Array.of(0x61)), '820161'],
    ['the end of 2049', der.time(new Date('2049-12-31T23:59:59.999Z')), `170d${hex(Buffer.from('491231235959Z'))}`],
    ['the beginning of 2050', der.time(new Date('2050-01-01T00:00:00Z')), `180f${hex(Buffer.from('20500101000000Z'))}`]
  ])('writes %s', (_, bytes, expected) => {
    expect(hex(bytes)).toBe(expected)
  })

  it.each([
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_535, '0482ffff']
  ])('writes a length of %i in its shortest form', (length, expected) => {
    const bytes = der.octetString(new Uint8Array(length))
    expect(hex(bytes.subarray(0, expected.length / 2))).toBe(expected)
    expect(bytes).toHaveLength(expected.length / 2 + length)
  })

  it('refuses what is too long for two bytes of length', () => {
    expect(() => der.octetString(new Uint8Array(65_536))).toThrow(RangeError)
  })
})
