// The least that a streaming proxy on undici.request does, to compare with: no limits, no checks,
// no log. Usage: node bare-proxy.js PORT UPSTREAM_PORT
import { createServer } from 'node:http'
import process from 'node:process'
import { pipeline } from 'node:stream/promises'
import { Pool } from 'undici'

const [port, upstreamPort] = process.argv.slice(2).map(Number)
const upstream = new Pool(`http://127.0.0.1:${upstreamPort}`)

createServer((request, response) => {
  pass(request, response).catch(() => {
    if (response.headersSent) response.destroy()
    else response.writeHead(502).end()
  })
}).listen(port, '127.0.0.1')

async function pass(request, response) {
  const { statusCode, headers, body } = await upstream.request({
    method: request.method,
    path: request.url,
    headers: endToEnd(request.headers),
    body: request.method === 'GET' ? null : request
  })
  response.writeHead(statusCode, endToEnd(headers))
  await pipeline(body, response)
}

/** RFC 9110 section 7.6.1. */
function endToEnd(headers) {
  const kept = { ...headers }
  for (const name of ['connection', 'keep-alive', 'transfer-encoding']) delete kept[name]
  return kept
}
