import type { Origin } from './config-error.js'
import type { Layer } from './layer.js'
import { isMap, nest, type PathValue } from './nest.js'
import { rawSchema, type RawConfig } from './schema.js'
import { dotted } from './yaml-source.js'

export interface Merged {
  readonly raw: RawConfig
  /** Where each value won, by dotted path. A list is one value. */
  readonly origins: Readonly<Record<string, Origin>>
}

interface Leaf extends PathValue {
  readonly origin: Origin
}

/**
 * Lays valid layers over each other, the strongest first. Maps are merged key by key, with two
 * exceptions: alternatives replace each other as a whole, and a stronger default provider unseats
 * a weaker one.
 */
export function mergeLayers(layers: readonly Layer[]): Merged {
  let leaves: readonly Leaf[] = []
  for (const layer of [...layers].reverse()) {
    const stronger = leavesOf(layer.raw, [], layer)
    const claimed = new Set(stronger.flatMap(claimsOf))
    leaves = [...leaves.filter((leaf) => !claimsOf(leaf).some((claim) => claimed.has(claim))), ...stronger]
  }
  // So that an empty map of one layer does not wipe out what another one fills in.
  const shortFirst = [...leaves].sort((a, b) => a.path.length - b.path.length)
  const origins: Record<string, Origin> = {}
  for (const { path, origin } of leaves) origins[dotted(path)] = origin
  return { raw: rawSchema.parse(nest(shortFirst)), origins }
}

/** What only one layer can set: the path itself, or the alternative or role that it belongs to. */
function claimsOf({ path, value }: Leaf): readonly string[] {
  const claims = [JSON.stringify(path)]
  if (path[0] === 'attestation') claims.push('attestation')
  if (path[0] === 'providers' && path[2] === 'apiKey') claims.push(JSON.stringify(path.slice(0, 3)))
  if (path[0] === 'providers' && path[2] === 'default' && value === true) claims.push('default provider')
  return claims
}

function leavesOf(value: unknown, path: readonly string[], layer: Layer): Leaf[] {
  if (value === undefined) return []
  if (!isMap(value)) return [{ path, value, origin: layer.originOf(path) }]
  const entries = Object.entries(value)
  // An empty provider says something, that it is to be used as built in; other empty sections do not.
  const isNamed = path.length >= 2 && path[0] === 'providers'
  if (entries.length === 0 && isNamed) return [{ path, value: {}, origin: layer.originOf(path) }]
  return entries.flatMap(([key, child]) => leavesOf(child, [...path, key], layer))
}
