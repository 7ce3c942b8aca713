import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { crc32, inflateSync } from 'node:zlib'
import { toFile } from 'openai'
import { openProvider, refusalOf, type TestProvider } from './provider.js'

let provider: TestProvider

beforeAll(async () => {
  provider = await openProvider()
})
afterAll(() => provider.close())

/** Chunks of a PNG by type; fails where a check sum is wrong. */
function pngChunks(png: Buffer): Map<string, Buffer> {
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  const chunks = new Map<string, Buffer>()
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at)
    const type = png.toString('latin1', at + 4, at + 8)
    const data = png.subarray(at + 8, at + 8 + length)
    expect(png.readUInt32BE(at + 8 + length)).toBe(crc32(png.subarray(at + 4, at + 8 + length)))
    chunks.set(type, data)
    at += 12 + length
  }
  return chunks
}

describe('images of the loopback provider', () => {
  it('are valid PNGs of one pixel', async () => {
    const { data } = await provider.client.images.generate({ model: 'echo', prompt: 'a cat', n: 2 })
    expect(data).toHaveLength(2)
    const chunks = pngChunks(Buffer.from(data![0]!.b64_json!, 'base64'))
    expect([...chunks.keys()]).toEqual(['IHDR', 'IDAT', 'IEND'])
    expect(chunks.get('IHDR')!.readUInt32BE(0)).toBe(1)
    expect([...inflateSync(chunks.get('IDAT')!)]).toEqual([0, 255])
  })

  it.each([
    ['no prompt', {}, [400, 'missing_required_parameter', 'prompt']],
    ['too many', { prompt: 'a', n: 11 }, [400, 'invalid_value', 'n']],
    ['a link', { prompt: 'a', response_format: 'url' }, [400, 'unsupported_value', 'response_format']],
    ['another format', { prompt: 'a', output_format: 'webp' }, [400, 'unsupported_value', 'output_format']]
  ])('are refused for %s', async (_name, body, expected) => {
    const refused = provider.client.images.generate({ model: 'echo', ...body } as never)
    expect(await refusalOf(refused)).toEqual(expected)
  })
})

describe('speech of the loopback provider', () => {
  const speak = (more: object = {}) =>
    provider.client.audio.speech.create({ model: 'echo', voice: 'echo', input: 'one two three', ...more })

  it('is a WAV whose header says its length', async () => {
    const response = await speak()
    const wav = Buffer.from(await response.arrayBuffer())
    expect(response.headers.get('content-type')).toBe('audio/wav')
    expect([wav.toString('latin1', 0, 4), wav.toString('latin1', 8, 16)]).toEqual(['RIFF', 'WAVEfmt '])
    expect([wav.readUInt32LE(4), wav.readUInt32LE(40)]).toEqual([wav.length - 8, wav.length - 44])
    expect(wav.length).toBe(44 + 3 * 320)
  })

  it('is the same without a header as pcm', async () => {
    const [wav, pcm] = await Promise.all([speak(), speak({ response_format: 'pcm' })])
    expect(Buffer.from(await pcm.arrayBuffer())).toEqual(Buffer.from(await wav.arrayBuffer()).subarray(44))
  })

  it.each([
    [{ response_format: 'mp3' }, 'unsupported_value'],
    [{ stream_format: 'sse' }, 'unsupported_value'],
    [{ input: undefined }, 'missing_required_parameter'],
    [{ voice: undefined }, 'missing_required_parameter']
  ])('is refused for %j', async (more, code) => {
    expect((await refusalOf(speak(more)))[1]).toBe(code)
  })
})

describe('transcriptions of the loopback provider', () => {
  const file = () => toFile(Buffer.alloc(1234), 'späch.wav')

  it('say the name and the size of the file', async () => {
    const { audio } = provider.client
    expect(await audio.transcriptions.create({ model: 'echo', file: await file() })).toEqual({
      text: 'späch.wav 1234 bytes'
    })
    expect(await audio.translations.create({ model: 'echo', file: await file() })).toEqual({
      text: 'späch.wav 1234 bytes'
    })
  })

  it('come as text and as a stream', async () => {
    const { transcriptions } = provider.client.audio
    expect(await transcriptions.create({ model: 'echo', file: await file(), response_format: 'text' })).toBe(
      'späch.wav 1234 bytes\n'
    )
    const stream = await transcriptions.create({ model: 'echo', file: await file(), stream: true })
    const events: unknown[] = []
    for await (const event of stream) events.push(event)
    expect(events).toHaveLength(4)
    expect(events.at(-1)).toEqual({ type: 'transcript.text.done', text: 'späch.wav 1234 bytes' })
  })

  it('are refused without a file, for another model and in another format', async () => {
    const { transcriptions } = provider.client.audio
    expect(await refusalOf(transcriptions.create({ model: 'whisper-1', file: await file() }))).toEqual([
      404,
      'model_not_found',
      'model'
    ])
    const format = transcriptions.create({ model: 'echo', file: await file(), response_format: 'srt' })
    expect((await refusalOf(format))[1]).toBe('unsupported_value')
    const post = async (body: BodyInit, headers: Record<string, string> = {}) => {
      const response = await fetch(`${provider.url}/audio/transcriptions`, { method: 'POST', body, headers })
      return [response.status, ((await response.json()) as { error: { message: string } }).error.message]
    }
    const form = new FormData()
    form.set('model', 'echo')
    expect(await post(form)).toEqual([400, "Missing required parameter: 'file'."])
    expect(await post('{}', { 'content-type': 'application/json' })).toEqual([
      400,
      expect.stringContaining('multipart')
    ])
    expect(await post('x', { 'content-type': 'multipart/form-data; boundary=b' })).toEqual([
      400,
      'We could not parse the multipart body of your request.'
    ])
  })
})
