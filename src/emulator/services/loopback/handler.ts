import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { utf8 } from '../../../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../../../base/json.js'
import { type EmulatorRequest, type EmulatorResponse, type Handler } from '../../http.js'

/** The pause between two streamed words, so that a client that waits for the whole answer shows. */
const wordDelayMs = 10

/**
 * A provider with OpenAI's API and no model behind it, so that a local deployment answers without an
 * account: `echo` says the last user message back, whole or streamed word by word.
 */
export function loopbackHandler(): Handler {
  return async (request) => {
    try {
      switch (`${request.method} ${request.path}`) {
        case 'POST /v1/chat/completions':
          return chatCompletion(request)
        case 'GET /v1/models':
          return { status: 200, body: { object: 'list', data: [model] } }
        case 'GET /v1/models/echo':
          return { status: 200, body: model }
        default:
          throw new RequestError(404, `Unknown request URL: ${request.method} ${request.path}.`, null, 'unknown_url')
      }
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      const { status, message, param, code } = error
      return { status, body: { error: { message, type: 'invalid_request_error', param, code } } }
    }
  }
}

const model = { id: 'echo', object: 'model', created: 1_735_689_600, owned_by: 'loopback' } as const

class RequestError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null,
    readonly code: string | null
  ) {
    super(message)
  }
}

interface Completion {
  readonly id: string
  readonly created: number
  readonly text: string
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number }
}

function chatCompletion(request: EmulatorRequest): EmulatorResponse {
  const body = parseBody(request.body)
  if (body['model'] !== 'echo') {
    throw new RequestError(404, 'The model does not exist; this provider has "echo".', 'model', 'model_not_found')
  }
  const messages = parseMessages(body['messages'])
  const text = messages.findLast(({ role }) => role === 'user')?.text ?? ''
  const completion: Completion = {
    id: `chatcmpl-${randomUUID().replaceAll('-', '')}`,
    created: Math.floor(Date.now() / 1000),
    text,
    usage: usageOf(messages.map((message) => message.text).join(' '), text)
  }
  if (body['stream'] === true) {
    const options = body['stream_options']
    const withUsage = isJsonObject(options) && options['include_usage'] === true
    return {
      status: 200,
      headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
      body: eventStream(completion, withUsage, request.signal)
    }
  }
  return { status: 200, body: wholeCompletion(completion) }
}

function parseBody(bytes: Uint8Array): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(bytes))
  } catch {
    throw new RequestError(400, 'We could not parse the JSON body of your request.', null, null)
  }
  if (!isJsonObject(value)) throw new RequestError(400, 'The body of the request must be a JSON object.', null, null)
  return value
}

function parseMessages(value: Json | undefined): { role: string; text: string }[] {
  const list: unknown = value
  if (!Array.isArray(list) || list.length === 0) {
    throw new RequestError(400, "Missing required parameter: 'messages'.", 'messages', 'missing_required_parameter')
  }
  return (list as unknown[]).map((message, index) => {
    const role = isJsonObject(message) ? message['role'] : undefined
    const text = isJsonObject(message) ? textOf(message['content']) : undefined
    if (typeof role !== 'string' || text === undefined) {
      throw new RequestError(400, `Invalid value for 'messages[${index}]'.`, `messages[${index}]`, 'invalid_value')
    }
    return { role, text }
  })
}

/** A text, or a list of parts of which the text parts count; an assistant's tool call has none. */
function textOf(content: Json | undefined): string | undefined {
  if (typeof content === 'string') return content
  if (content === null || content === undefined) return ''
  if (!Array.isArray(content)) return undefined
  return (content as Json[])
    .map((part) =>
      isJsonObject(part) && part['type'] === 'text' && typeof part['text'] === 'string' ? part['text'] : ''
    )
    .join('')
}

function wholeCompletion({ id, created, text, usage }: Completion): object {
  return {
    id,
    object: 'chat.completion',
    created,
    model: 'echo',
    choices: [
      { index: 0, message: { role: 'assistant', content: text, refusal: null }, logprobs: null, finish_reason: 'stop' }
    ],
    usage
  }
}

async function* eventStream(
  completion: Completion,
  withUsage: boolean,
  signal: AbortSignal
): AsyncGenerator<Uint8Array> {
  const { id, created, text, usage } = completion
  const head = { id, object: 'chat.completion.chunk', created, model: 'echo' }
  const chunk = (delta: object, finishReason: 'stop' | null): Uint8Array =>
    event({
      ...head,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
      ...(withUsage ? { usage: null } : {})
    })
  yield chunk({ role: 'assistant', content: '' }, null)
  for (const word of text.match(/\s*\S+|\s+$/g) ?? []) {
    await setTimeout(wordDelayMs)
    if (signal.aborted) return
    yield chunk({ content: word }, null)
  }
  yield chunk({}, 'stop')
  if (withUsage) yield event({ ...head, choices: [], usage })
  yield utf8.encode('data: [DONE]\n\n')
}

function event(data: object): Uint8Array {
  return utf8.encode(`data: ${JSON.stringify(data)}\n\n`)
}

/** Words stand for tokens: nothing here has a tokenizer. */
function usageOf(prompt: string, answer: string): Completion['usage'] {
  const count = (text: string): number => text.match(/\S+/g)?.length ?? 0
  const [promptTokens, completionTokens] = [count(prompt), count(answer)]
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens
  }
}
