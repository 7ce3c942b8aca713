import { describe, expect, it } from '@jest/globals'
import { requestHeaders, responseHeaders } from '../../../src/router/headers.js'

describe('requestHeaders', () => {
  it('keeps what is on the list and adds the key in the form of the provider', () => {
    const incoming = {
      'content-type': 'application/json',
      'openai-beta': 'assistants=v2',
      authorization: 'Bearer caller',
      'x-api-key': 'caller',
      cookie: 'a=b',
      host: 'router',
      forwarded: 'for=1.2.3.4',
      'x-forwarded-for': '1.2.3.4',
      'user-agent': 'caller/1',
      connection: 'keep-alive',
      'transfer-encoding': 'chunked'
    }
    const kept = { 'user-agent': 'confrouter', 'content-type': 'application/json', 'openai-beta': 'assistants=v2' }
    expect(requestHeaders(incoming, 'Bearer', 'k')).toEqual({ ...kept, authorization: 'Bearer k' })
    expect(requestHeaders(incoming, 'Key', 'k')).toEqual({ ...kept, authorization: 'Key k' })
    expect(requestHeaders(incoming, 'x-api-key', 'k')).toEqual({ ...kept, 'x-api-key': 'k' })
    expect(requestHeaders(incoming, 'api-key', 'k')).toEqual({ ...kept, 'api-key': 'k' })
    expect(requestHeaders(incoming, 'none', 'k')).toEqual(kept)
    expect(requestHeaders(incoming, 'Bearer', undefined)).toEqual(kept)
  })
})

describe('responseHeaders', () => {
  it('removes what is of one hop, also when Connection names it, and what is of another origin', () => {
    expect(
      responseHeaders({
        'content-type': 'text/event-stream',
        'x-request-id': '1',
        'retry-after': '3',
        connection: 'close, X-Hop',
        'x-hop': '1',
        'transfer-encoding': 'chunked',
        'keep-alive': 'timeout=5',
        'set-cookie': ['a=b'],
        'alt-svc': 'h3',
        'strict-transport-security': 'max-age=1',
        server: 'cloudflare'
      })
    ).toEqual({ 'content-type': 'text/event-stream', 'x-request-id': '1', 'retry-after': '3' })
  })
})
