import type { Config, RouterConfig } from './config.js'
import { routerLimits, type RouterNumber, routerNumbers } from './router-numbers.js'
import { builtInDefaults, type RawConfig } from './schema.js'

type AccessMode = Config['access']['mode']

/** Fills in what is absent of `router`, with the values that the router itself would take. */
export function fillRouter(raw: RawConfig['router'], accessMode: AccessMode): RouterConfig {
  const limits = fillNumbers(routerLimits, raw?.limits)
  const port = raw?.tls?.port
  return {
    ...fillNumbers(routerNumbers, raw),
    ...(port === undefined ? {} : { tls: { port, only: raw?.tls?.only ?? builtInDefaults.tlsOnly } }),
    fallbacks: raw?.fallbacks ?? {},
    metrics: raw?.metrics ?? accessMode,
    limits: { ...limits, callsPerCaller: raw?.limits?.callsPerCaller ?? Math.ceil(limits.concurrentCalls / 10) }
  }
}

/** A router of which nothing is configured, except what the default of `limits.callsPerCaller` follows from. */
export function usualRouter({ limits: { concurrentCalls } }: RouterConfig, accessMode: AccessMode): RouterConfig {
  const usual = fillRouter({ limits: { concurrentCalls } }, accessMode)
  return { ...usual, limits: { ...usual.limits, concurrentCalls: routerLimits.concurrentCalls.unset } }
}

/** 0 where the table has no value, which the caller then replaces. */
function fillNumbers<Table extends Readonly<Record<string, RouterNumber>>>(
  table: Table,
  given: { readonly [Key in keyof Table]?: number | undefined } | undefined
) {
  const numbers = Object.entries(table).map(([key, { unset }]) => [key, given?.[key] ?? unset ?? 0] as const)
  return Object.fromEntries(numbers) as { readonly [Key in keyof Table]: number }
}
