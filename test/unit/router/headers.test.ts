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
    expect(requestHeaders(incoming, 'x-api-key', 'k')).toEqual({
      ...kept,
      'anthropic-version': '2023-06-01',
      'x-api-key': 'k'
    })
    expect(requestHeaders(incoming, 'api-key', 'k')).toEqual({ ...kept, 'api-key': 'k' })
    expect(requestHeaders(incoming, 'none', 'k')).toEqual(kept)
    expect(requestHeaders(incoming, 'Bearer', undefined)).toEqual(kept)
  })
})

describe('requestHeaders of special calls', () => {
  const incoming = {
    accept: 'application/json',
    'content-type': 'application/json',
    'openai-organization': 'org-1',
    'openai-project': 'proj_1',
    'openai-beta': 'x',
    'idempotency-key': '1',
    'accept-language': 'de'
  }
  const ours = { 'user-agent': 'confrouter', authorization: 'Bearer k' }

  it("lets no caller choose a part of the account whose key is the router's", () => {
    const { 'openai-organization': _, 'openai-project': __, ...rest } = incoming
    expect(requestHeaders(incoming, 'Bearer', 'k', { usesRouterKey: true })).toEqual({ ...ours, ...rest })
    expect(requestHeaders(incoming, 'Bearer', 'k', {})).toEqual({ ...ours, ...incoming })
  })

  it('sends nothing beside a sealed body that could change what it means', () => {
    const kept = { accept: 'application/json', 'content-type': 'application/json' }
    expect(requestHeaders(incoming, 'Bearer', 'k', { sealed: true })).toEqual({ ...ours, ...kept })
    expect(requestHeaders({ ...incoming, 'anthropic-version': '1' }, 'x-api-key', 'k', { sealed: true })).toEqual({
      'user-agent': 'confrouter',
      'x-api-key': 'k',
      'anthropic-version': '2023-06-01',
      ...kept
    })
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
        'access-control-allow-origin': 'https://a.example',
        'access-control-expose-headers': 'x',
        'strict-transport-security': 'max-age=1',
        server: 'cloudflare'
      })
    ).toEqual({ 'content-type': 'text/event-stream', 'x-request-id': '1', 'retry-after': '3' })
  })
})
