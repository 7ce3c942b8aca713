import { isJsonObject } from '../base/json.js'
import {
  routerEnvironment,
  routerLimits,
  type RouterNumber,
  routerNumbers,
  tlsPortVariable,
  usualRouter
} from '../plan/router-environment.js'

type Configured = Parameters<typeof routerEnvironment>[0]
type Router = Configured['router']

/** Variables with a number in a range that the source sets: they turn no call to another place. */
export const numericVariables: readonly string[] = [
  ...[...Object.values(routerNumbers), ...Object.values(routerLimits)].map(({ variable }) => variable),
  tlsPortVariable
]

/**
 * The variables that a deployment of this source adds to those of the template, if its router is configured
 * as `values` (all variables of a published router, by name) say. The configuration is read back and goes
 * through the deployment's own function, so only what that can write comes out, in its order and form: a
 * variable that a configuration cannot give (`NODE_OPTIONS`), or a value out of its range, does not.
 */
export function configuredVariables(values: ReadonlyMap<string, string>): Record<string, string> {
  const mode = values.get('ACCESS_MODE') === 'token' ? 'token' : 'open'
  const { concurrentCalls } = routerLimits
  const given = numberIn(values.get(concurrentCalls.variable), concurrentCalls) ?? concurrentCalls.unset
  // All that the usual values follow from.
  const usual = usualRouter({ limits: { concurrentCalls: given } } as Router, mode)
  const port = numberIn(values.get(tlsPortVariable), { min: 1, max: 65_535 })
  const router: Router = {
    ...numbersOf(routerNumbers, values, usual),
    ...(port === undefined ? {} : { tls: { port, only: false } }),
    fallbacks: fallbacksOf(values.get('CONFROUTER_FALLBACKS')),
    metrics: metricsModes.find((known) => known === values.get('CONFROUTER_METRICS')) ?? usual.metrics,
    limits: numbersOf(routerLimits, values, usual.limits)
  }
  return routerEnvironment({ router, access: { mode, tokensSha256: [] } })
}

const metricsModes = ['open', 'token', 'off'] as const

function numbersOf<Table extends Readonly<Record<string, RouterNumber>>>(
  table: Table,
  values: ReadonlyMap<string, string>,
  usual: { readonly [Key in keyof Table]: number }
) {
  const numbers = Object.entries(table).map(([key, number]) => {
    return [key, numberIn(values.get(number.variable), number) ?? usual[key]] as const
  })
  return Object.fromEntries(numbers) as { readonly [Key in keyof Table]: number }
}

/** Only as a deployment writes it: in decimal digits, without zeros in front. */
export function numberIn(
  text: string | undefined,
  { min, max }: { readonly min: number; readonly max: number }
): number | undefined {
  if (text === undefined || !/^(?:0|[1-9][0-9]{0,9})$/.test(text)) return undefined
  const value = Number(text)
  return value >= min && value <= max ? value : undefined
}

function fallbacksOf(text: string | undefined): Router['fallbacks'] {
  try {
    const value: unknown = JSON.parse(text ?? '{}')
    return isFallbacks(value) ? value : {}
  } catch {
    return {}
  }
}

function isFallbacks(value: unknown): value is Router['fallbacks'] {
  return (
    isJsonObject(value) &&
    Object.values(value).every((models) => Array.isArray(models) && models.every((model) => typeof model === 'string'))
  )
}
