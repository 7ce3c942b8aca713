import { once } from 'node:events'
import type { IncomingMessage, RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { Agent } from 'undici'
import { LimitedBody } from '../../../src/router/body.js'
import { ModelScanner } from '../../../src/router/model-scanner.js'
import { parseBoundary, type RoutedForm, routeMultipart } from '../../../src/router/multipart.js'
import { Problem } from '../../../src/router/problem.js'
import { generator, pick } from '../policy/random.js'
import { Cleanup, readAll, serve, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** As long as the ones that Node makes, which does not read shorter ones. */
const boundary = '----formdata-test-0123456789'
const contentType = `multipart/form-data; boundary=${boundary}`

interface Part {
  readonly headers: string
  readonly content: string | Buffer
}

const named = (name: string, content: string | Buffer, more = ''): Part => ({
  headers: `Content-Disposition: form-data; name="${name}"${more}`,
  content
})

const model = named('model', 'openai:whisper-1')
const file = named('file', 'RIFF\0\r\n\r\n--\r\n--x', '; filename="a.wav"\r\nContent-Type: audio/wav')

function formOf(...parts: readonly Part[]): Buffer {
  const pieces = parts.flatMap(({ headers, content }) => [
    Buffer.from(`--${boundary}\r\n${headers}\r\n\r\n`),
    Buffer.from(content),
    Buffer.from('\r\n')
  ])
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
}

/** Of this process: others may be busy on the machine. */
function cpuMs(act: () => void): number {
  const before = process.cpuUsage()
  act()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/** For `fetch` and `Response`, which do not take every kind of `Buffer`. */
const sendable = (bytes: Buffer): Uint8Array<ArrayBuffer> => new Uint8Array(bytes)

async function bodyOf(form: FormData): Promise<{ type: string; bytes: Buffer }> {
  const request = new Response(form)
  return { type: request.headers.get('content-type') ?? '', bytes: Buffer.from(await request.arrayBuffer()) }
}

function* inPieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function scan(chunks: Iterable<Uint8Array>, ofBoundary = boundary): ModelScanner {
  const scanner = new ModelScanner(ofBoundary)
  for (const chunk of chunks) scanner.push(chunk)
  scanner.end()
  return scanner
}

/** The model, after a look at whether every way of cutting the body up gives the same. */
function modelIn(bytes: Buffer, ofBoundary = boundary): string | undefined {
  const found = scan([bytes], ofBoundary).model
  for (const size of [1, 2, 3, 7, 30, 64]) expect(scan(inPieces(bytes, size), ofBoundary).model).toEqual(found)
  if (found !== undefined) expect(bytes.toString('utf8', found.start, found.end)).toBe(found.value)
  return found?.value
}

function refusalOf(bytes: Buffer, ofBoundary = boundary): Problem {
  const problems = [bytes.length, 1, 2, 5, 33].map((size) => {
    try {
      scan(inPieces(bytes, size), ofBoundary)
    } catch (error) {
      if (error instanceof Problem) return error
      throw error
    }
    throw new Error('it was accepted')
  })
  const [whole] = problems
  for (const problem of problems) expect(problem.toJSON()).toEqual(whole?.toJSON())
  return whole as Problem
}

describe('parseBoundary', () => {
  it.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['Multipart/Form-Data;BOUNDARY="abc"', 'abc'],
    ['multipart/form-data ; \tboundary="a\'()+_,-./:=?z"', "a'()+_,-./:=?z"],
    ['multipart/form-data; charset=UTF-8; boundary=a', 'a'],
    ['multipart/form-data; boundary=a; charset="utf-8"', 'a'],
    [`multipart/form-data; boundary=${'x'.repeat(70)}`, 'x'.repeat(70)]
  ])('reads %s', (type, expected) => {
    expect(parseBoundary(type)).toBe(expected)
  })

  it.each(['', 'multipart/form-data2; boundary=a', 'multipart/mixed; boundary=a', 'application/json', 'multipart'])(
    'refuses another type: %s',
    (type) => {
      expect(() => parseBoundary(type)).toThrow(expect.objectContaining({ code: 'unsupported_media_type' }))
    }
  )

  it.each([
    ['none', 'multipart/form-data'],
    ['none behind the semicolon', 'multipart/form-data;'],
    ['an empty one', 'multipart/form-data; boundary='],
    ['an empty one in quotes', 'multipart/form-data; boundary=""'],
    ['71 characters', `multipart/form-data; boundary=${'x'.repeat(71)}`],
    ['two', 'multipart/form-data; boundary=a; boundary=b'],
    ['two in other cases', 'multipart/form-data; boundary=a; Boundary=a'],
    ['one inside another parameter', 'multipart/form-data; x="; boundary=b"; boundary=a'],
    ['another charset', 'multipart/form-data; charset=utf-16; boundary=a'],
    ['an extended one', "multipart/form-data; boundary*=utf-8''a"],
    ['a continued one', 'multipart/form-data; boundary*0=a; boundary*1=b'],
    ['a blank in it', 'multipart/form-data; boundary="a b"'],
    ['a blank at its end', 'multipart/form-data; boundary="a "'],
    ['a backslash', 'multipart/form-data; boundary="a\\b"'],
    ['an open quote', 'multipart/form-data; boundary="a'],
    ['a quote in the middle', 'multipart/form-data; boundary=a"b"'],
    ['characters that need quotes', 'multipart/form-data; boundary=a=b'],
    ['characters of no boundary', 'multipart/form-data; boundary=a*b'],
    ['a blank before the equals sign', 'multipart/form-data; boundary =a'],
    ['an empty parameter', 'multipart/form-data; boundary=a;'],
    ['text behind it', 'multipart/form-data; boundary=a b'],
    ['a line end', 'multipart/form-data; boundary="a\n"'],
    ['something that is not ASCII', 'multipart/form-data; boundary="ä"']
  ])('refuses %s', (_, type) => {
    expect(() => parseBoundary(type)).toThrow(expect.objectContaining({ code: 'invalid_multipart' }))
  })

  it('refuses a long header in little time', () => {
    const texts = [' '.repeat(1e5), '; a="'.repeat(2e4), `; a="${'\\'.repeat(1e5)}`, ';'.repeat(1e5)]
    const spent = cpuMs(() => {
      for (const text of texts) expect(() => parseBoundary(`multipart/form-data${text}`)).toThrow(Problem)
    })
    expect(spent).toBeLessThan(500)
  })
})

describe('ModelScanner', () => {
  it('finds the model in bodies of FormData, before and behind a file', async () => {
    for (const order of [
      ['model', 'file'],
      ['file', 'model']
    ]) {
      const form = new FormData()
      form.append('language', 'ä\r\n--')
      for (const name of order) {
        if (name === 'model') form.append('model', 'openai:whisper-1')
        else form.append('file', new Blob([Buffer.alloc(3000, '\r\n--')]), 'a "quoted"; \\ ä.wav')
      }
      form.append('timestamp_granularities[]', 'word')
      form.append('timestamp_granularities[]', 'segment')
      const { type, bytes } = await bodyOf(form)
      expect(modelIn(bytes, parseBoundary(type))).toBe('openai:whisper-1')
    }
  })

  it('finds the model in what the OpenAI SDK sends', async () => {
    const bodies: { type: string; bytes: Buffer }[] = []
    const client = new OpenAI({
      apiKey: 'none',
      fetch: async (url, init) => {
        // The SDK asks which `Response` this `fetch` gives.
        if (url === 'data:,') return new Response()
        bodies.push(await bodyOf(init?.body as FormData))
        return Response.json({ text: '' })
      }
    })
    const image = await toFile(Buffer.alloc(5000, '\r'), 'a.png', { type: 'image/png' })
    await client.audio.transcriptions.create({ file: image, model: 'groq:whisper', timestamp_granularities: ['word'] })
    await client.images.edit({ image: [image, image], prompt: 'ä\n', model: 'openai/gpt-image-1' })
    const found = bodies.map(({ type, bytes }) => modelIn(bytes, parseBoundary(type)))
    expect(found).toEqual(['groq:whisper', 'openai/gpt-image-1'])
  })

  it('finds the same in a body that is cut at any two places', () => {
    const bytes = formOf(named('n', '\r\n-'), model)
    const whole = scan([bytes]).model
    expect(whole).toMatchObject({ value: 'openai:whisper-1', start: bytes.indexOf('openai:') })
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const chunks = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]
        const { value, start } = scan(chunks).model ?? {}
        if (value !== whole?.value || start !== whole?.start) throw new Error(`cut at ${first} and ${second}`)
      }
    }
  })

  it('knows the model before the body ends', () => {
    const bytes = formOf(model, file)
    const scanner = new ModelScanner(boundary)
    const known = bytes.indexOf(boundary, 10) + boundary.length
    scanner.push(bytes.subarray(0, known - 1))
    expect(scanner.model).toBeUndefined()
    scanner.push(bytes.subarray(known - 1, known))
    expect(scanner.model?.value).toBe('openai:whisper-1')
    scanner.push(bytes.subarray(known, -4))
    expect(scanner.closed).toBe(false)
    scanner.push(bytes.subarray(-4, -2))
    expect(scanner.closed).toBe(true)
  })

  it.each([
    ['no parts', Buffer.from(`--${boundary}--`), undefined],
    ['no model', formOf(file, named('models', 'a'), named('x.model', 'b')), undefined],
    ['no CRLF behind the end', formOf(model).subarray(0, -2), 'openai:whisper-1'],
    ['CRLF before the beginning', Buffer.concat([Buffer.from('\r\n'), formOf(model)]), 'openai:whisper-1'],
    ['empty parts', formOf(named('a', ''), model, named('b', '')), 'openai:whisper-1'],
    [
      'beginnings of delimiters',
      formOf(named('a', `\r\n--${boundary.slice(0, -1)}\r\n--\r`), model),
      'openai:whisper-1'
    ],
    ['CRLF at the end of a file', formOf(named('a', '\r\n\r\n'), model), 'openai:whisper-1'],
    ['a model with blanks', formOf(named('model', ' a b ')), ' a b '],
    ['a model that is not ASCII', formOf(named('model', 'ä👋')), 'ä👋'],
    ['a model of 256 bytes', formOf(named('model', 'ä'.repeat(128))), 'ä'.repeat(128)],
    ['1000 parts', formOf(...Array<Part>(999).fill(named('a', '')), model), 'openai:whisper-1'],
    ['headers of 8 KB', formOf(named('a', '', `\r\nx: ${'x'.repeat(8192 - 49)}`), model), 'openai:whisper-1']
  ])('takes a form with %s', (_, bytes, expected) => {
    expect(modelIn(bytes)).toBe(expected)
  })

  it.each([
    ['curl', named('file', 'a', '; filename="a\\"b\\\\.wav"\r\nContent-Type: audio/wav'), model],
    ['httpx', named('file', 'a', '; filename="a%22b.wav"\r\nContent-Type: audio/x-wav'), model],
    [
      '.NET',
      {
        headers: `Content-Disposition: form-data; name=file; filename=a.wav; filename*=utf-8''%C3%A4.wav`,
        content: 'a'
      },
      {
        headers: 'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model',
        content: 'openai:whisper-1'
      }
    ],
    [
      "Apache's HttpClient",
      named('file', 'a', '; filename="a.wav"\r\nContent-Transfer-Encoding: binary'),
      named(
        'model',
        'openai:whisper-1',
        '\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit'
      )
    ],
    [
      'OkHttp',
      named('file', 'a', '; filename="a.wav"\r\nContent-Length: 1'),
      named('model', 'openai:whisper-1', '\r\nContent-Length: 16')
    ],
    [
      'Dart',
      { headers: 'content-disposition: form-data; name="file"; filename="ä.wav"', content: 'a' },
      {
        headers:
          'content-type: text/plain; charset=utf-8\r\ncontent-transfer-encoding: binary\r\ncontent-disposition: form-data; name="model"',
        content: 'openai:whisper-1'
      }
    ],
    [
      'Python',
      named('file', 'a', '; filename="a.wav"\r\nMIME-Version: 1.0'),
      named('model', 'openai:whisper-1', '\r\nMIME-Version: 1.0')
    ]
  ] satisfies [string, Part, Part][])('takes the headers of %s', (_, ofFile, ofModel) => {
    expect(modelIn(formOf(ofFile, ofModel))).toBe('openai:whisper-1')
  })

  const text = formOf(model, file).toString('latin1')
  const changed = (from: string | RegExp, to: string) => {
    const result = text.replace(from, () => to)
    if (result === text) throw new Error('nothing was changed')
    return Buffer.from(result, 'latin1')
  }
  const withHeaders = (headers: string) => formOf({ headers, content: 'a' }, model)

  it.each([
    ['has two models', formOf(model, file, model), 'two parts "model"'],
    [
      'has the same model twice, quoted and not',
      formOf(model, { headers: 'Content-Disposition: form-data; name=model', content: 'openai:whisper-1' }),
      'two parts "model"'
    ],
    ['has a model for who ignores case', formOf(model, named('Model', 'b')), 'some take for "model"'],
    ['has a list of models', formOf(named('model[]', 'b')), 'some take for "model"'],
    ['has a model in a list', formOf(named('MODEL[0]', 'b')), 'some take for "model"'],
    ['has a charset for all parts', formOf(named('_charset_', 'utf-16'), model), 'some take for "model"'],
    ['has a file in place of the model', formOf(named('model', 'a', '; filename="a"')), 'a file in place'],
    ['has an extended file name at the model', formOf(named('model', 'a', "; filename*=utf-8''a")), 'a file in place'],
    [
      'has a model in base64',
      formOf(named('model', 'YQ==', '\r\nContent-Transfer-Encoding: base64')),
      'not plain text'
    ],
    [
      'has a quoted-printable model',
      formOf(named('model', '=41', '\r\nContent-Transfer-Encoding: quoted-printable')),
      'not plain text'
    ],
    ['has a JSON model', formOf(named('model', '"a"', '\r\nContent-Type: application/json')), 'not plain text'],
    [
      'has a model in UTF-7',
      formOf(named('model', 'a', '\r\nContent-Type: text/plain; charset=utf-7')),
      'not plain text'
    ],
    ['has a model of an unknown MIME version', formOf(named('model', 'a', '\r\nMIME-Version: 2.0')), 'not plain text'],
    ['has a compressed model', formOf(named('model', 'a', '\r\nContent-Encoding: gzip')), 'change its meaning'],
    [
      'has a form in a part',
      formOf(model, named('a', '', '\r\nContent-Type: multipart/mixed; boundary=x')),
      'parts in a part'
    ],
    ['has a message in a part', formOf(named('a', '', '\r\nContent-Type: message/rfc822')), 'parts in a part'],
    ['has a part without headers', withHeaders(''), 'malformed part header'],
    ['has a part without a disposition', withHeaders('Content-Type: text/plain'), 'begins with a name'],
    ['has a part without a name', withHeaders('Content-Disposition: form-data'), 'begins with a name'],
    [
      'has a disposition of another kind',
      withHeaders('Content-Disposition: attachment; name="a"'),
      'begins with a name'
    ],
    [
      'has a disposition whose kind goes on',
      withHeaders('Content-Disposition: form-data2; name="a"'),
      'begins with a name'
    ],
    [
      'has a file name before the name',
      withHeaders('Content-Disposition: form-data; filename="model"; name="a"'),
      'begins with a name'
    ],
    ['has an extended name', withHeaders("Content-Disposition: form-data; name*=utf-8''model"), 'begins with a name'],
    [
      'has an extended name behind a plain one',
      withHeaders(`Content-Disposition: form-data; name="a"; name*=utf-8''model`),
      'unknown parameter'
    ],
    [
      'has a continued name',
      withHeaders('Content-Disposition: form-data; name="a"; name*0="model"'),
      'unknown parameter'
    ],
    ['has two names', withHeaders('Content-Disposition: form-data; name="a"; name="model"'), 'begins with a name'],
    [
      'has two names in other cases',
      withHeaders('Content-Disposition: form-data; name="a"; Name="model"'),
      'begins with a name'
    ],
    ['has an unknown parameter', withHeaders('Content-Disposition: form-data; name="a"; x=y'), 'unknown parameter'],
    ['has an open quote', withHeaders('Content-Disposition: form-data; name="a'), 'begins with a name'],
    ['has text behind a quote', withHeaders('Content-Disposition: form-data; name="a"b'), 'begins with a name'],
    ['has a name with a backslash', withHeaders('Content-Disposition: form-data; name="mode\\l"'), 'made of letters'],
    ['has a name with a percent', withHeaders('Content-Disposition: form-data; name="%6Dodel"'), 'made of letters'],
    ['has a name with a blank', withHeaders('Content-Disposition: form-data; name="model "'), 'made of letters'],
    ['has an empty name', withHeaders('Content-Disposition: form-data; name=""'), 'made of letters'],
    [
      'has a name with a semicolon',
      withHeaders('Content-Disposition: form-data; name="a;name=model"'),
      'made of letters'
    ],
    [
      'has a file name that ends early for some',
      withHeaders('Content-Disposition: form-data; name="a"; filename="a\\"; name=\\"model"'),
      'reads like a parameter'
    ],
    [
      'has a file name with a parameter in it',
      withHeaders('Content-Disposition: form-data; name="a"; filename="a; name\u00a0=model"'),
      'reads like a parameter'
    ],
    [
      'has a file name with an extended parameter',
      withHeaders('Content-Disposition: form-data; name="a"; filename="x name*0*=model"'),
      'reads like a parameter'
    ],
    [
      'has two dispositions',
      withHeaders('Content-Disposition: form-data; name="a"\r\ncontent-disposition: form-data; name="model"'),
      'same header twice'
    ],
    [
      'has two types',
      withHeaders('Content-Disposition: form-data; name="a"\r\nContent-Type: a/b\r\nContent-Type: a/b'),
      'same header twice'
    ],
    ['has a folded header', withHeaders('Content-Disposition: form-data;\r\n name="a"'), 'malformed part header'],
    [
      'has a header with a blank before its colon',
      withHeaders('Content-Disposition : form-data; name="a"'),
      'malformed part header'
    ],
    [
      'has a line that is no header',
      withHeaders('Content-Disposition: form-data; name="a"\r\nx'),
      'malformed part header'
    ],
    [
      'has a bare LF in its headers',
      withHeaders('Content-Disposition: form-data; name="a"\nx: y'),
      'malformed part header'
    ],
    [
      'has a bare CR in its headers',
      withHeaders('Content-Disposition: form-data; name="a"\rx: y'),
      'malformed part header'
    ],
    [
      'has NUL in its headers',
      withHeaders('Content-Disposition: form-data; name="a"; filename="a\0"'),
      'malformed part header'
    ],
    [
      'has U+2028 in its headers',
      withHeaders('Content-Disposition: form-data; name="a"; filename="\u2028x: y"'),
      'malformed part header'
    ],
    [
      'has U+0085 in its headers',
      withHeaders('Content-Disposition: form-data; name="a"; filename="\u0085x: y"'),
      'malformed part header'
    ],
    ['has headers that are not UTF-8', changed('a.wav', '\xe4.wav'), 'not UTF-8'],
    ['has headers of more than 8 KB', formOf(named('a', '', `\r\nx: ${'x'.repeat(8192 - 48)}`)), 'too long headers'],
    ['has headers without an end', formOf(named('a', '', `\r\nx: ${'x'.repeat(1e5)}`)), 'too long headers'],
    ['has a Content-Length that is too short', formOf(named('a', 'abc', '\r\nContent-Length: 2')), 'as long as'],
    ['has a Content-Length that is too long', formOf(named('model', 'abc', '\r\nContent-Length: 4')), 'as long as'],
    ['has a malformed Content-Length', formOf(named('a', 'abc', '\r\nContent-Length: +3')), 'malformed Content-Length'],
    ['has 1001 parts', formOf(...Array<Part>(1001).fill(named('a', ''))), 'too many parts'],
    ['ends its lines with LF', Buffer.from(text.replaceAll('\r\n', '\n'), 'latin1'), 'where no part ends'],
    ['has a delimiter behind LF', formOf(named('a', `b\n--${boundary}\r\nc`), model), 'where no part ends'],
    [
      'has a delimiter behind CR and something',
      formOf(named('a', `b\rx--${boundary}\r\nc`), model),
      'where no part ends'
    ],
    ['has a delimiter behind CR', formOf(named('a', `b\r--${boundary}\r\nc`), model), 'where no part ends'],
    ['has a delimiter in a line', formOf(named('a', `b--${boundary}\r\nc`), model), 'where no part ends'],
    ['has a delimiter behind a dash', formOf(named('a', `b\r\n---${boundary}\r\nc`), model), 'where no part ends'],
    [
      'has a delimiter directly behind the headers',
      changed('\r\n\r\nopenai:whisper-1\r\n', '\r\n\r\n'),
      'where no part ends'
    ],
    ['has a blank behind a delimiter', changed(`${boundary}\r\n`, `${boundary} \r\n`), 'where no part ends'],
    ['has LF behind a delimiter', changed(`${boundary}\r\n`, `${boundary}\n`), 'where no part ends'],
    ['has a longer boundary', changed(`${boundary}\r\n`, `${boundary}0\r\n`), 'where no part ends'],
    ['has half an end', changed(`${boundary}--\r\n`, `${boundary}-`), 'before its closing delimiter'],
    ['has one dash behind a delimiter', changed(`${boundary}--\r\n`, `${boundary}-\r\n`), 'where no part ends'],
    ['has a preamble', Buffer.from(`x\r\n${text}`), 'begin with its boundary'],
    ['has two CRLF before its beginning', Buffer.from(`\r\n\r\n${text}`), 'begin with its boundary'],
    ['has LF before its beginning', Buffer.from(`\n${text}`), 'where no part ends'],
    ['is something else', Buffer.alloc(1000, '{}'), 'begin with its boundary'],
    ['is empty', Buffer.alloc(0), 'before its closing delimiter'],
    ['ends in its headers', formOf(model).subarray(0, 60), 'before its closing delimiter'],
    ['ends in its content', formOf(model).subarray(0, 90), 'before its closing delimiter'],
    ['ends in its closing delimiter', formOf(model).subarray(0, -3), 'before its closing delimiter'],
    ['ends with half a CRLF', formOf(model).subarray(0, -1), 'before its closing delimiter'],
    ['goes on behind its end', Buffer.from(`${text}x`), 'behind its closing delimiter'],
    ['has a second form behind its end', Buffer.from(text + text), 'behind its closing delimiter'],
    ['has a blank behind its end', changed(`${boundary}--\r\n`, `${boundary}-- \r\n`), 'behind its closing delimiter']
  ])('refuses a form that %s', (_, bytes, message) => {
    const problem = refusalOf(bytes)
    expect(problem).toMatchObject({ code: 'invalid_multipart', status: 400 })
    expect(problem.message).toContain(message)
  })

  it.each([
    ['empty', ''],
    ['of 257 bytes', 'x'.repeat(257)],
    ['of many bytes', 'x'.repeat(100_000)],
    ['not UTF-8', Buffer.from([0x61, 0xff])],
    ['with NUL', 'a\0b'],
    ['in two lines', 'a\r\nb'],
    ['with LF', 'a\nb'],
    ['with U+2028', 'a\u2028b'],
    ['with a byte order mark', '\ufeffa']
  ])('refuses a model that is %s', (_, value) => {
    expect(refusalOf(formOf(named('model', value), file))).toMatchObject({ code: 'invalid_model', param: 'model' })
  })

  it('refuses a model that is not ASCII and says that it is Latin-1', () => {
    const latin1 = named('model', 'ä', '\r\nContent-Type: text/plain; charset=iso-8859-1')
    expect(refusalOf(formOf(latin1))).toMatchObject({ code: 'invalid_model' })
    expect(modelIn(formOf({ ...latin1, headers: latin1.headers.replace('iso-8859-1', '"UTF-8"') }))).toBe('ä')
    expect(modelIn(formOf(named('model', 'ä', '\r\nContent-Type: text/plain')))).toBe('ä')
  })

  it('says nothing of what is in the form', () => {
    for (const bytes of [
      formOf(named('marked!', 'marked')),
      formOf(named('model', 'marked\n')),
      formOf(named('a', '', '\r\nmarked'))
    ]) {
      expect(JSON.stringify(refusalOf(bytes))).not.toContain('marked')
    }
  })

  it('takes time that is linear in the body, whatever is in it', () => {
    const near = `\r\n--${boundary.slice(0, -1)}`
    const contents = [near.repeat(4e5), '\r\n'.repeat(5e6), '-'.repeat(1e7), `${'-'.repeat(50)}\r\n`.repeat(2e5)]
    for (const content of contents) {
      const bytes = formOf(named('a', content), model)
      expect(cpuMs(() => scan(inPieces(bytes, 16_384)))).toBeLessThan(1500)
    }
    const headers = named('a', '', `\r\nx: ${'x'.repeat(8000)}`)
    const bytes = formOf(...Array<Part>(30).fill(headers), named('a', near.repeat(6000)), model)
    expect(cpuMs(() => scan(inPieces(bytes, 1)))).toBeLessThan(3000)
  })

  it('refuses long headers in little time', () => {
    const texts = [`a:${' '.repeat(8000)}\0`, `a: ${' a'.repeat(4000)}\0`, 'name '.repeat(1600), '='.repeat(8000)]
    const spent = cpuMs(() => {
      for (const headers of Array<string[]>(20).fill(texts).flat()) {
        for (const before of [
          '',
          'Content-Disposition: form-data; name="a"; filename="name ',
          'Content-Disposition: form-data; name="a"; '
        ]) {
          expect(() => scan([withHeaders(before + headers)])).toThrow(Problem)
        }
      }
    })
    expect(spent).toBeLessThan(1500)
  })
})

