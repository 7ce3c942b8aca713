import { isJsonObject, type JsonObject } from '../base/json.js'
import type { Call, Target } from './call.js'
import { Problem } from './problem.js'
import { BodyTooLargeError, Collector } from './read-at-most.js'
import type { Reply, ReplyHeaders } from './reply.js'

/** Several images of some megabytes, as base64. */
const maximumAnswerBytes = 64 * 1024 ** 2

/**
 * Maps `POST /v1/images/generations` to a synchronous call of a fal model, and its answer back to
 * OpenAI's form. Members that OpenAI's API does not have go to the model as they are, so that a model's
 * own parameters (`seed`, `guidance_scale`) can be used; those that only OpenAI has are left out.
 */
export function falImages(call: Call, body: Buffer, model: string): Pick<Target, 'path' | 'body' | 'wrap'> {
  const request = parse(body)
  const asData = request.response_format === 'b64_json'
  if (request.stream === true) {
    throw new Problem('stream_not_supported', 'images of fal cannot be streamed; leave out "stream"', {
      param: 'stream'
    })
  }
  if (!isModelPath(model)) {
    throw new Problem('invalid_model', `${JSON.stringify(model)} is no model of fal`, { param: 'model' })
  }
  const mapped = encode(falRequest(request, asData))
  return {
    path: `/${model}`,
    body: () => mapped,
    wrap: (reply) => new FalImagesReply(reply, asData, (bytes) => call.hold(bytes))
  }
}

const isModelPath = (model: string): boolean => /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)+$/.test(model)

const ofOpenai = [
  'model n size response_format user quality style background moderation output_compression',
  'partial_images stream input_fidelity'
].flatMap((names) => names.split(' '))

function falRequest(request: JsonObject, asData: boolean): JsonObject {
  const others = Object.entries(request).filter(([name]) => !ofOpenai.includes(name))
  const size = imageSize(request.size)
  return {
    ...Object.fromEntries(others),
    ...(request.n === undefined || request.n === null ? {} : { num_images: request.n }),
    ...(size === undefined ? {} : { image_size: size }),
    ...(asData ? { sync_mode: true } : {})
  }
}

function imageSize(size: unknown): JsonObject | undefined {
  if (size === undefined || size === null || size === 'auto') return undefined
  const match = typeof size === 'string' ? /^([1-9]\d{1,4})x([1-9]\d{1,4})$/.exec(size) : null
  if (match === null) {
    throw new Problem('invalid_request', '"size" must be WIDTHxHEIGHT, as 1024x768, or "auto"', { param: 'size' })
  }
  return { width: Number(match[1]), height: Number(match[2]) }
}

function encode(request: JsonObject): Buffer {
  try {
    return Buffer.from(JSON.stringify(request))
  } catch {
    // JSON is read without recursion, and written with it.
    throw new Problem('invalid_json', 'the body is nested too deeply')
  }
}

function parse(body: Buffer): JsonObject {
  let request: unknown
  try {
    request = JSON.parse(body.toString('utf8'))
  } catch {
    throw new Problem('invalid_json', 'the body must be one JSON object')
  }
  if (!isJsonObject(request)) throw new Problem('invalid_json', 'the body must be one JSON object')
  return request
}

/** Reads fal's answer whole and gives it on in OpenAI's form. */
class FalImagesReply implements Reply {
  readonly #answer = new Collector(maximumAnswerBytes)
  #status = 0
  #headers: ReplyHeaders = {}

  constructor(
    private readonly reply: Reply,
    private readonly asData: boolean,
    private readonly hold: (bytes: number) => void
  ) {}

  get started(): boolean {
    return this.reply.started
  }

  get bytesOut(): number {
    return this.reply.bytesOut
  }

  start(status: number, headers: ReplyHeaders): void {
    if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
      throw new Problem('upstream_encoded', 'the provider compressed its answer, which nobody asked it to')
    }
    this.#status = status
    this.#headers = headers
  }

  write(chunk: Uint8Array): boolean {
    this.hold(chunk.length)
    try {
      this.#answer.add(chunk)
    } catch (error) {
      if (!(error instanceof BodyTooLargeError)) throw error
      throw new Problem('answer_too_large', 'the images of the provider are too large', notAgain)
    }
    return true
  }

  onDrain(resume: () => void): void {
    resume()
  }

  end(): void {
    const answer = openaiAnswer(this.#answer.bytes, this.#status, this.asData)
    const { 'retry-after': retryAfter, 'x-fal-request-id': id } = this.#headers
    this.reply.start(this.#status, {
      'content-type': 'application/json; charset=utf-8',
      ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
      ...(id === undefined ? {} : { 'x-request-id': id })
    })
    this.reply.write(Buffer.from(JSON.stringify(answer)))
    this.reply.end()
  }

  breakOff(): void {
    this.reply.breakOff()
  }

  problem(problem: Problem): void {
    this.reply.problem(problem)
  }
}

function openaiAnswer(bytes: Buffer, status: number, asData: boolean): JsonObject {
  let answer: unknown
  try {
    answer = JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new Problem('upstream_not_json', `the provider answered with status ${status} and a body that is not JSON`)
  }
  if (status >= 400) return { error: { message: falMessage(answer), type: 'upstream_error', code: null, param: null } }
  return { created: Math.floor(Date.now() / 1000), data: images(answer).map((image) => openaiImage(image, asData)) }
}

function images(answer: unknown): unknown[] {
  if (isJsonObject(answer) && Array.isArray(answer.images)) return answer.images
  if (isJsonObject(answer) && isJsonObject(answer.image)) return [answer.image]
  throw new Problem('upstream_not_json', 'the answer of this model has no images', notAgain)
}

/** The model has done its work, and would do and charge it again for SDKs that repeat every 5xx. */
const notAgain = { headers: { 'x-should-retry': 'false' } } as const

function openaiImage(image: unknown, asData: boolean): JsonObject {
  const url = isJsonObject(image) && typeof image.url === 'string' ? image.url : ''
  if (!asData) return { url }
  const data = /^data:[^,]{0,100};base64,/.exec(url.slice(0, 128))?.[0]
  if (data === undefined) {
    throw new Problem('unsupported_by_provider', 'this model gives no images as b64_json; ask for url', {
      param: 'response_format'
    })
  }
  return { b64_json: url.slice(data.length) }
}

/** fal answers `{"detail":"…"}`, or a list of what is wrong with each member. */
function falMessage(answer: unknown): string {
  const detail = isJsonObject(answer) ? (answer.detail ?? answer.error) : undefined
  if (typeof detail === 'string') return detail
  if (!Array.isArray(detail)) return 'the provider refused the request'
  const problems = detail.flatMap((item: unknown) => {
    if (!isJsonObject(item) || typeof item.msg !== 'string') return []
    const place = Array.isArray(item.loc) ? item.loc.filter(isStep).join('.') : ''
    return [place === '' ? item.msg : `${place}: ${item.msg}`]
  })
  return problems.join('; ') || 'the provider refused the request'
}

/** Name of a member or index of an item. */
const isStep = (step: unknown): boolean => typeof step === 'string' || typeof step === 'number'
