import { utf8 } from '../../../base/encoding.js'
import { type Message, outputMessage, outputText } from './response-message.js'
import { spokenWords } from './words.js'

/**
 * The events of a streamed response with one message, in OpenAI's order. Each is named, has its number,
 * and there is no `[DONE]`: the last one has the whole response.
 */
export async function* responseEvents(
  { head, message, usage }: { readonly head: object; readonly message: Message; readonly usage: object },
  signal: AbortSignal
): AsyncGenerator<Uint8Array> {
  let sequenceNumber = 0
  const event = (type: string, data: object): Uint8Array =>
    utf8.encode(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequenceNumber++, ...data })}\n\n`)
  const started = { ...head, status: 'in_progress', output: [], usage: null }
  const item = { output_index: 0 }
  const part = { item_id: message.id, output_index: 0, content_index: 0 }

  yield event('response.created', { response: started })
  yield event('response.in_progress', { response: started })
  yield event('response.output_item.added', { ...item, item: outputMessage(message, 'in_progress') })
  yield event('response.content_part.added', { ...part, part: outputText('') })
  for await (const delta of spokenWords(message.text, signal)) {
    yield event('response.output_text.delta', { ...part, delta, logprobs: [] })
  }
  if (signal.aborted) return
  yield event('response.output_text.done', { ...part, text: message.text, logprobs: [] })
  yield event('response.content_part.done', { ...part, part: outputText(message.text) })
  const whole = outputMessage(message, 'completed')
  yield event('response.output_item.done', { ...item, item: whole })
  yield event('response.completed', { response: { ...head, status: 'completed', output: [whole], usage } })
}
