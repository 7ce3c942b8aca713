import { isJsonObject, type Json, type JsonObject } from '../../../base/json.js'
import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { modelName, parseModelBody, textOfParts } from './json-request.js'
import { invalidValue, missingParameter } from './request-error.js'
import { responseEvents } from './response-events.js'
import { outputMessage } from './response-message.js'
import { countWords, eventStreamHeaders, newId, secondsNow } from './words.js'

/** `POST /v1/responses`: says the last user message back, whole or streamed word by word. */
export function createResponse(request: EmulatorRequest): EmulatorResponse {
  const body = parseModelBody(request.body)
  const messages = parseInput(body['input'])
  const text = messages.findLast(({ role }) => role === 'user')?.text ?? ''
  const instructions = typeof body['instructions'] === 'string' ? body['instructions'] : null
  const read = [instructions ?? '', ...messages.map((message) => message.text)].join(' ')
  const head = responseHead(body, instructions)
  const message = { id: newId('msg_'), text }
  const usage = usageOf(read, text)
  if (body['stream'] === true) {
    return { status: 200, headers: eventStreamHeaders, body: responseEvents({ head, message, usage }, request.signal) }
  }
  return { status: 200, body: { ...head, status: 'completed', output: [outputMessage(message, 'completed')], usage } }
}

/** A text stands for one user message; of a list, the items that are messages count. */
function parseInput(input: Json | undefined): { role: string; text: string }[] {
  if (input === undefined) throw missingParameter('input')
  if (typeof input === 'string') return [{ role: 'user', text: input }]
  const list: unknown = input
  if (!Array.isArray(list) || list.length === 0) throw invalidValue('input', 'a text or a list of items')
  return (list as unknown[]).flatMap((item, index) => {
    if (!isJsonObject(item)) throw invalidValue(`input[${index}]`, 'an item')
    // Results of tools, references and reasoning have no role.
    if ((item['type'] ?? 'message') !== 'message') return []
    const { role } = item
    const text = textOfParts(item['content'], ['input_text', 'output_text'])
    if (typeof role !== 'string' || text === undefined) throw invalidValue(`input[${index}]`, 'a message')
    return [{ role, text }]
  })
}

/** A response without its state and its result; what the caller asked for is repeated, as OpenAI does. */
function responseHead(body: JsonObject, instructions: string | null): object {
  return {
    id: newId('resp_'),
    object: 'response',
    created_at: secondsNow(),
    background: false,
    error: null,
    incomplete_details: null,
    instructions,
    max_output_tokens: body['max_output_tokens'] ?? null,
    metadata: body['metadata'] ?? {},
    model: modelName,
    parallel_tool_calls: body['parallel_tool_calls'] ?? true,
    previous_response_id: body['previous_response_id'] ?? null,
    reasoning: { effort: null, summary: null },
    // Nothing is kept here, whatever was asked for.
    store: false,
    temperature: body['temperature'] ?? 1,
    text: { format: { type: 'text' } },
    tool_choice: body['tool_choice'] ?? 'auto',
    tools: body['tools'] ?? [],
    top_p: body['top_p'] ?? 1,
    truncation: body['truncation'] ?? 'disabled'
  }
}

function usageOf(read: string, written: string): object {
  const [inputTokens, outputTokens] = [countWords(read), countWords(written)]
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + outputTokens
  }
}
