import type { Span } from './json-members.js'
import { Problem } from './problem.js'
import type { Provider, Providers } from './providers.js'

export interface ModelChoice {
  readonly provider: Provider
  /** The model as the provider calls it; `undefined` if the body names none. */
  readonly model: string | undefined
}

/**
 * Chooses the provider by a model's name, as in `openai:gpt-4o-mini` or `openai/gpt-4o-mini`. A
 * model without `:` and `/` goes to the default provider, and so does a body without a model.
 *
 * A prefix that names no provider is an error, because a prompt must not go to the default provider
 * by a typing mistake, with two exceptions: OpenAI's fine-tuned models (`ft:…`), and
 * `organisation/model` where the default provider names its models so.
 */
export function chooseByModel(name: string | undefined, providers: Providers): ModelChoice {
  if (name === undefined) return { provider: providers.default, model: undefined }
  if (name === '' || name.length > 256) {
    throw new Problem('invalid_model', '"model" must be a text of 1 to 256 characters', modelParam)
  }
  const separator = name.search(/[:/]/)
  if (separator === -1) return { provider: providers.default, model: name }
  const prefix = name.slice(0, separator)
  const provider = providers.enabled.get(prefix)
  if (provider === undefined) {
    if (!isPartOfName(prefix, name[separator] ?? '', providers)) throw unknownProvider(name, providers)
    return { provider: providers.default, model: name }
  }
  const model = name.slice(separator + 1)
  if (model === '') {
    throw new Problem('invalid_model', `the model ${quote(name)} has no name behind its provider`, modelParam)
  }
  return { provider, model }
}

/** The text of the member `model` at `span` of a JSON body. */
export function modelAt(body: Buffer, span: Span | undefined): string | undefined {
  if (span === undefined) return undefined
  let model: unknown
  try {
    model = JSON.parse(body.toString('utf8', span.start, span.end))
  } catch {
    throw new Problem('invalid_json', 'the body must be one JSON object')
  }
  if (typeof model !== 'string') {
    throw new Problem('invalid_model', '"model" must be a text of 1 to 256 characters', modelParam)
  }
  return model
}

/** The body with another model; every other byte stays as the caller wrote it. */
export function withModel(body: Buffer, span: Span | undefined, model: string | undefined): Buffer {
  if (span === undefined || model === undefined) return body
  const text = Buffer.from(JSON.stringify(model))
  if (body.subarray(span.start, span.end).equals(text)) return body
  return Buffer.concat([body.subarray(0, span.start), text, body.subarray(span.end)])
}

/** OpenRouter has models of `anthropic` and `openai` too, so a slash says nothing about the router's own providers. */
const isPartOfName = (prefix: string, separator: string, providers: Providers): boolean =>
  separator === ':' ? prefix === 'ft' : providers.default.slashNames

/** Names the member in an error. */
const modelParam = { param: 'model' } as const

function unknownProvider(model: string, providers: Providers): Problem {
  const names = [...providers.enabled.keys()].join(', ')
  return new Problem(
    'unknown_provider',
    `the model ${quote(model)} begins with no provider of this router; write one of ${names}, then ":" and the model`,
    modelParam
  )
}

const quote = (text: string): string => JSON.stringify(text.slice(0, 200))
