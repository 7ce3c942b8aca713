export interface PathValue {
  readonly path: readonly string[]
  readonly value: unknown
}

/** Maps within maps from values with paths. A value that stands where a later path needs a map is replaced. */
export function nest(values: readonly PathValue[]): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const { path, value } of values) {
    let map = root
    for (const part of path.slice(0, -1)) map = mapAt(map, part)
    map[path.at(-1) ?? ''] = value
  }
  return root
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function mapAt(parent: Record<string, unknown>, key: string): Record<string, unknown> {
  const child = parent[key]
  if (isMap(child)) return child
  const map: Record<string, unknown> = {}
  parent[key] = map
  return map
}
