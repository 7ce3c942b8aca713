import type { Call, Target } from './call.js'
import { falImages } from './fal.js'
import { falTarget } from './fal-target.js'
import { findMembers } from './json-members.js'
import { chooseByModel, modelAt, type ModelChoice, withModel } from './model.js'
import { Problem } from './problem.js'
import { checkUpstreamPath } from './upstream-path.js'

/** Where a call goes. */

const modelMember = new Set(['model'])

/** By the model in the body, and where else if that fails, by the configured list for that model. */
export function targetByModel(call: Call): void {
  const { body, form } = call
  if (body !== undefined) targetByJson(call, body)
  else if (form !== undefined) {
    const choice = chooseByModel(form.model, call.context.settings.providers)
    call.targets = [targetFor(call, choice, undefined)]
    const length = call.plainLength
    call.stream = {
      body: form.body(choice.model),
      length: length === undefined ? undefined : length + form.lengthChange(choice.model)
    }
  } else throw new Error('the pipeline has not read the body')
}

function targetByJson(call: Call, body: Buffer): void {
  const { providers, fallbacks } = call.context.settings
  const span = findMembers(body, modelMember).get('model')
  const target = (choice: ModelChoice): Target => targetFor(call, choice, () => withModel(body, span, choice.model))
  const first = chooseByModel(modelAt(body, span), providers)
  const others = fallbacks.get(`${first.provider.name}:${first.model ?? ''}`) ?? []
  call.targets = [
    target(first),
    ...others.flatMap((name) => unlessRefused(() => target(chooseByModel(name, providers))))
  ]
}

/** A fallback that cannot take this call is none for it, which is no failure of the call. */
function unlessRefused(make: () => Target): readonly Target[] {
  try {
    return [make()]
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return []
  }
}

/** The providers' base URLs end where the paths of this API begin. */
function targetFor(call: Call, { provider, model }: ModelChoice, body: Target['body']): Target {
  const path = checkUpstreamPath(call.path.slice('/v1'.length))
  call.record.provider ??= provider.name
  if (provider.openaiCompatible) return { provider, base: provider, path, wholeApi: false, model, body }
  if (provider.sync !== undefined && path === '/images/generations' && body !== undefined && model !== undefined) {
    return { provider, base: provider.sync, wholeApi: false, model, ...falImages(call, body(), model) }
  }
  throw new Problem(
    'unsupported_by_provider',
    `the provider "${provider.name}" has an API of its own; use /providers/${provider.name}/…`,
    { param: 'model' }
  )
}

/** `/providers/{name}/…`: the path names the provider. */
export function targetByPath(call: Call): void {
  const [, , name = ''] = call.path.split('/', 3)
  const provider = call.context.settings.providers.enabled.get(name)
  if (provider === undefined) {
    throw new Problem('unknown_provider', `this router has no provider ${JSON.stringify(name.slice(0, 80))}`)
  }
  call.record.provider = provider.name
  const rest = call.path.slice(`/providers/${name}`.length) || '/'
  const place = falTarget(call, provider, rest) ?? { base: provider, path: rest }
  call.targets = [
    { provider, ...place, path: checkUpstreamPath(place.path), wholeApi: true, model: undefined, body: undefined }
  ]
}

/** `/v1/files` and other things that an account holds: they are of the default provider. */
export function targetByDefault(call: Call): void {
  const { default: provider } = call.context.settings.providers
  call.record.provider = provider.name
  if (!provider.openaiCompatible) {
    throw new Problem(
      'unsupported_by_provider',
      `the default provider has an API of its own; use /providers/${provider.name}/…`
    )
  }
  const path = checkUpstreamPath(call.path.slice('/v1'.length))
  call.targets = [{ provider, base: provider, path, wholeApi: true, model: undefined, body: undefined }]
}

/** `/v1/models/{model}`: the model stands in the path, its provider before it. */
export function targetByModelInPath(call: Call): void {
  targetInPath(call, false)
}

/** The same for what changes the account: a fine-tuned model that is deleted. */
export function targetByOwnModelInPath(call: Call): void {
  targetInPath(call, true)
}

function targetInPath(call: Call, wholeApi: boolean): void {
  const text = call.path.slice('/v1/models/'.length)
  const { provider, model = '' } = chooseByModel(decodeModel(text), call.context.settings.providers)
  call.record.provider = provider.name
  if (!provider.openaiCompatible) {
    throw new Problem('unsupported_by_provider', `the provider "${provider.name}" has no list of models`)
  }
  const path = checkUpstreamPath(`/models/${model.split('/').map(encodeURIComponent).join('/')}`)
  call.targets = [{ provider, base: provider, path, wholeApi, model, body: undefined }]
}

function decodeModel(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Problem('invalid_path', 'the path has a "%" that begins no character')
  }
}
