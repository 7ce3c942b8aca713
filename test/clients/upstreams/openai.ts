import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Answer, Cleanup } from '../../unit/router/harness.js'
import { event, type SeenCall, sendJson, startUpstream, type Upstream, writeEach } from './upstream.js'

export interface OpenaiOptions {
  /** Keys that it takes; any if there are none. */
  readonly keys?: readonly string[]
  /** Sends comments while there is nothing to say, and names a provider in each chunk, as OpenRouter does. */
  readonly openrouter?: boolean
}

/** An API of OpenAI's form at `/v1`, with an account that is empty at the start. */
export async function startOpenai(
  cleanup: Cleanup,
  { keys, openrouter = false }: OpenaiOptions = {}
): Promise<Upstream> {
  const account: Account = { files: new Map(), uploads: new Map(), batches: new Map(), responses: new Map() }
  let answered = 0
  return startUpstream(cleanup, async (call, response) => {
    for (const [name, value] of Object.entries(usualHeaders(++answered))) response.setHeader(name, value)
    const key = call.headers.authorization?.replace(/^Bearer /, '')
    if (keys !== undefined && (key === undefined || !keys.includes(key))) {
      refuse(call, response, 401, 'invalid_api_key', 'Incorrect API key provided')
      return
    }
    const { pathname, searchParams } = new URL(call.url, 'http://upstream')
    for (const [method, pattern, handle] of operations) {
      const parts = pattern.exec(pathname)
      if (parts === null || method !== call.method) continue
      await handle({ call, response, account, openrouter, query: searchParams, id: parts[1] ?? '' })
      return
    }
    refuse(call, response, 404, 'unknown_url', `Invalid URL (${call.method} ${pathname})`)
  })
}

/** What stands in the head of every answer of OpenAI: its own, and its content network's. */
const usualHeaders = (count: number): Record<string, string | string[]> => ({
  'x-request-id': `req_${count}`,
  'openai-processing-ms': '42',
  'openai-version': '2020-10-01',
  'openai-organization': 'the-organisation',
  'x-ratelimit-remaining-requests': '99',
  'set-cookie': ['__cf_bm=abc; path=/; HttpOnly', '_cfuvid=def; path=/'],
  'strict-transport-security': 'max-age=31536000',
  'alt-svc': 'h3=":443"',
  server: 'cloudflare',
  'cf-ray': '8e1-FRA'
})

interface Account {
  readonly files: Map<string, { readonly info: object; readonly bytes: Buffer }>
  readonly uploads: Map<string, { readonly info: Answer; readonly parts: Map<string, Buffer> }>
  readonly batches: Map<string, object>
  readonly responses: Map<string, object>
}

interface Operation {
  readonly call: SeenCall
  readonly response: ServerResponse
  readonly account: Account
  readonly openrouter: boolean
  readonly query: URLSearchParams
  /** What stands in the path in place of an id. */
  readonly id: string
}

type Handle = (operation: Operation) => void | Promise<void>

const created = 1_700_000_000

function refuse(call: SeenCall, response: ServerResponse, status: number, code: string, message: string): void {
  sendJson(call, response, { error: { message, type: 'invalid_request_error', param: null, code } }, { status })
}

const bodyOf = ({ call }: Operation): Answer => JSON.parse(call.body.toString('utf8'))

/** Reads a form with the parser of the platform, which is not the router's. */
export async function formOf({ headers, body }: SeenCall): Promise<FormData> {
  const bytes = new Uint8Array(body)
  return new Response(bytes, { headers: { 'content-type': headers['content-type'] ?? '' } }).formData()
}

const textOf = (form: FormData, name: string): string => {
  const value = form.get(name)
  return typeof value === 'string' ? value : ''
}

const bytesOf = async (form: FormData, name: string): Promise<Buffer> => {
  const value = form.get(name)
  return value instanceof Blob ? Buffer.from(await value.arrayBuffer()) : Buffer.alloc(0)
}

function reply({ call, response }: Operation, value: unknown): void {
  sendJson(call, response, value)
}

function notFound({ call, response, id }: Operation): void {
  refuse(call, response, 404, 'not_found', `No such object: ${id}`)
}

