import type { Call } from './call.js'
import { chooseByModel } from './model.js'
import { Problem } from './problem.js'

/**
 * `/v1/realtime`: the provider by the model in the query, which then is as the provider calls it; the
 * rest of the query stays as the caller wrote it. Without a model the default provider.
 */
export function targetBySession(call: Call): void {
  const parts = call.query.slice(1).split('&')
  const names = parts.map((part) => decode(nameOf(part)))
  const at = names.indexOf('model')
  if (at !== names.lastIndexOf('model')) throw invalidModel('the query has more than one "model"')
  const written = parts[at]
  const named = written === undefined ? undefined : decode(written.slice(nameOf(written).length + 1))
  if (named === undefined && written !== undefined) throw invalidModel('the model in the query is no text')
  const { provider, model } = chooseByModel(named, call.context.settings.providers)
  call.record.provider = provider.name
  if (!provider.openaiCompatible) {
    throw new Problem(
      'unsupported_by_provider',
      `the provider "${provider.name}" has an API of its own; use /providers/${provider.name}/…`,
      { param: 'model' }
    )
  }
  if (written !== undefined && model !== undefined && model !== named) {
    parts[at] = `${nameOf(written)}=${encodeURIComponent(model)}`
    call.query = `?${parts.join('&')}`
  }
  // A session has no end and asks as often as it wants, so where anybody may use the router's key it would be one
  // that no rate limits; and other parameters than the model join sessions that the account has.
  call.targets = [{ provider, base: provider, path: '/realtime', wholeApi: true, model, body: undefined }]
}

const nameOf = (part: string): string => part.split('=', 1)[0] ?? ''

/** As the WHATWG URL standard reads a query; `undefined` for what is no UTF-8 in valid percent-encoding. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

const invalidModel = (message: string): Problem => new Problem('invalid_model', message, { param: 'model' })
