import { utf8 } from '../base/encoding.js'
import { parseParameters } from './header-parameters.js'
import type { Span } from './json-members.js'
import { Problem } from './problem.js'

/** What the headers of one part of a form say. */
export interface PartHeaders {
  readonly isModel: boolean
  /** Whether a value that is not ASCII would be read in another way by who obeys the charset. */
  readonly asciiOnly: boolean
  /** `Content-Length`: its text, and where that is in the block. */
  readonly length: (Span & { readonly text: string }) | undefined
}

export const invalidMultipart = (what: string): Problem => new Problem('invalid_multipart', `the form ${what}`)

/**
 * Reads the header block of a part of a form (RFC 7578 section 4.2), without the empty line behind it.
 *
 * The provider reads the same bytes with a parser of its own. So that no parser can take another
 * part than ours for `model`, only what all of them read alike is accepted:
 *
 * - lines: UTF-8, no control characters, none folded, none without a name. Some parsers end a line at
 *   a bare CR or LF, or at U+0085 and U+2028; some skip lines that they do not understand.
 * - no header twice, `Content-Disposition` in every part: the first, the last or none may count.
 * - `form-data` with `name` first, then `filename` and `filename*` (which RFC 7578 forbids and .NET
 *   sends), each once. A search for `name=` also finds it in `filename=`. `name*` and continuations
 *   (`name*0`) are names to those who know RFC 2231 only.
 * - a name of letters, digits and `_ - . : [ ]`: with `\` and `%` there are at least three ways to read
 *   it, and without them and `;` it is the same quoted and unquoted.
 * - a file name with anything in it but what reads like another parameter. In `a\"; name=\"model` the
 *   quote ends the text for a browser's rules, and does not for those of RFC 9110. The same for all
 *   other headers: some look for `name=` in the whole block.
 * - no name that is `model` for who ignores case or knows lists (`model[]`), and no `_charset_`, which
 *   gives the other parts another encoding (RFC 7578 section 4.6).
 * - no `multipart/…` or `message/…` inside: who descends into it finds more parts.
 * - in `model` itself no file name, only headers that are known here, and no encoding that changes the
 *   value: some parsers decode `base64` and `quoted-printable`, some do not.
 *
 * Throws a `Problem` with code `invalid_multipart`.
 */
export function parsePartHeaders(block: Uint8Array): PartHeaders {
  const fields = parseFields(decode(block))
  const { name, isFile } = parseDisposition(fields.get('content-disposition')?.text)
  const isModel = name === 'model'
  if (!isModel && /^(?:model(?:\[.*)?|_charset_)$/i.test(name)) {
    throw invalidMultipart('has a part whose name some take for "model", or for the charset of all parts')
  }
  const type = fields.get('content-type')?.text
  if (type !== undefined && /^(?:multipart|message)\b/i.test(type)) throw invalidMultipart('has parts in a part')
  if (isModel) checkModelHeaders(fields, isFile)
  return {
    isModel,
    asciiOnly: type !== undefined && !/(?:^text\/plain|utf-8"?)$/i.test(type),
    length: parseLength(fields.get('content-length'))
  }
}

interface Field {
  readonly text: string
  /** Offset of the text in the block. */
  readonly start: number
}

type Fields = ReadonlyMap<string, Field>

function decode(block: Uint8Array): string {
  try {
    return utf8.decode(block)
  } catch {
    throw invalidMultipart('has part headers that are not UTF-8')
  }
}

function parseFields(block: string): Fields {
  const fields = new Map<string, Field>()
  let start = 0
  for (const line of block.split('\r\n')) {
    const [, name, text] = fieldLine.exec(line) ?? []
    if (name === undefined || text === undefined) throw invalidMultipart('has a malformed part header')
    const key = name.toLowerCase()
    if (fields.has(key)) throw invalidMultipart('has a part with the same header twice')
    if (key !== 'content-disposition' && likeName.test(text))
      throw invalidMultipart('has a header that reads like a name')
    fields.set(key, { text, start: start + line.length - text.length })
    start += line.length + 2
  }
  return fields
}

const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?![ \t])([^\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]*)$/

function parseDisposition(text = ''): { readonly name: string; readonly isFile: boolean } {
  const parameters = /^form-data/i.test(text) ? parseParameters(text.slice('form-data'.length)) : undefined
  const [[key, name] = [], ...others] = parameters ?? []
  if (key !== 'name' || name === undefined) {
    throw invalidMultipart('has a part without a Content-Disposition that is form-data and begins with a name')
  }
  if (!/^[A-Za-z0-9_.:[\]-]+$/.test(name)) {
    throw invalidMultipart('has a part whose name is not made of letters, digits and _ - . : [ ]')
  }
  for (const [other, value] of others) {
    if (other !== 'filename' && other !== 'filename*') {
      throw invalidMultipart('has a part with an unknown parameter in its Content-Disposition')
    }
    if (likeName.test(value)) throw invalidMultipart('has a file name that reads like a parameter')
  }
  return { name, isFile: others.length > 0 }
}

/** What somebody could take for the beginning of `name=`, `filename=`, `name*=` or `name*0*=`. */
const likeName = /(?:^|[^0-9a-z])(?:file)?name(?:\*\d*\*?)?\s*=/i

const headersOfModel = new Set([
  'content-disposition',
  'content-type',
  'content-transfer-encoding',
  'content-length',
  'mime-version'
])

function checkModelHeaders(fields: Fields, isFile: boolean): void {
  if (isFile) throw invalidMultipart('has a file in place of "model"')
  for (const name of fields.keys()) {
    if (!headersOfModel.has(name)) throw invalidMultipart('has a header at "model" that may change its meaning')
  }
  const type = fields.get('content-type')?.text ?? 'text/plain'
  const encoding = fields.get('content-transfer-encoding')?.text ?? 'binary'
  const version = fields.get('mime-version')?.text ?? '1.0'
  if (!plainText.test(type) || !/^(?:7bit|8bit|binary)$/i.test(encoding) || version !== '1.0') {
    throw invalidMultipart('has a "model" that is not plain text')
  }
}

/** Apache's HttpClient says ISO-8859-1 where an application says nothing. */
const plainText =
  /^text\/plain(?:[ \t]*;[ \t]*charset=(?:(?:utf-8|us-ascii|iso-8859-1)|"(?:utf-8|us-ascii|iso-8859-1)"))?$/i

function parseLength(field: Field | undefined): PartHeaders['length'] {
  if (field === undefined) return undefined
  const { text, start } = field
  if (!/^(?:0|[1-9]\d{0,14})$/.test(text)) throw invalidMultipart('has a part with a malformed Content-Length')
  return { text, start, end: start + text.length }
}
