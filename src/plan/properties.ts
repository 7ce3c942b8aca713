/** One property of a resource, as text: what is there and what is wanted. Null where there is nothing. */
export interface PropertyChange {
  readonly property: string
  readonly from: string | null
  readonly to: string | null
  /** Azure cannot change it in place: the resource is deleted and created again. */
  readonly forces?: 'replace'
}

/** A resource as flat texts. A member that is undefined is absent. */
export type Properties = Readonly<Record<string, string | undefined>>

/**
 * What differs between what is there and what is wanted, in the order of the wanted properties and then of
 * those that would go. What is there and not mentioned in `wanted` is left alone unless `complete` is set.
 */
export function diffProperties(
  observed: Properties,
  wanted: Properties,
  options: { readonly immutable?: ReadonlySet<string>; readonly complete?: boolean } = {}
): readonly PropertyChange[] {
  const names = [...new Set([...Object.keys(wanted), ...(options.complete === true ? Object.keys(observed) : [])])]
  return names.flatMap((property) => {
    const from = observed[property] ?? null
    const to = wanted[property] ?? null
    if (from === to) return []
    return [
      { property, from, to, ...(options.immutable?.has(property) === true ? { forces: 'replace' as const } : {}) }
    ]
  })
}
