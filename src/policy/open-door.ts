import { frames } from './frames.js'
import type { Excess } from './rule-coverage.js'

/**
 * What a policy that enforces nothing leaves open: the constants of its enforcement points by name, and under
 * `api_version` the version that decides on the points that it does not name. Undefined where the text is known by its
 * hash alone.
 */
export type OpenedPoints = ReadonlyMap<string, string> | undefined

const enforcementPoints: ReadonlySet<string> = new Set(Object.values(frames).flatMap(({ rules }) => rules))
const version = 'api_version'

/**
 * The points of a policy whose every rule is a constant that allows: what hcsshim calls the open door. It names an
 * API version and lets containers start; a text that opens less than that enforces something, and
 * what, is not for a pattern of lines to say. Undefined for such a text.
 */
export function openedPoints(rego: string): OpenedPoints {
  const [first, ...lines] = rego.split('\n').map((line) => line.trimEnd())
  if (first !== 'package policy') return undefined
  const points = new Map<string, string>()
  for (const line of lines.filter((each) => each !== '')) {
    const [name, constant] = pointOf(line)
    if (name === undefined || constant === undefined || points.has(name)) return undefined
    points.set(name, constant)
  }
  return [version, 'mount_device', 'mount_overlay', 'create_container'].every((name) => points.has(name))
    ? points
    : undefined
}

function pointOf(line: string): readonly (string | undefined)[] {
  const api = /^api_(?:svn|version) := ("[0-9.]+")$/.exec(line)?.[1]
  if (api !== undefined) return [version, api]
  const found = /^([a-z0-9_]+) := (\{"allowed": true(?:, "[a-z_]+": (?:true|null))*\})$/.exec(line)
  const [, name, constant] = found ?? []
  return name !== undefined && enforcementPoints.has(name) ? [name, constant] : []
}

/** What one open door leaves open that another one does not. */
export function comparePoints(
  than: { readonly opened: OpenedPoints },
  policy: { readonly opened: OpenedPoints }
): readonly Excess[] {
  if (than.opened === undefined || policy.opened === undefined) {
    return [{ what: 'what a text that is known by its hash alone leaves open', isCertain: false }]
  }
  const others = than.opened
  return [...policy.opened].flatMap(([name, constant]): Excess[] => {
    const other = others.get(name)
    if (other === constant) return []
    if (other === undefined) return [{ what: `${name}: the policy leaves this point open`, isCertain: true }]
    return [{ what: `${name}: ${constant} in place of ${other}`, isCertain: false }]
  })
}
