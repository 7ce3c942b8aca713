import { createHash } from 'node:crypto'
import { encodeBase64 } from '../../../base/encoding.js'
import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { modelName, optionalWhole, parseModelBody, requireTexts } from './json-request.js'
import { invalidValue } from './request-error.js'
import { countWords } from './words.js'

const usualDimensions = 8
const maxDimensions = 3072

/** `POST /v1/embeddings`: a vector of length 1 that depends on the text alone. It says nothing about the meaning. */
export function embedding(request: EmulatorRequest): EmulatorResponse {
  const body = parseModelBody(request.body)
  const texts = requireTexts(body, 'input')
  const dimensions = optionalWhole(body, 'dimensions', usualDimensions, maxDimensions)
  const format = body['encoding_format'] ?? 'float'
  if (format !== 'float' && format !== 'base64') throw invalidValue('encoding_format', '"float" or "base64"')
  const words = countWords(texts.join(' '))
  return {
    status: 200,
    body: {
      object: 'list',
      data: texts.map((text, index) => {
        const vector = vectorOf(text, dimensions)
        return { object: 'embedding', index, embedding: format === 'float' ? vector : float32(vector) }
      }),
      model: modelName,
      usage: { prompt_tokens: words, total_tokens: words }
    }
  }
}

function vectorOf(text: string, dimensions: number): readonly number[] {
  const numbers: number[] = []
  for (let block = 0; numbers.length < dimensions; block++) {
    const digest = createHash('sha256').update(`${block}\n${text}`).digest()
    for (let offset = 0; offset < digest.length && numbers.length < dimensions; offset += 4) {
      // Never zero, so that no vector is.
      numbers.push((digest.readInt32LE(offset) + 0.5) / 2 ** 31)
    }
  }
  const length = Math.hypot(...numbers)
  return numbers.map((number) => Math.fround(number / length))
}

/** Little-endian, as OpenAI's clients read it. */
function float32(vector: readonly number[]): string {
  const bytes = Buffer.alloc(4 * vector.length)
  vector.forEach((number, index) => bytes.writeFloatLE(number, 4 * index))
  return encodeBase64(bytes)
}