describe('routeMultipart', () => {
  /** Gives the chunks when they are asked for; counts them. */
  class Source extends Readable {
    given = 0
    readonly #chunks: Iterator<Buffer>

    constructor(chunks: Iterable<Buffer>) {
      super()
      this.#chunks = chunks[Symbol.iterator]()
    }

    override _read(): void {
      const next = this.#chunks.next()
      if (next.done === true) this.push(null)
      else {
        this.given += next.value.length
        this.push(next.value)
      }
    }
  }

  class Held {
    bytes = 0
    readonly add = (bytes: number): void => {
      this.bytes += bytes
    }
  }

  const rewritten = async (form: RoutedForm, newModel: string | undefined): Promise<Buffer> =>
    Buffer.concat(await form.body(newModel).toArray())

  const other = (bytes: Buffer) =>
    Buffer.from(bytes.toString('latin1').replace('openai:whisper-1', 'whisper-1'), 'latin1')

  it.each([
    ['before a file', formOf(model, file)],
    ['behind a file', formOf(file, model)],
    ['alone', formOf(model)]
  ])('replaces a model %s and nothing else, however the body is cut', async (_, bytes) => {
    for (let size = 1; size <= bytes.length; size++) {
      const form = await routeMultipart(new Source(inPieces(bytes, size)), boundary, () => undefined)
      expect(form.model).toBe('openai:whisper-1')
      expect(form.lengthChange('whisper-1')).toBe(-7)
      expect((await rewritten(form, 'whisper-1')).equals(other(bytes))).toBe(true)
    }
  })

  it('passes a body on as it came when the model stays or there is none', async () => {
    for (const bytes of [formOf(file, model), formOf(file), formOf()]) {
      for (const size of [1, 10, 1000]) {
        const form = await routeMultipart(new Source(inPieces(bytes, size)), boundary, () => undefined)
        expect(form.lengthChange(undefined)).toBe(0)
        expect((await rewritten(form, undefined)).equals(bytes)).toBe(true)
      }
    }
  })

  it("corrects the part's own Content-Length", async () => {
    const before = formOf(file, named('model', 'openai:whisper-1', '\r\nContent-Length: 16'), named('a', 'b'))
    const after = formOf(file, named('model', 'whisper-1', '\r\nContent-Length: 9'), named('a', 'b'))
    const form = await routeMultipart(new Source([before]), boundary, () => undefined)
    expect(form.lengthChange('whisper-1')).toBe(after.length - before.length)
    expect((await rewritten(form, 'whisper-1')).equals(after)).toBe(true)
  })

  it('puts nothing into a form that could end a part', async () => {
    const form = await routeMultipart(new Source([formOf(model)]), boundary, () => undefined)
    for (const bad of ['', 'a\r\nb', 'a\0', 'x'.repeat(257)]) expect(() => form.body(bad)).toThrow(TypeError)
    const none = await routeMultipart(new Source([formOf(file)]), boundary, () => undefined)
    expect(() => none.body('a')).toThrow('no model to replace')
    for (const { form: one } of [{ form }, { form: none }]) {
      one.body(undefined)
      expect(() => one.body(undefined)).toThrow('has been passed on')
    }
  })

  const chunk = Buffer.alloc(65_536, `\r\n--${boundary.slice(0, -2)}`)
  function* large(before: readonly Part[], after: readonly Part[], chunks: number): Generator<Buffer> {
    const end = `\r\n--${boundary}--\r\n`.length
    yield formOf(...before).subarray(0, 2 - end)
    yield Buffer.from(`--${boundary}\r\n${named('file', '', '; filename="a"').headers}\r\n\r\n`)
    for (let i = 0; i < chunks; i++) yield chunk
    yield Buffer.from('\r\n')
    yield formOf(...after)
  }
  const megabyte = 1024 * 1024

  it('keeps nothing of a large file behind the model', async () => {
    const source = new Source(large([model], [named('n', '1')], 1024))
    const held = new Held()
    const form = await routeMultipart(source, boundary, held.add)
    const before = process.memoryUsage()
    let most = 0
    let bytes = 0
    for await (const piece of form.body('whisper-1') as AsyncIterable<Buffer>) {
      bytes += piece.length
      const { arrayBuffers, rss } = process.memoryUsage()
      most = Math.max(most, arrayBuffers - before.arrayBuffers, rss - before.rss)
    }
    expect(bytes).toBe(source.given - 7)
    expect(bytes).toBeGreaterThan(64 * megabyte)
    expect(held.bytes).toBeLessThan(2 * chunk.length)
    expect(most).toBeLessThan(32 * megabyte)
  })

  it('keeps a large file before the model, and says how much', async () => {
    const source = new Source(large([named('n', '1')], [model, named('n', '2')], 1024))
    const held = new Held()
    const form = await routeMultipart(source, boundary, held.add)
    expect(form.model).toBe('openai:whisper-1')
    expect(held.bytes).toBeGreaterThan(64 * megabyte)
    expect(held.bytes).toBeLessThanOrEqual(source.given)
    let bytes = 0
    for await (const piece of form.body('whisper-1') as AsyncIterable<Buffer>) bytes += piece.length
    expect(bytes).toBe(source.given - 7)
  })

  it('refuses what may not be held, and lets go of the source', async () => {
    const source = new Source(large([], [model], 100))
    const full = new Problem('overloaded', 'full')
    let held = 0
    const refused = routeMultipart(source, boundary, (bytes) => {
      held += bytes
      if (held > megabyte) throw full
    })
    await expect(refused).rejects.toBe(full)
    await until(() => source.closed)
    expect(source.given).toBeLessThan(2 * megabyte)
  })

  it('reads no more than is asked for', async () => {
    const source = new Source(large([model], [], 100))
    const form = await routeMultipart(source, boundary, () => undefined)
    await turn()
    await turn()
    const before = source.given
    expect(before).toBeLessThan(4 * chunk.length)
    const body = form.body(undefined)
    for (let i = 0; i < 10; i++) await turn()
    expect(source.given - before).toBeLessThan(4 * chunk.length)
    expect((await body.toArray()).reduce((sum, { length }) => sum + length, 0)).toBe(source.given)
  })

  /** A source that gives what it is told to, when it is told to. */
  const open = (bytes: Buffer) => {
    const source = new Readable({ read: () => undefined })
    source.push(bytes)
    return source
  }
  const failureOf = async (body: Readable): Promise<unknown> => {
    body.resume()
    return once(body, 'end').then(
      () => 'no failure',
      (error: unknown) => error
    )
  }
  const begun = formOf(model).subarray(0, -4)

  it('fails when a second model comes, after the first one was passed on', async () => {
    const source = open(begun)
    const form = await routeMultipart(source, boundary, () => undefined)
    const body = form.body('whisper-1')
    const failure = failureOf(body)
    source.push('\r\n')
    source.push(formOf(model).subarray(boundary.length + 4))
    expect(await failure).toMatchObject({ code: 'invalid_multipart', message: 'the form has two parts "model"' })
    await until(() => source.closed)
  })

  it('passes nothing of the chunk on in which the second model is', async () => {
    const bytes = formOf(model, file, model)
    const second = bytes.lastIndexOf('Content-Disposition')
    const source = new Source([bytes.subarray(0, second), bytes.subarray(second)])
    const form = await routeMultipart(source, boundary, () => undefined)
    let passed = ''
    const body = form.body(undefined).on('data', (piece: Buffer) => (passed += piece.toString('latin1')))
    await failureOf(body)
    expect(passed.match(/name="model"/g)).toHaveLength(1)
  })

  it('fails when the body ends too early', async () => {
    const source = open(begun)
    const form = await routeMultipart(source, boundary, () => undefined)
    const failure = failureOf(form.body(undefined))
    source.push(null)
    expect(await failure).toMatchObject({ code: 'invalid_multipart' })
    await expect(
      routeMultipart(new Source([formOf(model).subarray(0, 50)]), boundary, () => undefined)
    ).rejects.toThrow('before its closing delimiter')
    await expect(routeMultipart(new Source([]), boundary, () => undefined)).rejects.toThrow('closing delimiter')
  })

  it("fails with the source's own error: before the model, behind it, and in between", async () => {
    const error = new Error('of the source')
    const first = open(begun.subarray(0, 20))
    const refused = routeMultipart(first, boundary, () => undefined)
    first.destroy(error)
    await expect(refused).rejects.toBe(error)

    const second = open(begun)
    const form = await routeMultipart(second, boundary, () => undefined)
    const failure = failureOf(form.body(undefined))
    second.destroy(error)
    expect(await failure).toBe(error)

    const third = open(begun)
    const unread = await routeMultipart(third, boundary, () => undefined)
    third.destroy(error)
    await until(() => third.closed)
    await turn()
    const body = unread.body('whisper-1')
    expect(body.destroyed).toBe(true)
    expect(body.errored).toBe(error)
  })

  it('fails when the source closes without an end or an error', async () => {
    const source = open(begun.subarray(0, 20))
    const refused = routeMultipart(source, boundary, () => undefined)
    source.destroy()
    await expect(refused).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' })
    await expect(routeMultipart(source, boundary, () => undefined)).rejects.toThrow()
  })

  it('lets go of the source when it is destroyed: before its body is read, and in the middle of it', async () => {
    const unread = open(begun)
    const form = await routeMultipart(unread, boundary, () => undefined)
    form.destroy()
    await until(() => unread.closed)

    const read = open(begun)
    const body = (await routeMultipart(read, boundary, () => undefined)).body(undefined)
    body.destroy()
    await until(() => read.closed)
    // An error that comes too late has nobody to be told to, and must not end the process.
    expect(read.listenerCount('data')).toBe(0)
  })

  it('survives an error of the source and its own end at the same time', async () => {
    const source = open(begun)
    const form = await routeMultipart(source, boundary, () => undefined)
    form.destroy()
    source.destroy(new Error('too late'))
    await until(() => source.closed)
    await turn()
  })

  it('leaves no listeners behind', async () => {
    const source = new Source([formOf(model, file)])
    await rewritten(await routeMultipart(source, boundary, () => undefined), undefined)
    await until(() => source.closed)
    expect(source.eventNames().filter((name) => name !== 'end' || source.listenerCount(name) > 0)).toEqual([])
  })

  it('takes a source that somebody has waited for', async () => {
    const source = new Source(inPieces(formOf(model, file), 10))
    await once(source, 'readable')
    const form = await routeMultipart(source, boundary, () => undefined)
    expect((await rewritten(form, 'whisper-1')).equals(other(formOf(model, file)))).toBe(true)
  })

  describe('between a caller and a provider', () => {
    interface Seen {
      form?: Record<string, string>
      broken?: boolean
    }

    async function provider(): Promise<{ origin: string; seen: Seen }> {
      const seen: Seen = {}
      const origin = await serve(cleanup, (request, response) => {
        readAll(request).then(
          async (bytes) => {
            const type = request.headers['content-type'] ?? ''
            const form = await new Response(sendable(bytes), { headers: { 'content-type': type } }).formData()
            const entries = [...form].map(async ([name, value]) => [
              name,
              typeof value === 'string' ? value : await value.text()
            ])
            seen.form = Object.fromEntries(await Promise.all(entries))
            response.end('{}')
          },
          () => (seen.broken = true)
        )
      })
      return { origin, seen }
    }

    /** Passes forms on to the provider; answers with the code of what fails. */
    async function passing(origin: string, bytes = 10 * megabyte) {
      const agent = new Agent()
      cleanup.add(() => agent.close())
      const failures: unknown[] = []
      const models: (string | undefined)[] = []
      const pass = async (request: IncomingMessage) => {
        const source = new LimitedBody(request, { bytes, idleMs: 1000 })
        const type = request.headers['content-type'] ?? ''
        const form = await routeMultipart(source, parseBoundary(type), () => undefined)
        models.push(form.model)
        const newModel = form.model?.replace(/^openai:/, '')
        const length = request.headers['content-length']
        const change = form.lengthChange(newModel)
        const answer = await agent.request({
          origin,
          path: '/',
          method: 'POST',
          headers: { 'content-type': type, ...(length && { 'content-length': String(Number(length) + change) }) },
          body: form.body(newModel)
        })
        await answer.body.dump()
        return answer.statusCode
      }
      const listener: RequestListener = (request, response) => {
        pass(request).then(
          (status) => response.writeHead(status).end(),
          (error: unknown) => {
            failures.push(error)
            response.writeHead(400).end()
          }
        )
      }
      return { url: await serve(cleanup, listener), failures, models }
    }

    it('gives the provider the form with its own name of the model', async () => {
      const { origin, seen } = await provider()
      const { url } = await passing(origin)
      const form = new FormData()
      form.append('model', 'openai:whisper-1')
      form.append('file', new Blob(['x'.repeat(megabyte)]), 'a.wav')
      const { status } = await fetch(url, { method: 'POST', body: form })
      expect(status).toBe(200)
      expect(seen.form).toEqual({ model: 'whisper-1', file: 'x'.repeat(megabyte) })
    })

    it('breaks the call of the provider off when the form turns out to be malformed', async () => {
      const { origin, seen } = await provider()
      const { url, failures } = await passing(origin)
      const body = formOf(model, named('file', 'x'.repeat(megabyte)), model)
      const { status } = await fetch(url, {
        method: 'POST',
        body: sendable(body),
        headers: { 'content-type': contentType }
      })
      expect(status).toBe(400)
      expect(failures).toEqual([expect.objectContaining({ code: 'invalid_multipart' })])
      await until(() => seen.broken === true)
    })

    it('tells of a body that is too long, and of a caller that is gone', async () => {
      const { origin } = await provider()
      const { url, failures, models } = await passing(origin, megabyte)
      const headers = { 'content-type': contentType }
      const body = formOf(model, named('file', 'x'.repeat(2 * megabyte)))
      expect((await fetch(url, { method: 'POST', body: sendable(body), headers })).status).toBe(400)
      expect(failures).toEqual([expect.objectContaining({ code: 'BODY_TOO_LARGE' })])

      const gone = new AbortController()
      const half = Readable.toWeb(open(body.subarray(0, 1000)))
      const init = { method: 'POST', body: half, headers, signal: gone.signal, duplex: 'half' }
      const sent = fetch(url, init as RequestInit)
      const refused = expect(sent).rejects.toThrow('aborted')
      await until(() => models.length === 2)
      gone.abort()
      await refused
      await until(() => failures.length === 2)
      expect(failures[1]).toMatchObject({ name: 'CallerGoneError' })
    })
  })
})

