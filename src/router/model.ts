import type { Span } from './json-members.js'
import { Problem } from './problem.js'
import type { Provider, Providers } from './providers.js'

export interface ModelChoice {
  readonly provider: Provider
  /** The body with the provider's prefix taken out of `model`. */
  readonly body: Buffer
}

/**
 * Chooses the provider by the `model` at `span`, as in `openai:gpt-4o-mini` or
 * `openai/gpt-4o-mini`. A model without `:` and `/` goes to the default provider, and so does a body
 * without a model. A prefix that names no provider is an error: a prompt must not go to the default
 * provider because of a typing mistake.
 */
export function chooseByModel(body: Buffer, span: Span | undefined, providers: Providers): ModelChoice {
  if (span === undefined) return { provider: providers.default, body }
  const model = parseModel(body.toString('utf8', span.start, span.end))
  const separator = model.search(/[:/]/)
  if (separator === -1) return { provider: providers.default, body }
  const provider = providers.enabled.get(model.slice(0, separator))
  if (provider === undefined) throw unknownProvider(model, providers)
  const inner = model.slice(separator + 1)
  if (inner === '')
    throw new Problem('invalid_model', `the model ${quote(model)} has no name behind its provider`, modelParam)
  return {
    provider,
    body: Buffer.concat([body.subarray(0, span.start), Buffer.from(JSON.stringify(inner)), body.subarray(span.end)])
  }
}

/** Names the member in an error. */
const modelParam = { param: 'model' } as const

function parseModel(text: string): string {
  let model: unknown
  try {
    model = JSON.parse(text)
  } catch {
    throw new Problem('invalid_json', 'the body must be one JSON object')
  }
  if (typeof model !== 'string' || model === '' || model.length > 256) {
    throw new Problem('invalid_model', '"model" must be a text of 1 to 256 characters', modelParam)
  }
  return model
}

function unknownProvider(model: string, providers: Providers): Problem {
  const names = [...providers.enabled.keys()].join(', ')
  return new Problem(
    'unknown_provider',
    `the model ${quote(model)} begins with no provider of this router; write one of ${names}, then ":" and the model`,
    modelParam
  )
}

const quote = (text: string): string => JSON.stringify(text.slice(0, 200))
