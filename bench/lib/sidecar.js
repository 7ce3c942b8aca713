// Plays the Secure Key Release sidecar to a router that is measured: the recorded answers of the
// real one (test/vectors/skr), with a key of this run.
import { createHash, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

const vectors = join(import.meta.dirname, '..', '..', 'test', 'vectors', 'skr')

/** Serves on a free port of 127.0.0.1. */
export async function startSidecar() {
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })
  const server = createServer((request, response) => void answer(key, request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

async function answer(key, request, response) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  response.setHeader('content-type', 'application/json; charset=utf-8')
  response.end(answerTo(request.url, Buffer.concat(chunks).toString(), key))
}

function answerTo(path, body, key) {
  switch (path) {
    case '/status':
      return recorded('01-status')
    case '/key/release':
      return JSON.stringify({ key: JSON.stringify({ ...key, key_ops: ['encrypt'] }) })
    case '/attest/maa':
      return recorded('08-maa-ok')
    case '/attest/combined': {
      const parts = JSON.parse(recorded('07-combined-ok'))
      const report = Buffer.from(parts.evidence, 'base64')
      // REPORT_DATA: the SHA-256 of the runtime data, and zeros.
      report.fill(0, 80, 144)
      const runtimeData = Buffer.from(JSON.parse(body).runtime_data, 'base64')
      createHash('sha256').update(runtimeData).digest().copy(report, 80)
      return JSON.stringify({ ...parts, evidence: report.toString('base64') })
    }
    default:
      throw new Error(`the sidecar has no ${path}`)
  }
}

function recorded(name) {
  const text = readFileSync(join(vectors, `client-${name}.http`), 'utf8').replaceAll('\r\n', '\n')
  return text.slice(text.indexOf('\n\n', text.indexOf('HTTP/1.1 ')) + 2).trimEnd()
}
