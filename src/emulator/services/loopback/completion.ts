import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { modelName, parseModelBody, requireTexts } from './json-request.js'
import { countWords, doneEvent, event, eventStreamHeaders, newId, secondsNow, spokenWords } from './words.js'

/** `POST /v1/completions`: says each prompt back as a choice of its own, whole or streamed word by word. */
export function completion(request: EmulatorRequest): EmulatorResponse {
  const body = parseModelBody(request.body)
  const prompts = requireTexts(body, 'prompt')
  const head = { id: newId('cmpl-'), object: 'text_completion', created: secondsNow(), model: modelName }
  if (body['stream'] === true) {
    return { status: 200, headers: eventStreamHeaders, body: chunks(head, prompts, request.signal) }
  }
  const words = countWords(prompts.join(' '))
  return {
    status: 200,
    body: {
      ...head,
      choices: prompts.map((text, index) => choice(index, text, 'stop')),
      usage: { prompt_tokens: words, completion_tokens: words, total_tokens: 2 * words }
    }
  }
}

async function* chunks(head: object, prompts: readonly string[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const [index, prompt] of prompts.entries()) {
    for await (const word of spokenWords(prompt, signal)) yield event({ ...head, choices: [choice(index, word, null)] })
    if (signal.aborted) return
    yield event({ ...head, choices: [choice(index, '', 'stop')] })
  }
  yield doneEvent
}

function choice(index: number, text: string, finishReason: 'stop' | null): object {
  return { index, text, logprobs: null, finish_reason: finishReason }
}
