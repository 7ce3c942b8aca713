import { isJsonObject, type Json } from '../../../base/json.js'
import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { modelName, parseModelBody, textOfParts } from './json-request.js'
import { invalidValue, missingParameter } from './request-error.js'
import { countWords, doneEvent, event, eventStreamHeaders, newId, secondsNow, spokenWords } from './words.js'

interface Completion {
  readonly id: string
  readonly created: number
  readonly text: string
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number }
}

/** `POST /v1/chat/completions`: says the last user message back, whole or streamed word by word. */
export function chatCompletion(request: EmulatorRequest): EmulatorResponse {
  const body = parseModelBody(request.body)
  const messages = parseMessages(body['messages'])
  const text = messages.findLast(({ role }) => role === 'user')?.text ?? ''
  const completion: Completion = {
    id: newId('chatcmpl-'),
    created: secondsNow(),
    text,
    usage: usageOf(messages.map((message) => message.text).join(' '), text)
  }
  if (body['stream'] === true) {
    const options = body['stream_options']
    const withUsage = isJsonObject(options) && options['include_usage'] === true
    return { status: 200, headers: eventStreamHeaders, body: chunks(completion, withUsage, request.signal) }
  }
  return { status: 200, body: wholeCompletion(completion) }
}

function parseMessages(value: Json | undefined): { role: string; text: string }[] {
  const list: unknown = value
  if (!Array.isArray(list) || list.length === 0) throw missingParameter('messages')
  return (list as unknown[]).map((message, index) => {
    const role = isJsonObject(message) ? message['role'] : undefined
    // An assistant's tool call has no content.
    const text = isJsonObject(message) ? textOfParts(message['content'], ['text']) : undefined
    if (typeof role !== 'string' || text === undefined) throw invalidValue(`messages[${index}]`)
    return { role, text }
  })
}

function wholeCompletion({ id, created, text, usage }: Completion): object {
  return {
    id,
    object: 'chat.completion',
    created,
    model: modelName,
    choices: [
      { index: 0, message: { role: 'assistant', content: text, refusal: null }, logprobs: null, finish_reason: 'stop' }
    ],
    usage
  }
}

async function* chunks(completion: Completion, withUsage: boolean, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { id, created, text, usage } = completion
  const head = { id, object: 'chat.completion.chunk', created, model: modelName }
  const chunk = (delta: object, finishReason: 'stop' | null): Uint8Array =>
    event({
      ...head,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
      ...(withUsage ? { usage: null } : {})
    })
  yield chunk({ role: 'assistant', content: '' }, null)
  for await (const word of spokenWords(text, signal)) yield chunk({ content: word }, null)
  if (signal.aborted) return
  yield chunk({}, 'stop')
  if (withUsage) yield event({ ...head, choices: [], usage })
  yield doneEvent
}

function usageOf(prompt: string, answer: string): Completion['usage'] {
  const [promptTokens, completionTokens] = [countWords(prompt), countWords(answer)]
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens
  }
}
