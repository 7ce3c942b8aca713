import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { Cleanup, type RunningRouter } from '../unit/router/harness.js'
import { hasProgram, runProgram } from './run-program.js'
import { local, routerFor, untilQuiet } from './setup.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

/** Where there is no Python, its tests are shown as skipped, with this name. */
const suite = hasProgram('python3', '-c', 'import http.client') ? describe : describe.skip

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let router: RunningRouter

suite('http.client of Python (skipped where it is not installed)', () => {
  beforeAll(async () => {
    upstream = await startOpenai(cleanup, { keys: ['sk-own'] })
    router = await routerFor(cleanup, { openai: local(upstream) })
  })

  afterEach(() => untilQuiet(router, upstream))

  it('keeps a connection over good and refused calls, streams, chunked requests and forms', async () => {
    const { port } = new URL(router.url)
    const { code, stdout, stderr } = await runProgram('python3', ['-c', script, port]).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { calls, chunked, form, lines } = JSON.parse(stdout)
    expect(calls).toEqual([
      ['POST /v1/chat/completions', 200, 'same connection'],
      ['POST /v1/chat/completions', 404, 'same connection'],
      ['POST /v1/chat/completions', 400, 'same connection'],
      ['POST /v1/chat/completions', 401, 'same connection'],
      ['GET /v1/nosuch', 404, 'same connection'],
      ['POST /v1/chat/completions', 200, 'same connection'],
      ['GET /v1/files?limit=1', 200, 'same connection'],
      ['DELETE /v1/files/file-1', 200, 'same connection'],
      ['GET /v1/models', 200, 'same connection']
    ])
    expect(chunked).toEqual(Array(3).fill([200, 'You said: hi']))
    expect(form).toEqual([200, 'whisper-1 '])
    expect(lines).toEqual(['text/event-stream; charset=utf-8', 6, 'data: [DONE]'])
  })
})

/** One process for all: to start it takes longer than what it does. */
const script = `
import http.client, json, sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
connection.connect()
address = connection.sock.getsockname()
own = {"Authorization": "Bearer sk-own"}
as_json = {**own, "Content-Type": "application/json"}
body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]})
streamed = body[:-1] + ', "stream": true}'

def ask(method, path, body=None, headers=as_json):
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    response.read()
    same = connection.sock is not None and connection.sock.getsockname() == address
    return [method + " " + path, response.status, "same connection" if same else "another connection"]

chat = "/v1/chat/completions"
calls = [
    ask("POST", chat, body),
    ask("POST", chat, body.replace('"gpt', '"nosuch:gpt')),
    ask("POST", chat, "{"),
    ask("POST", chat, body, {"Content-Type": "application/json"}),
    ask("GET", "/v1/nosuch", None, own),
    ask("POST", chat, streamed),
    ask("GET", "/v1/files?limit=1", None, own),
    ask("DELETE", "/v1/files/file-1", None, own),
    ask("GET", "/v1/models", None, own),
]

def pieces():
    for start in range(0, len(body), 10):
        yield body[start:start + 10].encode()

chunked = []
for path in [chat, "/providers/openai/chat/completions", chat]:
    headers = {**as_json, "Transfer-Encoding": "chunked"}
    connection.request("POST", path, pieces(), headers, encode_chunked=True)
    response = connection.getresponse()
    chunked.append([response.status, json.loads(response.read())["choices"][0]["message"]["content"]])

boundary = "=_boundary:1"
line = "\\r\\n"
head = "--" + boundary + line + 'Content-Disposition: form-data; name="file"; filename="a.wav"' + line + line
part = line + "--" + boundary + line + 'Content-Disposition: form-data; name="model"' + line + line + "whisper-1"
form = head.encode() + bytes(range(256)) * 1000 + (part + line + "--" + boundary + "--" + line).encode()
headers = {**own, "Content-Type": 'multipart/form-data; boundary="' + boundary + '"'}
connection.request("POST", "/v1/audio/transcriptions", form, headers)
response = connection.getresponse()
form = [response.status, json.loads(response.read())["text"][:10]]

connection.request("POST", chat, streamed, as_json)
response = connection.getresponse()
lines = [text.decode().strip() for text in response if text.strip()]
lines = [response.getheader("content-type"), len(lines), lines[-1]]

print(json.dumps({"calls": calls, "chunked": chunked, "form": form, "lines": lines}))
`
