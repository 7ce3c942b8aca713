import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { parseModelBody, requireText } from './json-request.js'
import { missingParameter, unsupported } from './request-error.js'
import { spokenWords, splitWords } from './words.js'

const sampleRate = 8000
/** 20 ms for each word. */
const samplesPerWord = 160
const toneHz = 400

/** `POST /v1/audio/speech`: a short tone for each word, streamed: mono, 16 bits, 8 kHz. */
export function speech(request: EmulatorRequest): EmulatorResponse {
  const body = parseModelBody(request.body)
  const text = requireText(body, 'input')
  if (body['voice'] === undefined) throw missingParameter('voice')
  const format = body['response_format'] ?? 'wav'
  if (format !== 'wav' && format !== 'pcm') throw unsupported('response_format', 'it speaks "wav" and "pcm"')
  if ((body['stream_format'] ?? 'audio') !== 'audio') throw unsupported('stream_format', 'it streams bytes')
  return {
    status: 200,
    headers: { 'content-type': format === 'wav' ? 'audio/wav' : 'audio/pcm' },
    body: format === 'wav' ? wav(text, request.signal) : tones(text, request.signal)
  }
}

async function* wav(text: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield header(2 * samplesPerWord * splitWords(text).length)
  yield* tones(text, signal)
}

async function* tones(text: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const _word of spokenWords(text, signal)) yield tone
  // A sound that ends early is a whole one to whoever plays it.
  signal.throwIfAborted()
}

const tone = Buffer.alloc(2 * samplesPerWord)
for (let sample = 0; sample < samplesPerWord; sample++) {
  tone.writeInt16LE(Math.round(8000 * Math.sin((2 * Math.PI * toneHz * sample) / sampleRate)), 2 * sample)
}

/** RIFF with one `fmt ` and one `data` chunk of this many bytes. */
function header(dataBytes: number): Buffer {
  const bytes = Buffer.alloc(44)
  bytes.write('RIFF', 0, 'latin1')
  bytes.writeUInt32LE(36 + dataBytes, 4)
  bytes.write('WAVEfmt ', 8, 'latin1')
  bytes.writeUInt32LE(16, 16)
  bytes.writeUInt16LE(1, 20) // PCM
  bytes.writeUInt16LE(1, 22) // channels
  bytes.writeUInt32LE(sampleRate, 24)
  bytes.writeUInt32LE(2 * sampleRate, 28)
  bytes.writeUInt16LE(2, 32)
  bytes.writeUInt16LE(16, 34) // bits
  bytes.write('data', 36, 'latin1')
  bytes.writeUInt32LE(dataBytes, 40)
  return bytes
}
