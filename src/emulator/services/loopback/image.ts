import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { optionalWhole, parseModelBody, requireText } from './json-request.js'
import { unsupported } from './request-error.js'
import { secondsNow } from './words.js'

/** One white pixel: 8-bit greyscale, the smallest PNG that there is. */
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=='

/** `POST /v1/images/generations`: the same tiny PNG, whatever was asked for. */
export function imageGeneration(request: EmulatorRequest): EmulatorResponse {
  const body = parseModelBody(request.body)
  requireText(body, 'prompt')
  const count = optionalWhole(body, 'n', 1, 10)
  if (body['response_format'] === 'url') throw unsupported('response_format', 'images come as b64_json')
  if ((body['output_format'] ?? 'png') !== 'png') throw unsupported('output_format', 'images are PNG')
  if (body['stream'] === true) throw unsupported('stream', 'images come whole')
  const data = Array.from({ length: count }, () => ({ b64_json: pixel }))
  return { status: 200, body: { created: secondsNow(), data } }
}
