import { request } from 'undici'
import { isJsonObject, type JsonObject } from '../base/json.js'
import type { Call } from './call.js'
import { keyFor } from './credentials.js'
import type { Peer } from './egress.js'
import { authorization, versionFor } from './headers.js'
import { Problem, retryLater } from './problem.js'
import type { Provider } from './providers.js'
import { readAtMost } from './read-at-most.js'

interface Model extends JsonObject {
  readonly id: string
}

const isModel = (value: unknown): value is Model => isJsonObject(value) && typeof value.id === 'string'

const timeoutMs = 10_000
/** OpenRouter's list, the longest, has less than 1 MB. */
const maximumListBytes = 8 * 1024 ** 2

/**
 * `GET /v1/models`: the lists of all providers, each name with its provider before it. A caller's
 * own key is of one provider, the default one, and is shown to no other. What could not be listed is
 * named in `unavailable`, so that a missing model is never a riddle.
 */
export async function listModels(call: Call): Promise<void> {
  const { settings, callRate } = call.context
  const askable = [...settings.providers.enabled.values()].flatMap((provider) => {
    const key = keyOf(call, provider)
    return provider.openaiCompatible && (key !== undefined || provider.auth === 'none') ? [{ provider, key }] : []
  })
  if (askable.length === 0) {
    throw new Problem('missing_api_key', 'this router has no provider keys; send your own as "Authorization: Bearer …"')
  }
  if (call.caller !== undefined && call.caller.ownKey === undefined) {
    const waitSeconds = await callRate.take(call.caller.identity)
    if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests in this minute', waitSeconds)
  }
  const gone = new AbortController()
  call.onGone(() => gone.abort())
  const lists = await Promise.all(
    askable.map(async (one) => ({ ...one, models: await fetchModels(call, one, gone.signal) }))
  )
  const unavailable = lists.filter(({ models }) => models === undefined).map(({ provider }) => provider.name)
  if (unavailable.length === lists.length) {
    throw new Problem('upstream_failed', `no list of models from ${unavailable.join(', ')}`)
  }
  const data = lists.flatMap(({ provider, models = [] }) =>
    models.map((model) => ({ ...model, id: `${provider.name}:${model.id}` }))
  )
  call.json(200, { object: 'list', data, ...(unavailable.length === 0 ? {} : { unavailable }) })
}

function keyOf(call: Call, provider: Provider): string | undefined {
  const { caller, context } = call
  const { ownKey } = caller ?? {}
  if (ownKey !== undefined && provider.name !== (ownKey.provider ?? context.settings.providers.default.name)) {
    return undefined
  }
  try {
    return keyFor(call, { provider, wholeApi: false }).key
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return undefined
  }
}

async function fetchModels(
  call: Call,
  { provider, key }: { provider: Provider; key: string | undefined },
  gone: AbortSignal
): Promise<readonly Model[] | undefined> {
  let peer: Peer | undefined
  const options = {
    dispatcher: call.context.egress.dispatcher(provider),
    signal: AbortSignal.any([gone, AbortSignal.timeout(timeoutMs)]),
    headers: {
      accept: 'application/json',
      'user-agent': 'confrouter',
      ...versionFor(provider.auth, call.headers),
      ...(key === undefined ? {} : authorization(provider.auth, key))
    },
    onPeer: (chosen: Peer) => (peer = chosen)
  }
  try {
    const answer = await request(`${provider.origin}${provider.basePath}/models`, options)
    if (peer !== undefined) call.addUpstream({ provider, base: provider, model: undefined }, peer)
    const body = await readAtMost(answer.body as AsyncIterable<Buffer>, maximumListBytes)
    const list: unknown = JSON.parse(body.toString('utf8'))
    // Together answers with a bare array.
    const models = Array.isArray(list) ? list : isJsonObject(list) ? list.data : undefined
    if (answer.statusCode !== 200 || !Array.isArray(models)) return undefined
    return (models as unknown[]).filter(isModel)
  } catch {
    // Named in `unavailable`; why is the provider's business, and its text may quote the key.
    return undefined
  }
}
