import type { EmulatorRequest, EmulatorResponse, Handler } from '../../http.js'
import { chatCompletion } from './chat-completion.js'
import { completion } from './completion.js'
import { embedding } from './embedding.js'
import { Files } from './files.js'
import { imageGeneration } from './image.js'
import { modelName } from './json-request.js'
import { moderation } from './moderation.js'
import { RequestError } from './request-error.js'
import { createResponse } from './response.js'
import { speech } from './speech.js'
import { transcription } from './transcription.js'

/**
 * A provider with OpenAI's API and no model behind it, so that a local deployment answers without an
 * account: `echo` says back what it is told. Each answer is of OpenAI's shape, and what it does not
 * have is an error.
 */
export function loopbackHandler(): Handler {
  const files = new Files()
  return async (request) => {
    try {
      const operation = operations[`${request.method} ${request.path}`]
      const answer = operation === undefined ? await files.answer(request) : await operation(request)
      if (answer !== undefined) return answer
      throw new RequestError(404, `Unknown request URL: ${request.method} ${request.path}.`, null, 'unknown_url')
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      const { status, message, param, code } = error
      return { status, body: { error: { message, type: 'invalid_request_error', param, code } } }
    }
  }
}

const model = { id: modelName, object: 'model', created: 1_735_689_600, owned_by: 'loopback' } as const

type Operation = (request: EmulatorRequest) => EmulatorResponse | Promise<EmulatorResponse>

const operations: Readonly<Record<string, Operation>> = {
  'GET /v1/models': () => ({ status: 200, body: { object: 'list', data: [model] } }),
  [`GET /v1/models/${modelName}`]: () => ({ status: 200, body: model }),
  'POST /v1/chat/completions': chatCompletion,
  'POST /v1/completions': completion,
  'POST /v1/responses': createResponse,
  'POST /v1/embeddings': embedding,
  'POST /v1/moderations': moderation,
  'POST /v1/images/generations': imageGeneration,
  'POST /v1/audio/speech': speech,
  'POST /v1/audio/transcriptions': transcription,
  'POST /v1/audio/translations': transcription
}
