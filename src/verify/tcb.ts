import type { SnpReport } from './snp-report.js'

export const products = ['milan', 'genoa', 'turin'] as const
export type Product = (typeof products)[number]

/** Security patch levels, each 0 to 255. */
export interface TcbVersion {
  readonly bootloader: number
  readonly tee: number
  readonly snp: number
  readonly microcode: number
}

export interface TurinTcbVersion extends TcbVersion {
  readonly fmc: number
}

/** The least version that is accepted, for each product. */
export interface MinimumTcb {
  readonly milan: TcbVersion
  readonly genoa: TcbVersion
  readonly turin: TurinTcbVersion
}

/** Patch levels by component, in the order in which they are shown. */
export type TcbComponents = ReadonlyMap<TcbComponent, number>
export type TcbComponent = 'fmc' | 'bootloader' | 'tee' | 'snp' | 'microcode'

/** Byte of each component in TCB_VERSION (AMD SEV-SNP ABI 56860, "TCB_VERSION"); Turin has a layout of its own. */
const layouts = {
  milan: { bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  genoa: { bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  turin: { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 }
} as const satisfies Record<Product, Partial<Record<TcbComponent, number>>>

export function tcbComponents(product: Product): TcbComponent[] {
  return Object.keys(layouts[product]) as TcbComponent[]
}

/** `raw` is the 8 bytes of a TCB_VERSION. */
export function decodeTcb(product: Product, raw: Uint8Array): TcbComponents {
  const layout = Object.entries(layouts[product]) as [TcbComponent, number][]
  return new Map(layout.map(([component, offset]) => [component, raw[offset] ?? 0]))
}

export function minimumFor(product: Product, minimum: MinimumTcb): TcbComponents {
  const levels = new Map<string, number>(Object.entries(minimum[product]))
  // A component without a minimum cannot be reached: NaN compares false with every level.
  return new Map(tcbComponents(product).map((component) => [component, levels.get(component) ?? Number.NaN]))
}

/** Whether every component reaches its minimum; one that is above does not make up for one that is below. */
export function reachesTcb(actual: TcbComponents, minimum: TcbComponents): boolean {
  return [...minimum].every(([component, level]) => (actual.get(component) ?? -1) >= level)
}

export function formatTcb(components: TcbComponents): string {
  return [...components].map(([component, level]) => `${component} ${level}`).join(', ')
}

/**
 * Product from CPUID family and model, which reports carry from version 3 on. Ranges of Microsoft's
 * attestation verifier; Bergamo and Siena (19/a0-af) are endorsed under Genoa. `undefined`: not known.
 */
export function productOfCpuid({ family, model }: NonNullable<SnpReport['cpuid']>): Product | undefined {
  if (family === 0x19 && model <= 0x0f) return 'milan'
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf))) return 'genoa'
  if (family === 0x1a && model <= 0x11) return 'turin'
  return undefined
}

/** Product from the VCEK's productName, for example `Milan-B0`: name and stepping. `undefined`: not known. */
export function productOfName(productName: string): Product | undefined {
  switch (productName.split('-')[0]) {
    case 'Milan':
      return 'milan'
    case 'Genoa':
    case 'Siena':
      return 'genoa'
    case 'Turin':
      return 'turin'
    default:
      return undefined
  }
}
