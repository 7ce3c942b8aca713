import { afterEach, describe, expect, it } from '@jest/globals'
import { type Answer, Cleanup, fakeSidecar, serve, startRouter } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** Two providers with lists, `openai` being the default one, and `fal`, which has none. */
async function routerWithLists(environment: Record<string, string> = {}) {
  const seen: string[] = []
  const sidecar = await fakeSidecar(cleanup)
  const first = await serve(cleanup, (request, response) => {
    seen.push(`openai ${request.headers.authorization}`)
    if (request.headers.authorization === 'Bearer bad') response.writeHead(401).end('{"error":{}}')
    else response.end('{"object":"list","data":[{"id":"gpt-4o","object":"model"},{"no":"id"}]}')
  })
  const second = await serve(cleanup, (request, response) => {
    seen.push(`openrouter ${request.headers.authorization}`)
    if (request.headers.authorization === 'Bearer bad') response.end('<html>')
    else response.end('[{"id":"anthropic/claude"}]')
  })
  const router = await startRouter(cleanup, {
    SKR_URL: sidecar.url,
    CONFROUTER_PROVIDERS: JSON.stringify({
      openai: { baseUrl: first, allowPrivate: true },
      openrouter: { baseUrl: second, allowPrivate: true },
      fal: {}
    }),
    ...environment
  })
  const list = async (headers = {}): Promise<{ status: number; json: Answer }> => {
    const answer = await fetch(`${router.url}/v1/models`, { headers })
    return { status: answer.status, json: await answer.json() }
  }
  return { seen, list }
}

describe('GET /v1/models', () => {
  it('joins the lists with the names of the providers before the models', async () => {
    const { list } = await routerWithLists({ OPENAI_API_KEY: 'a', OPENROUTER_API_KEY: 'b', FAL_KEY: 'c' })
    expect(await list()).toEqual({
      status: 200,
      json: {
        object: 'list',
        data: [{ id: 'openai:gpt-4o', object: 'model' }, { id: 'openrouter:anthropic/claude' }]
      }
    })
  })

  it("shows a caller's own key to the default provider alone", async () => {
    const { list, seen } = await routerWithLists({ OPENROUTER_API_KEY: 'b' })
    const { json } = await list({ authorization: 'Bearer own' })
    expect(json.data).toEqual([{ id: 'openai:gpt-4o', object: 'model' }])
    expect(seen).toEqual(['openai Bearer own'])
  })

  it('names the providers that could not be listed', async () => {
    const { list } = await routerWithLists({ OPENAI_API_KEY: 'a', OPENROUTER_API_KEY: 'bad' })
    expect((await list()).json).toEqual({
      object: 'list',
      data: [{ id: 'openai:gpt-4o', object: 'model' }],
      unavailable: ['openrouter']
    })
  })

  it('fails when no provider could be listed, or asked', async () => {
    const { list } = await routerWithLists()
    expect(await list({ authorization: 'Bearer bad' })).toMatchObject({
      status: 502,
      json: { error: { code: 'upstream_failed' } }
    })
    expect(await list()).toMatchObject({ status: 401, json: { error: { code: 'missing_api_key' } } })
  })

  it("counts against the rate limit of the router's keys", async () => {
    const { list } = await routerWithLists({ OPENAI_API_KEY: 'a', RATE_LIMIT_PER_MINUTE: '1' })
    expect((await list()).status).toBe(200)
    expect((await list()).status).toBe(429)
  })
})
