import type { Cleanup } from '../../unit/router/harness.js'
import { event, type SeenCall, sendJson, startUpstream, type Upstream, writeEach } from './upstream.js'

export interface Fal {
  readonly queue: Upstream
  readonly sync: Upstream
}

/** fal's two hosts: the queue, where a request is followed by its id, and the one that answers at once. */
export async function startFal(cleanup: Cleanup): Promise<Fal> {
  const requests = new Map<string, { asked: number; cancelled: boolean; input: unknown }>()
  const queue = await startUpstream(cleanup, async (call, response) => {
    response.setHeader('x-fal-request-id', 'f-queue')
    if (!isAllowed(call)) return sendJson(call, response, { detail: 'Authentication required' }, { status: 401 })
    const { pathname } = new URL(call.url, 'http://queue')
    const [, application = '', id = '', what = ''] = /^\/(.+?)\/requests\/([^/]+)(\/.*)?$/.exec(pathname) ?? []
    if (id === '') {
      const requestId = `r-${requests.size + 1}`
      requests.set(requestId, { asked: 0, cancelled: false, input: JSON.parse(call.body.toString()) })
      const [owner = '', name = ''] = pathname.slice(1).split('/')
      const url = `https://queue.fal.run/${owner}/${name}/requests/${requestId}`
      const urls = { response_url: url, status_url: `${url}/status`, cancel_url: `${url}/cancel` }
      return sendJson(call, response, { request_id: requestId, status: 'IN_QUEUE', queue_position: 0, ...urls })
    }
    const request = requests.get(id)
    if (request === undefined || application.split('/').length !== 2) {
      return sendJson(call, response, { detail: 'Request not found' }, { status: 404 })
    }
    const status = (step: number) => ({
      request_id: id,
      status: ['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED'][step] ?? 'COMPLETED',
      logs: step === 0 ? [] : [{ message: `step ${step}` }]
    })
    switch (`${call.method} ${what}`) {
      case 'GET /status':
        return sendJson(call, response, status(request.asked++), { status: request.asked < 3 ? 202 : 200 })
      case 'GET /status/stream':
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        await writeEach(
          response,
          [0, 1, 2].map((step) => event(status(step)))
        )
        response.end()
        return
      case 'PUT /cancel':
        if (request.cancelled) return sendJson(call, response, { status: 'ALREADY_COMPLETED' }, { status: 400 })
        request.cancelled = true
        return sendJson(call, response, { status: 'CANCELLATION_REQUESTED' }, { status: 202 })
      case 'GET ':
        return sendJson(call, response, { images: [image], input: request.input })
      default:
        return sendJson(call, response, { detail: 'Method not allowed' }, { status: 405 })
    }
  })
  const sync = await startUpstream(cleanup, async (call, response) => {
    response.setHeader('x-fal-request-id', 'f-sync')
    if (!isAllowed(call)) return sendJson(call, response, { detail: 'Authentication required' }, { status: 401 })
    const input = JSON.parse(call.body.toString())
    if (call.url.endsWith('/stream')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      await writeEach(
        response,
        ['a', 'a b', 'a b c'].map((output) => event({ output, partial: output !== 'a b c' }))
      )
      response.end()
      return
    }
    if (input.prompt === undefined) {
      const detail = [{ loc: ['body', 'prompt'], msg: 'field required', type: 'missing' }]
      return sendJson(call, response, { detail }, { status: 422 })
    }
    const data = input.sync_mode === true ? { ...image, url: 'data:image/png;base64,iVBORw0KGgo=' } : image
    return sendJson(call, response, { images: [data], seed: 7, has_nsfw_concepts: [false], prompt: input.prompt })
  })
  return { queue, sync }
}

const image = { url: 'https://v3.fal.media/a.png', width: 1024, height: 768, content_type: 'image/png' }

const isAllowed = ({ headers }: SeenCall): boolean => headers.authorization === 'Key fal-key'
