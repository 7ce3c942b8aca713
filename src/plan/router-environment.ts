import { canonicalJson } from '../base/json.js'
import { type Config, routerLimits, type RouterNumber, routerNumbers, usualRouter } from '../config/index.js'
export { routerLimits, type RouterNumber, routerNumbers, usualRouter } from '../config/index.js'

/** The variable of the router's TLS port, by which a deployed group shows whether it has one. */
export const tlsPortVariable = 'CONFROUTER_TLS_PORT'

/**
 * Variables for what the configuration changes about the router, in a fixed order. What is as the
 * router has it anyway is left out, so that a deployment that changes nothing keeps its host data when
 * there is one more thing to change.
 */
export function routerEnvironment({ router, access }: Pick<Config, 'router' | 'access'>): Record<string, string> {
  const usual = usualRouter(router, access.mode)
  const { tls, fallbacks, metrics } = router
  return {
    ...changedNumbers(routerNumbers, router, usual),
    ...(tls === undefined ? {} : { [tlsPortVariable]: String(tls.port) }),
    ...(Object.keys(fallbacks).length === 0 ? {} : { CONFROUTER_FALLBACKS: canonicalJson(fallbacks) }),
    ...(metrics === usual.metrics ? {} : { CONFROUTER_METRICS: metrics }),
    ...changedNumbers(routerLimits, router.limits, usual.limits)
  }
}

function changedNumbers<Table extends Readonly<Record<string, RouterNumber>>>(
  table: Table,
  values: { readonly [Key in keyof Table]: number },
  usual: { readonly [Key in keyof Table]: number }
): Record<string, string> {
  const changed = Object.entries(table).filter(([key]) => values[key] !== usual[key])
  return Object.fromEntries(changed.map(([key, { variable }]) => [variable, String(values[key])]))
}
