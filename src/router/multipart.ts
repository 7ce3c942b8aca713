import { finished, type Readable, Transform, type TransformCallback } from 'node:stream'
import { parseParameters } from './header-parameters.js'
import { HeldBytes } from './held-bytes.js'
import { isModelText, type ModelPart, ModelScanner } from './model-scanner.js'
import { invalidMultipart } from './part-headers.js'
import { Problem } from './problem.js'

/** A form on its way to a provider; `destroy` it when it is not passed on. */
export interface RoutedForm {
  /** The value of the part `model` exactly as it came, 1 to 256 bytes in UTF-8; `undefined` if there is none. */
  readonly model: string | undefined
  /**
   * The body with another model in place of the caller's, every other byte as it came; `undefined`
   * leaves the model as it is. To be called once. Fails with a `Problem` when the rest of the form
   * turns out to be malformed or to have a second `model`, and with the source's own error.
   */
  body(newModel: string | undefined): Readable
  /** By how many bytes `body(newModel)` is longer than what came; it can be negative. */
  lengthChange(newModel: string | undefined): number
  /** Lets go of the source. Without effect on a form that has been passed on completely. */
  destroy(): void
}

/**
 * Reads the source until the part `model` is known, or to its end; `hold` is told of all bytes before
 * they are kept, and throws to refuse them. The rest stays where it is until the form's body is read.
 *
 * Throws a `Problem` (`invalid_multipart`, `invalid_model`, or what `hold` throws) or the source's
 * error. Whenever the form or its body fails or is destroyed, the source is destroyed.
 */
export function routeMultipart(source: Readable, boundary: string, hold: (bytes: number) => void): Promise<RoutedForm> {
  return new Promise((resolve, reject) => {
    const form = new FormBody(source, new ModelScanner(boundary), hold, () => resolve(form))
    // It stays: until somebody reads the form its failure is told by nothing but the stream's state.
    form.on('error', reject)
  })
}

/**
 * The boundary of a multipart/form-data content type (RFC 2046 section 5.1.1, RFC 7578 section 4.1).
 *
 * Stricter than RFC 2046, because the provider reads the same header: no blank in it, which some
 * parsers cut off, no backslash, no other parameter than `charset=utf-8`, each once.
 *
 * Throws a `Problem` with code `unsupported_media_type`, or `invalid_multipart` for the parameters.
 */
export function parseBoundary(contentType: string): string {
  const form = /^multipart\/form-data[ \t]*(;[^]*)?$/i.exec(contentType)
  if (form === null) throw new Problem('unsupported_media_type', 'the Content-Type must be multipart/form-data')
  const parameters = parseParameters(form[1] ?? '')
  const boundary = parameters?.get('boundary')
  if (boundary === undefined || !/^[0-9A-Za-z'()+_,./:=?-]{1,70}$/.test(boundary)) {
    throw invalidMultipart('has a Content-Type without a boundary of 1 to 70 characters of RFC 2046')
  }
  for (const [name, value] of parameters ?? []) {
    if (name !== 'boundary' && !(name === 'charset' && /^utf-8$/i.test(value))) {
      throw invalidMultipart('has a Content-Type with other parameters than a boundary')
    }
  }
  return boundary
}

/** Holds what comes until the model is known and somebody has said what to put there. */
class FormBody extends Transform implements RoutedForm {
  /** `undefined` once it has been passed on. */
  #held: HeldBytes | undefined = new HeldBytes()
  /** Goes on with the source. */
  #resume: () => void = () => undefined

  constructor(
    source: Readable,
    private readonly scanner: ModelScanner,
    private readonly hold: (bytes: number) => void,
    private readonly onReady: () => void
  ) {
    super()
    // Not `pipeline`, which would tell the source of our failure as if it was its own. The listeners
    // stay until the source is closed: an error that comes after our end must find one.
    const forget = finished(source, { writable: false }, (error) => {
      if (error) this.destroy(error)
    })
    source.once('close', forget)
    this.once('close', () => {
      source.unpipe(this)
      source.destroy()
    })
    source.pipe(this)
  }

  get model(): string | undefined {
    return this.scanner.model?.value
  }

  lengthChange(newModel: string | undefined): number {
    return this.#edits(newModel).reduce((change, { start, end, text }) => change + text.length - (end - start), 0)
  }

  body(newModel: string | undefined): Readable {
    const edits = this.#edits(newModel)
    const held = this.#held
    if (held === undefined) throw new Error('the form has been passed on')
    this.#held = undefined
    let at = 0
    for (const { start, end, text } of edits) {
      for (const piece of held.pieces(at, start)) this.push(piece)
      this.push(text)
      at = end
    }
    for (const piece of held.pieces(at, held.length)) this.push(piece)
    this.#resume()
    return this
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    try {
      this.scanner.push(chunk)
      if (this.#held === undefined) {
        done(null, chunk)
        return
      }
      this.hold(chunk.length)
      this.#held.add(chunk)
    } catch (error) {
      done(error as Error)
      return
    }
    if (this.scanner.model === undefined) done()
    else this.#waitForModel(done)
  }

  override _flush(done: TransformCallback): void {
    try {
      this.scanner.end()
    } catch (error) {
      done(error as Error)
      return
    }
    if (this.#held === undefined) done()
    else this.#waitForModel(done)
  }

  #waitForModel(done: TransformCallback): void {
    this.#resume = done
    this.onReady()
  }

  /** In the order of the body. */
  #edits(newModel: string | undefined): readonly Edit[] {
    if (newModel === undefined) return []
    const { model } = this.scanner
    if (model === undefined) throw new TypeError('the form has no model to replace')
    if (!isModelText(newModel)) throw new TypeError('the new model must be a text of 1 to 256 bytes in one line')
    return editsOf(model, Buffer.from(newModel))
  }
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: Buffer
}

function editsOf({ start, end, lengthDigits }: ModelPart, text: Buffer): readonly Edit[] {
  const value = { start, end, text }
  return lengthDigits === undefined ? [value] : [{ ...lengthDigits, text: Buffer.from(String(text.length)) }, value]
}
