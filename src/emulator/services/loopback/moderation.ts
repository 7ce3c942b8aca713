import { isJsonObject, type Json } from '../../../base/json.js'
import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { modelName, parseBody, requireModel, textOfParts } from './json-request.js'
import { invalidValue, missingParameter } from './request-error.js'
import { newId } from './words.js'

const categories = [
  'harassment',
  'harassment/threatening',
  'hate',
  'hate/threatening',
  'illicit',
  'illicit/violent',
  'self-harm',
  'self-harm/instructions',
  'self-harm/intent',
  'sexual',
  'sexual/minors',
  'violence',
  'violence/graphic'
] as const

/** `POST /v1/moderations`: a text is flagged in the categories whose names it contains, and in no others. */
export function moderation(request: EmulatorRequest): EmulatorResponse {
  const body = parseBody(request.body)
  if (body['model'] !== undefined) requireModel(body['model'])
  const texts = parseInput(body['input'])
  return { status: 200, body: { id: newId('modr-'), model: modelName, results: texts.map(judge) } }
}

/** A list of texts has one result each, a list of parts one result together. */
function parseInput(input: Json | undefined): readonly string[] {
  if (input === undefined) throw missingParameter('input')
  if (typeof input === 'string') return [input]
  const list: readonly unknown[] = Array.isArray(input) ? input : []
  if (list.length > 0 && list.every((item) => typeof item === 'string')) return list
  const parts = list.length > 0 && list.every(isJsonObject) ? textOfParts(list, ['text']) : undefined
  if (parts === undefined) throw invalidValue('input', 'a text, a list of texts or a list of parts')
  return [parts]
}

function judge(text: string): object {
  const found = (category: string) => text.toLowerCase().includes(category)
  const perCategory = <T>(value: (category: string) => T) =>
    Object.fromEntries(categories.map((category) => [category, value(category)]))
  return {
    flagged: categories.some(found),
    categories: perCategory(found),
    category_scores: perCategory((category) => (found(category) ? 1 : 0)),
    category_applied_input_types: perCategory(() => ['text'])
  }
}
