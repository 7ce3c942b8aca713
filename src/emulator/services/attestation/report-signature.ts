import { verify, X509Certificate } from 'node:crypto'
import { equalBytes } from '../../../base/bytes.js'
import { sha256Hex, type Sha256Hex } from '../../../base/digest.js'
import { utf8 } from '../../../base/encoding.js'
import { readCertificateFields } from './certificate-fields.js'
import { readDer, readSmallInteger } from './der-reader.js'
import type { GuestReport } from './report.js'

/**
 * Verifies that a genuine processor signed the report: ARK pinned, ASK and VCEK below it, the VCEK
 * made for this chip at this TCB, and the report signed with the VCEK. Throws a `TypeError` that
 * says which of these failed.
 */
export function verifyReportSignature(
  report: GuestReport,
  chainPem: string,
  arkSha256: readonly Sha256Hex[],
  now: Date
): void {
  const [vcek, ask, ark] = parseChain(chainPem)
  if (!arkSha256.includes(sha256Hex(ark.raw))) throw new TypeError('the root certificate is not a trusted one')
  requireIssued(ark, ark, 'ARK')
  requireIssued(ask, ark, 'ASK')
  requireIssued(vcek, ask, 'VCEK')
  for (const [certificate, name] of [
    [ark, 'ARK'],
    [ask, 'ASK'],
    [vcek, 'VCEK']
  ] as const) {
    requireValidAt(certificate, now, name)
  }
  requireVcekOf(report, vcek)
  const key = { key: vcek.publicKey, dsaEncoding: 'ieee-p1363' } as const
  if (!verify('sha384', report.signed, key, report.signature)) throw new TypeError('the report signature is not valid')
}

const maximumChainLength = 64 * 1024

function parseChain(pem: string): readonly [X509Certificate, X509Certificate, X509Certificate] {
  if (pem.length > maximumChainLength) throw new TypeError('the certificate chain is too long')
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? []
  const [vcek, ask, ark] = blocks
  if (vcek === undefined || ask === undefined || ark === undefined || blocks.length !== 3) {
    throw new TypeError(`the certificate chain has ${blocks.length} certificates instead of VCEK, ASK and ARK`)
  }
  return [parseCertificate(vcek), parseCertificate(ask), parseCertificate(ark)]
}

function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw new TypeError('the certificate chain holds something that is not a certificate')
  }
}

function requireIssued(certificate: X509Certificate, issuer: X509Certificate, name: string): void {
  const signed =
    issuer.ca &&
    certificate.checkIssued(issuer) &&
    readCertificateFields(certificate.raw).signature === 'rsa-pss-sha384' &&
    certificate.verify(issuer.publicKey)
  if (!signed) throw new TypeError(`the ${name} certificate is not signed by its issuer`)
}

function requireValidAt(certificate: X509Certificate, now: Date, name: string): void {
  const valid = Date.parse(certificate.validFrom) <= now.getTime() && now.getTime() <= Date.parse(certificate.validTo)
  if (!valid) throw new TypeError(`the ${name} certificate is not valid at this time`)
}

const amd = '1.3.6.1.4.1.3704.1'

/** AMD 57230: the extensions say which chip and which TCB the VCEK was derived for. */
function requireVcekOf(report: GuestReport, vcek: X509Certificate): void {
  if (vcek.publicKey.asymmetricKeyType !== 'ec' || vcek.publicKey.asymmetricKeyDetails?.namedCurve !== 'secp384r1') {
    throw new TypeError('the VCEK is not a P-384 key')
  }
  const { extensions } = readCertificateFields(vcek.raw)
  const value = (suffix: string): Uint8Array => {
    const found = extensions.get(`${amd}.${suffix}`)
    if (found === undefined) throw new TypeError(`the VCEK certificate lacks extension ${amd}.${suffix}`)
    return found
  }
  const spl = (number: number): number => readSmallInteger(readDer(value(`3.${number}`)))
  const productName = readDer(value('2'))
  const product = productName.tag === 0x16 ? utf8.decode(productName.content).split('-')[0] : undefined
  if (product !== 'Milan' && product !== 'Genoa') throw new TypeError('the product of the VCEK is not supported')
  if (report.product !== undefined && report.product !== product) {
    throw new TypeError('the VCEK is for another product than the report')
  }
  if (!equalBytes(value('4'), report.chipId)) throw new TypeError('the VCEK is for another chip than the report')
  const { bootloader, tee, snp, microcode } = report.reportedTcb
  if (spl(1) !== bootloader || spl(2) !== tee || spl(3) !== snp || spl(8) !== microcode) {
    throw new TypeError('the VCEK is for another TCB than the report')
  }
}
