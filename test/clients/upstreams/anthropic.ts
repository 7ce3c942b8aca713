import type { Cleanup } from '../../unit/router/harness.js'
import { event, sendJson, startUpstream, type Upstream, writeEach } from './upstream.js'

/** Anthropic's API at `/v1`: a key and a version in headers of their own, and events with names. */
export function startAnthropic(cleanup: Cleanup): Promise<Upstream> {
  return startUpstream(cleanup, async (call, response) => {
    const refuse = (status: number, type: string, message: string): void =>
      sendJson(call, response, { type: 'error', error: { type, message } }, { status })
    response.setHeader('request-id', 'req_anthropic')
    const { 'x-api-key': key, 'anthropic-version': version } = call.headers
    if (key !== 'sk-ant') return refuse(401, 'authentication_error', 'invalid x-api-key')
    if (version === undefined) return refuse(400, 'invalid_request_error', 'anthropic-version: header is required')
    if (call.url === '/v1/models') {
      const data = [{ type: 'model', id: 'claude-sonnet-4-5', display_name: 'Claude Sonnet 4.5' }]
      return sendJson(call, response, { data, has_more: false, first_id: null, last_id: null })
    }
    if (call.url !== '/v1/messages') return refuse(404, 'not_found_error', 'Not found')
    const { model, messages, stream } = JSON.parse(call.body.toString())
    const text = `You said: ${messages.at(-1).content}`
    const message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model,
      content: [{ type: 'text', text }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 3, output_tokens: 4 }
    }
    if (stream !== true) return sendJson(call, response, message)
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    const named = (type: string, rest: object): string => event({ type, ...rest }, type)
    await writeEach(response, [
      named('message_start', { message: { ...message, content: [], stop_reason: null } }),
      named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      named('ping', {}),
      ...text
        .split(/(?= )/)
        .map((delta) => named('content_block_delta', { index: 0, delta: { type: 'text_delta', text: delta } })),
      named('content_block_stop', { index: 0 }),
      named('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 4 } }),
      named('message_stop', {})
    ])
    response.end()
  })
}