describe('many damaged forms', () => {
  /**
   * The values of all parts that anybody could take for `model`. Written for carelessness: a delimiter
   * is one wherever it stands, any line end is one, a name is whatever looks like one in the headers.
   */
  function modelsForTheCareless(bytes: Buffer): string[] {
    const pieces = bytes.toString('latin1').split(`--${boundary}`).slice(1)
    return pieces.flatMap((piece) => {
      const [, head = '', value = ''] =
        /^[ \t]*(?:\r\n?|\n)([^]*?)(?:\r\n\r\n|\n\n|\r\r)([^]*?)(?:\r\n|\r|\n)?$/.exec(piece) ?? []
      const names = [...head.matchAll(/(?:^|[;\s])name\*?\s*=\s*"?([^";\s]*)/gi)]
      return names.some(([, name = '']) => /^(?:utf-8'')?model(?:$|\[)/i.test(name)) ? [value] : []
    })
  }

  const originals = [
    formOf(model, file),
    formOf(file, named('n', '1'), model),
    formOf(named('model', 'a', '\r\nContent-Type: text/plain; charset=utf-8'), named('prompt', 'ä')),
    formOf(
      { headers: 'Content-Disposition: form-data; name=model', content: 'b' },
      named('x', '', '; filename="q\\"q"')
    ),
    formOf(file, named('x', '', '\r\nContent-Length: 0'))
  ]
  const pieces = [
    '\r\n',
    '\r',
    '\n',
    '\0',
    ' ',
    '"',
    '\\',
    '\\"',
    ';',
    ':',
    '=',
    '-',
    '--',
    '*',
    '%22',
    '\xff',
    '\u00a0',
    'x',
    `--${boundary}`,
    `\r\n--${boundary}\r\n`,
    `\n--${boundary}\n`,
    `--${boundary}--`,
    boundary,
    'model',
    'Model',
    '; name="model"',
    '; name=model',
    '; filename="model"',
    "name*=utf-8''model",
    'Content-Disposition: form-data; name="model"',
    '\r\nContent-Disposition: form-data; name="model"\r\n\r\nevil',
    'Content-Transfer-Encoding: base64\r\n',
    '\r\nX: y',
    '\r\n\r\n'
  ].map((piece) => Buffer.from(piece, 'latin1'))

  function damaged(random: (below: number) => number): Buffer {
    let bytes = pick(originals, random)
    for (let times = 1 + random(3); times > 0; times--) {
      const at = random(bytes.length + 1)
      const end = Math.min(bytes.length, at + random(20))
      const put = pick(
        [Buffer.alloc(0), pick(pieces, random), bytes.subarray(at, end), bytes.subarray(random(at + 1), at)],
        random
      )
      bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(random(2) === 0 ? at : end)])
    }
    return bytes
  }

  it('are refused with a problem, or nobody can read another model in them', async () => {
    const random = generator(0x6d756c74)
    const before = process.cpuUsage()
    const outcomes = { invalid_multipart: 0, invalid_model: 0, model: 0, none: 0 }
    for (let i = 0; i < 30_000; i++) {
      const bytes = damaged(random)
      const scanner = new ModelScanner(boundary)
      try {
        for (const piece of inPieces(bytes, 1 + random(bytes.length))) scanner.push(piece)
        scanner.end()
      } catch (error) {
        if (!(error instanceof Problem)) throw error
        outcomes[error.code as 'invalid_multipart']++
        continue
      }
      const found = scanner.model === undefined ? [] : [scanner.model.value]
      outcomes[found.length === 1 ? 'model' : 'none']++
      const values = modelsForTheCareless(bytes).map((value) => Buffer.from(value, 'latin1').toString())
      if (JSON.stringify(values) !== JSON.stringify(found))
        throw new Error(`${i}: ${JSON.stringify([bytes.toString(), values])}`)
      // Node's own parser; it is slow.
      if (random(4) > 0) continue
      const form = await new Response(sendable(bytes), { headers: { 'content-type': contentType } })
        .formData()
        .catch(() => null)
      if (form !== null) expect(form.getAll('model')).toEqual(found)
    }
    const { invalid_multipart, invalid_model, ...accepted } = outcomes
    expect(Math.min(invalid_multipart, accepted.model, accepted.none)).toBeGreaterThan(1000)
    expect(invalid_model).toBeGreaterThan(100)
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(5000)
  })
})
