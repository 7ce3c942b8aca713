import type { Certificate } from './certificate.js'
import { shown } from './check.js'
import { derTag, expectTag, readDer, readSmallUnsigned } from './der.js'
import type { SnpReport } from './snp-report.js'
import { type Product, productOfCpuid, productOfName, type TcbComponent } from './tcb.js'

/** The chain as it should be: exactly these three, in this order. */
export interface VcekChain {
  readonly vcek: Certificate
  readonly ask: Certificate
  readonly ark: Certificate
}

/**
 * Object identifiers of a VCEK's extensions: AMD 57230, "Versioned Chip Endorsement Key (VCEK)
 * Certificate and KDS Interface Specification", table "X.509 extensions".
 */
const productNameOid = '1.3.6.1.4.1.3704.1.2'
const hardwareIdOid = '1.3.6.1.4.1.3704.1.4'
const levelOids = {
  fmc: '1.3.6.1.4.1.3704.1.3.9',
  bootloader: '1.3.6.1.4.1.3704.1.3.1',
  tee: '1.3.6.1.4.1.3704.1.3.2',
  snp: '1.3.6.1.4.1.3704.1.3.3',
  microcode: '1.3.6.1.4.1.3704.1.3.8'
} as const satisfies Record<TcbComponent, string>

/** Throws a `TypeError` for another number of certificates than three. */
export function vcekChain(certificates: readonly Certificate[]): VcekChain {
  const [vcek, ask, ark, ...rest] = certificates
  if (vcek === undefined || ask === undefined || ark === undefined || rest.length > 0) {
    throw new TypeError(`${certificates.length} certificates, not VCEK, ASK and ARK`)
  }
  return { vcek, ask, ark }
}

/** Throws a `TypeError` if the product is not known, or if report and VCEK are of different ones. */
export function productOf(report: SnpReport, vcek: Certificate): Product {
  const name = readProductName(vcek)
  const product = productOfName(name)
  if (product === undefined) throw new TypeError(`VCEK is for the product ${shown(name)}`)
  if (report.cpuid !== undefined && productOfCpuid(report.cpuid) !== product) {
    const { family, model } = report.cpuid
    throw new TypeError(`VCEK is for ${product}, report from CPU family ${family} model ${model}`)
  }
  return product
}

/** For example `Milan-B0`. Throws a `TypeError` if it is missing. */
function readProductName(vcek: Certificate): string {
  const label = 'VCEK product name'
  return String.fromCharCode(
    ...expectTag(readDer(extension(vcek, productNameOid, label), label), derTag.ia5String, label).contents
  )
}

/** The chip's id: 64 octets, 8 on Turin. It stands in the extension as it is, without an ASN.1 type. */
export function readHardwareId(vcek: Certificate): Uint8Array {
  return extension(vcek, hardwareIdOid, 'VCEK hardware id')
}

/** The patch level for which this VCEK was derived. Levels of 128 and above take two octets in DER. */
export function readPatchLevel(vcek: Certificate, component: TcbComponent): number {
  const label = `VCEK ${component} patch level`
  const level = readSmallUnsigned(readDer(extension(vcek, levelOids[component], label), label), label)
  if (level > 255) throw new TypeError(`${label} is above 255`)
  return level
}

function extension(vcek: Certificate, oid: string, label: string): Uint8Array {
  const value = vcek.extensions.get(oid)?.value
  if (value === undefined) throw new TypeError(`${label} is missing`)
  return value
}
