import { isJsonObject } from '../base/json.js'
import { chooseByModel } from './model.js'
import { Problem } from './problem.js'
import type { Providers } from './providers.js'

/** A call is not worth more attempts than this. */
const maximumFallbacks = 8

/**
 * Reads CONFROUTER_FALLBACKS: a model to the models that are tried when its provider fails, as
 * `{"openai:gpt-4o":["openrouter:openai/gpt-4o"]}`. The result is by `provider:model`, however the
 * model was written. Throws a `TypeError` with all that is wrong in it.
 */
export function parseFallbacks(text: string, providers: Providers): ReadonlyMap<string, readonly string[]> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new TypeError('is not JSON')
  }
  if (!isJsonObject(value)) throw new TypeError('must be a JSON object: a model to a list of models')
  const wrong: string[] = []
  const resolve = (name: string): string | undefined => {
    try {
      const { provider, model } = chooseByModel(name, providers)
      if (provider.openaiCompatible || provider.sync !== undefined) return `${provider.name}:${model ?? ''}`
      wrong.push(`${JSON.stringify(name.slice(0, 80))} is of a provider without models of this API`)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      wrong.push(`${JSON.stringify(name.slice(0, 80))} is not usable: ${error.message}`)
    }
    return undefined
  }
  const fallbacks = new Map<string, readonly string[]>()
  for (const [name, list] of Object.entries(value)) {
    const model = resolve(name)
    const names: unknown[] = Array.isArray(list) ? list : []
    if (names.length === 0 || names.length > maximumFallbacks || names.some((other) => typeof other !== 'string')) {
      wrong.push(`${JSON.stringify(name.slice(0, 80))} must have a list of 1 to ${maximumFallbacks} models`)
      continue
    }
    const others = names.map((other) => resolve(other as string)).filter((other) => other !== undefined)
    if (model !== undefined && fallbacks.has(model)) wrong.push(`${JSON.stringify(model)} is there twice`)
    if (model !== undefined) fallbacks.set(model, others)
  }
  if (wrong.length > 0) throw new TypeError(wrong.join('; '))
  return fallbacks
}