const sse = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

function chat(operation: Operation): Promise<void> | void {
  const { response, openrouter } = operation
  const { model, messages, stream, stream_options: options, tools } = bodyOf(operation)
  const content = `You said: ${messages.at(-1).content}`
  const usage = { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 }
  const call = {
    id: 'call_1',
    type: 'function',
    function: { name: tools?.[0]?.function.name, arguments: '{"city":"Köln"}' }
  }
  if (stream !== true) {
    const message = tools === undefined ? { content } : { content: null, tool_calls: [call] }
    const finish = tools === undefined ? 'stop' : 'tool_calls'
    reply(operation, {
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created,
      model,
      choices: [{ index: 0, message: { role: 'assistant', refusal: null, ...message }, finish_reason: finish }],
      usage
    })
    return
  }
  const piece = (delta: object, finish: string | null = null): string =>
    event({
      id: 'chatcmpl-1',
      ...(openrouter ? { provider: 'Some Host' } : {}),
      object: 'chat.completion.chunk',
      created,
      model,
      choices: [{ index: 0, delta, finish_reason: finish }]
    })
  const [first = '', rest = ''] = ['{"city":', '"Köln"}']
  const deltas =
    tools === undefined
      ? content.split(/(?= )/).map((word) => piece({ content: word }))
      : [
          piece({ tool_calls: [{ index: 0, ...call, function: { ...call.function, arguments: '' } }] }),
          piece({ tool_calls: [{ index: 0, function: { arguments: first } }] }),
          piece({ tool_calls: [{ index: 0, function: { arguments: rest } }] })
        ]
  const total = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created, model, choices: [], usage }
  const waiting = openrouter ? [': OPENROUTER PROCESSING\n\n'] : []
  response.writeHead(200, sse)
  return writeEach(response, [
    ...waiting,
    ...waiting,
    piece({ role: 'assistant', content: '' }),
    ...deltas.flatMap((delta) => [delta, ...waiting]),
    piece({}, tools === undefined ? 'stop' : 'tool_calls'),
    ...(options?.include_usage === true ? [event(total)] : []),
    event('[DONE]')
  ]).then(() => void response.end())
}

function completion(operation: Operation): void {
  const { model, prompt } = bodyOf(operation)
  const choices = [{ index: 0, text: ` and ${prompt}`, logprobs: null, finish_reason: 'stop' }]
  reply(operation, { id: 'cmpl-1', object: 'text_completion', created, model, choices })
}

async function respond(operation: Operation): Promise<void> {
  const { account, response } = operation
  const { model, input, stream, background } = bodyOf(operation)
  const id = `resp_${account.responses.size + 1}`
  const text = `You said: ${input}`
  const item = {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text, annotations: [] }]
  }
  const whole = {
    id,
    object: 'response',
    created_at: created,
    status: background === true ? 'queued' : 'completed',
    model,
    output: [item],
    parallel_tool_calls: true,
    tools: [],
    usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7 }
  }
  account.responses.set(id, whole)
  if (stream !== true) {
    reply(operation, whole)
    return
  }
  let number = 0
  const typed = (type: string, rest: object): string => event({ type, sequence_number: number++, ...rest }, type)
  const place = { item_id: 'msg_1', output_index: 0, content_index: 0 }
  response.writeHead(200, sse)
  await writeEach(response, [
    typed('response.created', { response: { ...whole, status: 'in_progress', output: [] } }),
    typed('response.output_item.added', { output_index: 0, item: { ...item, content: [] } }),
    ...text.split(/(?= )/).map((delta) => typed('response.output_text.delta', { ...place, delta })),
    typed('response.output_text.done', { ...place, text }),
    typed('response.completed', { response: whole })
  ])
  response.end()
}

function changeResponse(change: (known: object) => object): Handle {
  return (operation) => {
    const known = operation.account.responses.get(operation.id)
    if (known === undefined) notFound(operation)
    else reply(operation, change(known))
  }
}

