import type { Config, ProviderConfig } from './config.js'
import type { Report } from './resolve.js'
import type { RawConfig } from './schema.js'

/**
 * What does not go together in `router`. Each of these the router refuses as well, but by ending: a
 * container that cannot start is harder to understand than a line of the file.
 */

export function checkTls({ router }: RawConfig, report: Report): void {
  if (router?.tls?.only !== true || router.tls.port !== undefined) return
  report('router.tls.port', 'router.tls.port is missing, which router.tls.only needs: expected a port', 'a port')
}

export function checkMetrics({ router, access }: Config, report: Report): void {
  if (router.metrics !== 'token' || access.mode === 'token') return
  const expected = 'open or off, or access.mode token'
  report(
    'router.metrics',
    `router.metrics is "token" while access.mode is open and there are no tokens, expected ${expected}`,
    expected
  )
}

export function checkLimits({ router: { limits } }: Config, report: Report): void {
  const { bodyBytes, bufferedBytes } = limits
  if (bufferedBytes >= bodyBytes) return
  const expected = 'room for one body at least'
  report(
    'router.limits.bufferedBytes',
    `router.limits.bufferedBytes is ${bufferedBytes}, and router.limits.bodyBytes is ${bodyBytes}, expected ${expected}`,
    expected
  )
}

export function checkFallbacks({ router, providers }: Config, report: Report): void {
  const usable = Object.entries(Object.keys(providers).length === 0 ? usualProviders : providers)
    .filter((entry) => !isQueue(entry))
    .map(([id]) => `${id}:`)
  for (const [model, others] of Object.entries(router.fallbacks)) {
    const path = `router.fallbacks.${model}`
    const strangers = [model, ...others].filter((name) => !usable.some((prefix) => isModelOf(prefix, name)))
    if (strangers.length > 0) {
      const expected = `models of the providers here, as ${usable.map((prefix) => `${prefix}…`).join(', ')}`
      const shown = strangers.map((name) => JSON.stringify(name)).join(', ')
      report(path, `${path} has ${shown}, expected ${expected}`, expected)
    } else if (new Set([model, ...others]).size <= others.length) {
      report(path, `${path} names a model twice, expected each one once`, 'each model once')
    }
  }
}

/** Enabled when the configuration names no provider. */
const usualProviders: Config['providers'] = { openai: {}, openrouter: {}, fal: {} }

/** What fal's queue answers is no answer to a call; its other place is known for its usual address alone. */
function isQueue([id, { baseUrl, syncUrl }]: readonly [string, ProviderConfig]): boolean {
  return id === 'fal' && baseUrl !== undefined && syncUrl === undefined
}

function isModelOf(prefix: string, name: string): boolean {
  return name.startsWith(prefix) && name.length > prefix.length
}
