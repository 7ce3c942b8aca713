import type { Principal } from '../../access.js'
import type { EmulatorRequest, EmulatorResponse } from '../../http.js'

/** A request to Resource Manager whose caller is known and allowed. */
export interface ArmRequest extends EmulatorRequest {
  readonly principal: Principal
  /** What the route's pattern captured, by name and as the caller spelled it. */
  readonly params: Readonly<Record<string, string>>
  readonly apiVersion: string
}

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /**
   * Path with `{name}` for one segment. A pattern may begin with `{scope}`, which takes any number
   * of segments: role assignments hang on whatever has an id. Literals are compared without case.
   */
  readonly pattern: string
  /** The permission that the caller needs; undefined for what any caller of the tenant may read. */
  readonly action: string | ((params: Readonly<Record<string, string>>) => string) | undefined
  readonly handle: (request: ArmRequest) => Promise<EmulatorResponse>
}

export interface RouteMatch {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

export function matchRoute(routes: readonly Route[], method: string, path: string): RouteMatch | undefined {
  for (const route of routes) {
    if (route.method !== method) continue
    const params = matchPattern(route.pattern, path)
    if (params) return { route, params }
  }
  return undefined
}

function matchPattern(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split('/').filter(Boolean)
  const given = path.split('/').filter(Boolean)
  const params: Record<string, string> = {}
  if (wanted[0] === '{scope}') {
    const scopeLength = given.length - (wanted.length - 1)
    if (scopeLength < 1) return undefined
    params['scope'] = `/${given.slice(0, scopeLength).join('/')}`
    wanted.shift()
    given.splice(0, scopeLength)
  }
  if (wanted.length !== given.length) return undefined
  for (const [index, segment] of wanted.entries()) {
    const value = given[index] ?? ''
    if (segment.startsWith('{')) params[segment.slice(1, -1)] = value
    else if (segment.toLowerCase() !== value.toLowerCase()) return undefined
  }
  return params
}

/** The value of a parameter that the route's own pattern guarantees. */
export function param(request: Pick<ArmRequest, 'params'>, name: string): string {
  const value = request.params[name]
  if (value === undefined) throw new TypeError(`the route has no parameter ${name}`)
  return value
}
