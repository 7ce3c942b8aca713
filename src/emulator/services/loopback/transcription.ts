import { utf8 } from '../../../base/encoding.js'
import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { parseForm } from './form.js'
import { requireModel } from './json-request.js'
import { unsupported } from './request-error.js'
import { event, eventStreamHeaders, spokenWords } from './words.js'

/**
 * `POST /v1/audio/transcriptions` and `/v1/audio/translations`: hears no words, and says which file it
 * got: its name and its size in bytes.
 */
export async function transcription(request: EmulatorRequest): Promise<EmulatorResponse> {
  const form = await parseForm(request)
  requireModel(form.text('model'))
  const { name, bytes } = form.requireFile('file')
  const text = `${name} ${bytes.length} bytes`
  const format = form.text('response_format') ?? 'json'
  if (format !== 'json' && format !== 'text') throw unsupported('response_format', 'it writes "json" and "text"')
  if (form.text('stream') === 'true') {
    return { status: 200, headers: eventStreamHeaders, body: events(text, request.signal) }
  }
  if (format === 'json') return { status: 200, body: { text } }
  return { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: utf8.encode(`${text}\n`) }
}

async function* events(text: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const delta of spokenWords(text, signal)) yield event({ type: 'transcript.text.delta', delta })
  if (!signal.aborted) yield event({ type: 'transcript.text.done', text })
}
