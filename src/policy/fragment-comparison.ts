import type { FragmentImport } from './frames.js'
import { onOneLine } from './printable-text.js'
import type { Excess } from './rule-coverage.js'

/**
 * What imports of fragments allow beyond others. The guest takes a fragment by any import that names its feed and
 * issuer and whose minimum it reaches, and of it what that import includes: so each item has a minimum of its own.
 */
export function fragmentExcess(than: readonly FragmentImport[], imports: readonly FragmentImport[]): readonly Excess[] {
  const known = new Map<string, Items>()
  for (const other of than) {
    const items = known.get(keyOf(other)) ?? new Map<string, Minimums>()
    known.set(keyOf(other), items)
    for (const item of other.includes) {
      const minimums = items.get(item) ?? new Minimums()
      items.set(item, minimums)
      minimums.add(other.minimum_svn)
    }
  }
  const found = imports.flatMap((each) => importExcess(each, known.get(keyOf(each))))
  // Two imports of the same are one sentence.
  return [...new Map(found.map((excess) => [excess.what, excess])).values()]
}

/** What may be taken of the fragments of one feed and issuer, each with the minimums of its imports. */
type Items = Map<string, Minimums>

function importExcess(fragment: FragmentImport, known: Items | undefined): readonly Excess[] {
  const { minimum_svn: minimum, includes } = fragment
  const name = `fragment ${onOneLine(fragment.feed)} of issuer ${onOneLine(fragment.issuer)}`
  const from = `from version ${onOneLine(minimum)}`
  if (known === undefined) {
    return [{ what: `${name}, ${from}, with ${includes.map(onOneLine).join(', ')}`, isCertain: true }]
  }
  return includes.flatMap((item): Excess[] => {
    const minimums = known.get(item)
    if (minimums === undefined) return [{ what: `${onOneLine(item)} of ${name} ${from}`, isCertain: true }]
    const isReached = minimums.areReachedFrom(minimum)
    if (isReached === true) return []
    const what = `${onOneLine(item)} of ${name} ${from}, not only from ${minimums.words}`
    return [{ what, isCertain: isReached === false }]
  })
}

/** The minimums of several imports, of which a fragment has to reach one. */
class Minimums {
  private readonly texts = new Set<string>()
  /** The lowest of each kind: whole numbers, semantic versions. */
  private readonly lowest = new Map<VersionKind, readonly bigint[]>()

  add(minimum: string): void {
    this.texts.add(minimum)
    const { kind, numbers } = versionOf(minimum)
    const lowest = this.lowest.get(kind)
    if (lowest === undefined || isBelow(numbers, lowest)) this.lowest.set(kind, numbers)
  }

  /** Whether each version from `minimum` on reaches one of these, too; undefined where that is not known. */
  areReachedFrom(minimum: string): boolean | undefined {
    if (this.texts.has(minimum)) return true
    const { kind, numbers } = versionOf(minimum)
    const lowest = this.lowest.get(kind)
    if (kind === 'other' || lowest === undefined) return undefined
    if (!isBelow(numbers, lowest)) return true
    // One of another kind may be reached all the same.
    return this.lowest.size === 1 ? false : undefined
  }

  get words(): string {
    const [[kind, numbers] = ['other', []] as const, ...others] = this.lowest
    const isOneKind = others.length === 0 && kind !== 'other'
    const texts = isOneKind ? [numbers.join('.')] : [...this.texts].slice(0, 3)
    return texts.map(onOneLine).join(' or ')
  }
}

type VersionKind = 'number' | 'semantic' | 'other'

/** What is neither of the two may be read in more than one way. */
function versionOf(text: string): { readonly kind: VersionKind; readonly numbers: readonly bigint[] } {
  if (/^[0-9]{1,30}$/.test(text)) return { kind: 'number', numbers: [BigInt(text)] }
  if (/^[0-9]{1,30}(?:\.[0-9]{1,30}){2}$/.test(text)) return { kind: 'semantic', numbers: text.split('.').map(BigInt) }
  return { kind: 'other', numbers: [] }
}

function isBelow(a: readonly bigint[], b: readonly bigint[]): boolean {
  const differing = a.findIndex((number, index) => number !== b[index])
  return differing >= 0 && (a[differing] ?? 0n) < (b[differing] ?? 0n)
}

function keyOf({ feed, issuer }: FragmentImport): string {
  return JSON.stringify([feed, issuer])
}
