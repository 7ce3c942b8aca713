import { utf8 } from '../../../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../../../base/json.js'
import { invalidValue, missingParameter, RequestError } from './request-error.js'

/** The one model. */
export const modelName = 'echo'

export function parseBody(bytes: Uint8Array): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(bytes))
  } catch {
    throw new RequestError(400, 'We could not parse the JSON body of your request.', null, null)
  }
  if (!isJsonObject(value)) throw new RequestError(400, 'The body of the request must be a JSON object.', null, null)
  return value
}

/** Like {@link parseBody}, for the operations that need a model. */
export function parseModelBody(bytes: Uint8Array): JsonObject {
  const body = parseBody(bytes)
  requireModel(body['model'])
  return body
}

export function requireModel(model: Json | undefined): void {
  if (model === modelName) return
  throw new RequestError(404, `The model does not exist; this provider has "${modelName}".`, 'model', 'model_not_found')
}

export function requireText(body: JsonObject, name: string): string {
  const value = body[name]
  if (value === undefined) throw missingParameter(name)
  if (typeof value !== 'string') throw invalidValue(name, 'a text')
  return value
}

/** One text or a list of them, at most 2048 as OpenAI has it. */
export function requireTexts(body: JsonObject, name: string): readonly string[] {
  const value: unknown = body[name]
  if (value === undefined) throw missingParameter(name)
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0 || list.length > 2048 || !list.every((item) => typeof item === 'string')) {
    throw invalidValue(name, 'a text or a list of 1 to 2048 texts (tokens have no words here)')
  }
  return list
}

export function optionalWhole(body: JsonObject, name: string, usual: number, max: number): number {
  const value = body[name] ?? usual
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value
  throw invalidValue(name, `a whole number from 1 to ${max}`)
}

/** A text, or a list of parts of which those with one of these types count; what is absent has no text. */
export function textOfParts(content: Json | undefined, types: readonly string[]): string | undefined {
  if (typeof content === 'string') return content
  if (content === null || content === undefined) return ''
  if (!Array.isArray(content)) return undefined
  return (content as Json[])
    .map((part) => {
      const isText = isJsonObject(part) && types.some((type) => part['type'] === type)
      return isText && typeof part['text'] === 'string' ? part['text'] : ''
    })
    .join('')
}
