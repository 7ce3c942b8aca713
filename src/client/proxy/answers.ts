import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Refusal } from './failures.js'

/** On every answer: none of them is a page that may do anything, whatever its type says. */
export const lockedDown = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
} as const

/** Sends a whole answer, unless one has begun. */
export function send(
  response: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  body: string | Uint8Array
): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, {
    ...lockedDown,
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
    ...headers
  })
  response.end(body)
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: OutgoingHttpHeaders = {}
): void {
  send(response, status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value))
}

export function refuse(response: ServerResponse, { status, code, message, headers = {} }: Refusal): void {
  sendJson(response, status, { error: { message, type: 'confrouter_error', code, param: null } }, headers)
}

/** Ends the connection so that no client takes what came for a whole answer: not even one that reads until it closes. */
export function breakOff(response: ServerResponse): void {
  response.socket?.resetAndDestroy()
  response.destroy()
}