function embed(operation: Operation): void {
  const { model, input, encoding_format: format } = bodyOf(operation)
  const inputs: string[] = Array.isArray(input) ? input : [input]
  const data = inputs.map((text, index) => {
    const vector = Float32Array.from([...createHash('sha256').update(text).digest().subarray(0, 8)])
    const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector]
    return { object: 'embedding', index, embedding }
  })
  reply(operation, { object: 'list', model, data, usage: { prompt_tokens: 2, total_tokens: 2 } })
}

const png = Buffer.from('89504e470d0a1a0a', 'hex')

function drawImage(operation: Operation): void {
  const { response_format: format } = bodyOf(operation)
  const image = format === 'url' ? { url: 'https://images.example/1.png' } : { b64_json: png.toString('base64') }
  reply(operation, { created, data: [image] })
}

async function editImage(operation: Operation): Promise<void> {
  const form = await formOf(operation.call)
  const images = [...form.getAll('image'), ...form.getAll('image[]')].filter((value) => value instanceof Blob)
  const sizes = images.map(({ size }) => size).join()
  const revised = `${textOf(form, 'model')} ${textOf(form, 'prompt')} ${sizes}`
  reply(operation, { created, data: [{ b64_json: png.toString('base64'), revised_prompt: revised }] })
}

async function transcribe(operation: Operation): Promise<void> {
  const { call, response } = operation
  const form = await formOf(call)
  const file = await bytesOf(form, 'file')
  const text = `${textOf(form, 'model')} ${createHash('sha256').update(file).digest('hex')}`
  if (form.get('stream') === 'true') {
    response.writeHead(200, sse)
    await writeEach(response, [
      event({ type: 'transcript.text.delta', delta: text }, 'transcript.text.delta'),
      event({ type: 'transcript.text.done', text }, 'transcript.text.done')
    ])
    response.end()
  } else if (form.get('response_format') === 'text') {
    response.writeHead(200, { 'content-type': 'text/plain' }).end(`${text}\n`)
  } else {
    reply(operation, { text, names: [...form.keys()] })
  }
}

/** Of no length that is known at the start; comes in pieces. */
async function speak(operation: Operation): Promise<void> {
  const { response } = operation
  const { input } = bodyOf(operation)
  response.writeHead(200, { 'content-type': 'audio/mpeg', 'transfer-encoding': 'chunked' })
  await writeEach(response, Array<string>(50).fill(input))
  response.end()
}

function moderate(operation: Operation): void {
  const { model } = bodyOf(operation)
  reply(operation, { id: 'modr-1', model, results: [{ flagged: false, categories: {}, category_scores: {} }] })
}

async function createFile(operation: Operation): Promise<void> {
  const { account, call } = operation
  const form = await formOf(call)
  const bytes = await bytesOf(form, 'file')
  const id = `file-${account.files.size + 1}`
  const { name } = form.get('file') as File
  const info = {
    id,
    object: 'file',
    bytes: bytes.length,
    created_at: created,
    filename: name,
    purpose: form.get('purpose')
  }
  account.files.set(id, { info, bytes })
  reply(operation, info)
}

function listFiles(operation: Operation): void {
  const { account, query } = operation
  const all = [...account.files.entries()]
  const after = query.get('after')
  const start = after === null ? 0 : all.findIndex(([id]) => id === after) + 1
  const page = all.slice(start, start + Number(query.get('limit') ?? 100))
  const more = start + page.length < all.length
  reply(operation, { object: 'list', data: page.map(([, { info }]) => info), has_more: more })
}

function readFile(operation: Operation): void {
  const file = operation.account.files.get(operation.id)
  if (file === undefined) notFound(operation)
  else reply(operation, file.info)
}

function readContent(operation: Operation): void {
  const { account, id, response } = operation
  const file = account.files.get(id)
  if (file === undefined) notFound(operation)
  else response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(file.bytes)
}

function deleteFile(operation: Operation): void {
  const { account, id } = operation
  reply(operation, { id, object: 'file', deleted: account.files.delete(id) })
}

function createUpload(operation: Operation): void {
  const { account } = operation
  const id = `upload_${account.uploads.size + 1}`
  const info = {
    id,
    object: 'upload',
    status: 'pending',
    created_at: created,
    expires_at: created,
    ...bodyOf(operation)
  }
  account.uploads.set(id, { info, parts: new Map() })
  reply(operation, info)
}

async function addPart(operation: Operation): Promise<void> {
  const { account, call, id } = operation
  const upload = account.uploads.get(id)
  if (upload === undefined) return notFound(operation)
  const part = `part_${upload.parts.size + 1}`
  upload.parts.set(part, await bytesOf(await formOf(call), 'data'))
  reply(operation, { id: part, object: 'upload.part', created_at: created, upload_id: id })
}

function completeUpload(operation: Operation): void {
  const { account, id } = operation
  const upload = account.uploads.get(id)
  if (upload === undefined) return notFound(operation)
  const { part_ids: parts } = bodyOf(operation)
  const bytes = Buffer.concat(parts.map((part: string) => upload.parts.get(part) ?? Buffer.alloc(0)))
  const file = {
    id: `file-${account.files.size + 1}`,
    object: 'file',
    bytes: bytes.length,
    filename: upload.info.filename
  }
  account.files.set(file.id, { info: file, bytes })
  reply(operation, { ...upload.info, status: 'completed', file })
}

function createBatch(operation: Operation): void {
  const { account } = operation
  const id = `batch_${account.batches.size + 1}`
  const batch = { id, object: 'batch', status: 'validating', created_at: created, ...bodyOf(operation) }
  account.batches.set(id, batch)
  reply(operation, batch)
}

function changeBatch(change: object): Handle {
  return (operation) => {
    const batch = operation.account.batches.get(operation.id)
    if (batch === undefined) notFound(operation)
    else reply(operation, { ...batch, ...change })
  }
}

const model = (id: string): object => ({ id, object: 'model', created, owned_by: 'system' })

const operations: readonly (readonly [method: string, path: RegExp, handle: Handle])[] = [
  ['POST', /^\/v1\/chat\/completions$/, chat],
  ['POST', /^\/v1\/completions$/, completion],
  ['POST', /^\/v1\/responses$/, respond],
  ['GET', /^\/v1\/responses\/([^/]+)$/, changeResponse((known) => known)],
  ['POST', /^\/v1\/responses\/([^/]+)\/cancel$/, changeResponse((known) => ({ ...known, status: 'cancelled' }))],
  ['POST', /^\/v1\/embeddings$/, embed],
  ['POST', /^\/v1\/images\/generations$/, drawImage],
  ['POST', /^\/v1\/images\/edits$/, editImage],
  ['POST', /^\/v1\/audio\/transcriptions$/, transcribe],
  ['POST', /^\/v1\/audio\/speech$/, speak],
  ['POST', /^\/v1\/moderations$/, moderate],
  ['POST', /^\/v1\/files$/, createFile],
  ['GET', /^\/v1\/files$/, listFiles],
  ['GET', /^\/v1\/files\/([^/]+)$/, readFile],
  ['GET', /^\/v1\/files\/([^/]+)\/content$/, readContent],
  ['DELETE', /^\/v1\/files\/([^/]+)$/, deleteFile],
  ['POST', /^\/v1\/uploads$/, createUpload],
  ['POST', /^\/v1\/uploads\/([^/]+)\/parts$/, addPart],
  ['POST', /^\/v1\/uploads\/([^/]+)\/complete$/, completeUpload],
  ['POST', /^\/v1\/batches$/, createBatch],
  ['GET', /^\/v1\/batches\/([^/]+)$/, changeBatch({ status: 'in_progress' })],
  ['POST', /^\/v1\/batches\/([^/]+)\/cancel$/, changeBatch({ status: 'cancelling' })],
  [
    'POST',
    /^\/v1\/vector_stores$/,
    (operation) => reply(operation, { id: 'vs_1', object: 'vector_store', ...bodyOf(operation) })
  ],
  [
    'GET',
    /^\/v1\/models$/,
    (operation) => reply(operation, { object: 'list', data: [model('gpt-4o-mini'), model('whisper-1')] })
  ],
  ['GET', /^\/v1\/models\/(.+)$/, (operation) => reply(operation, model(decodeURIComponent(operation.id)))]
]
