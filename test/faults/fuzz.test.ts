import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { posix } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import { isJsonObject } from '../../src/base/json.js'
import { readCredential } from '../../src/router/access.js'
import type { Call } from '../../src/router/call.js'
import { falImages } from '../../src/router/fal.js'
import { falTarget } from '../../src/router/fal-target.js'
import { parseFallbacks } from '../../src/router/fallbacks.js'
import { parseFirstJson } from '../../src/router/first-json.js'
import { findMembers } from '../../src/router/json-members.js'
import { chooseByModel, modelAt, withModel } from '../../src/router/model.js'
import { parseBoundary } from '../../src/router/multipart.js'
import { parsePartHeaders } from '../../src/router/part-headers.js'
import { Problem } from '../../src/router/problem.js'
import { parseProviders } from '../../src/router/providers.js'
import { checkRedirect } from '../../src/router/redirect.js'
import type { Reply } from '../../src/router/reply.js'
import { retryDelayMs } from '../../src/router/retry-delay.js'
import { parseSettings, SettingsError } from '../../src/router/settings.js'
import { targetByModelInPath } from '../../src/router/targets.js'
import { checkUpstreamPath } from '../../src/router/upstream-path.js'
import { isAccepted, readHandshake } from '../../src/router/websocket-handshake.js'
import { takeKey } from '../../src/router/websocket-protocols.js'
import { targetBySession } from '../../src/router/websocket-target.js'
import { sealEhbp } from '../../src/seal/ehbp-client.js'
import { SealError } from '../../src/seal/errors.js'
import { deriveKeys } from '../../src/seal/node/derive-keys.js'
import { openSealed, recognizeSealed } from '../../src/seal/node/ehbp.js'
import { requiredEnvironment } from '../unit/router/harness.js'
import { Seeded } from '../unit/seal/seeded.js'
import { vectorKey } from '../unit/seal/test-keys.js'
import { count, damage, joined, jsonObject, jsonPieces, jsonValue, type Tally, written } from './fuzzing.js'

/** 100,000 cases in all. Whatever comes, the outcome is a result that holds or the error that has a name. */
const cases = {
  members: 30_000,
  models: 10_000,
  paths: 15_000,
  modelPaths: 5_000,
  credentials: 5_000,
  websockets: 6_000,
  sealed: 10_000,
  firstJson: 5_000,
  falAnswers: 3_000,
  falTargets: 2_000,
  redirects: 3_000,
  delays: 2_000,
  settings: 2_000,
  forms: 2_000
}

const providers = parseProviders(
  JSON.stringify({ openai: { default: true }, openrouter: {}, fal: {}, own: { baseUrl: 'https://own.example/a/b' } })
)

const seconds = process.cpuUsage().user
const { arrayBuffers, heapUsed } = process.memoryUsage()

/** Both must have happened, and often enough for the cases to mean something. */
function expectOutcomes(tally: Tally, least: Tally): void {
  expect(Object.keys(tally).sort()).toEqual(Object.keys(least).sort())
  for (const [outcome, number] of Object.entries(least)) expect(tally[outcome]).toBeGreaterThan(number)
}

/** What the steps of the pipeline look at. */
const callWith = (parts: object): Call =>
  ({ context: { settings: { providers } }, record: {}, query: '', headers: {}, ...parts }) as unknown as Call

describe('whatever comes', () => {
  it(`as JSON with a model: ${cases.members} cases`, () => {
    const random = new Seeded(201)
    const tally: Tally = {}
    const names = ['model', 'Model', 'mode', 'messages', 'a', '__proto__', 'é', '"', '\\', 'models']
    for (let round = 0; round < cases.members; round++) {
      const value = { ...jsonObject(random, names), ...(random.below(2) === 0 ? { model: 'own:x' } : {}) }
      let text = written(value, random)
      if (random.below(8) === 0) text = text.replace('{', '{"model":"first",')
      if (random.below(2) === 0) text = damage(text, jsonPieces, random)
      const body = Buffer.from(text, random.below(10) === 0 ? 'latin1' : 'utf8')
      const parsed = parse(body)
      count(tally, Problem, () => {
        let span
        try {
          span = findMembers(body, new Set(['model'])).get('model')
        } catch (error) {
          const isTwice = error instanceof Problem && error.param === 'model'
          if (isJsonObject(parsed) && !isTwice) return `wrong: refuses ${text}`
          if (isTwice && !/model|\\u/.test(text)) return `wrong: sees two models in ${text}`
          throw error
        }
        const model = modelAt(body, span)
        const replaced = parse(withModel(body, span, 'another "model"'))
        if (!isJsonObject(parsed)) return replaced === undefined ? 'left to the provider' : `wrong: mends ${text}`
        if (Object.hasOwn(parsed, 'model') !== (span !== undefined)) return `wrong: does not see the model in ${text}`
        if (parsed.model !== model) return `wrong: reads another model than JSON.parse in ${text}`
        const expected = span === undefined ? parsed : { ...parsed, model: 'another "model"' }
        return isDeepStrictEqual(replaced, expected) ? 'read' : `wrong: changes more than the model in ${text}`
      })
    }
    expectOutcomes(tally, { read: 5000, refused: 5000, 'left to the provider': 50 })
  })

  it(`as the name of a model: ${cases.models} cases`, () => {
    const random = new Seeded(202)
    const tally: Tally = {}
    const pieces = [
      'openai',
      'openrouter',
      'fal',
      'own',
      'ft',
      ':',
      '/',
      ':',
      '/',
      'gpt-4o',
      '..',
      '%2f',
      ' ',
      '\0',
      'é',
      '\ud800',
      '__proto__',
      'constructor',
      'x'.repeat(100)
    ]
    const known = [...providers.enabled.values()]
    for (let round = 0; round < cases.models; round++) {
      const name = joined(pieces, 6, random)
      count(tally, Problem, () => {
        const { provider, model = '' } = chooseByModel(name, providers)
        if (!known.includes(provider)) return 'wrong: a provider that is not enabled'
        if (
          model === '' ||
          (name !== model && !(name.slice(0, -model.length - 1) === provider.name && name.endsWith(model)))
        ) {
          return `wrong: ${name} became ${model}`
        }
        if (name === model && provider !== providers.default) return `wrong: ${name} has no prefix`
        const body = Buffer.from('{"model":"x","a":1}')
        const sent = withModel(body, findMembers(body, new Set(['model'])).get('model'), model)
        if (!isDeepStrictEqual(parse(sent), { model, a: 1 })) return `wrong: ${name} cannot be sent`
        const whole = `${provider.name}:${model}`
        if (whole.length > 256) return 'chosen'
        return isDeepStrictEqual(chooseByModel(whole, providers), { provider, model })
          ? 'chosen'
          : `wrong: ${whole} is another`
      })
    }
    expectOutcomes(tally, { chosen: 1000, refused: 1000 })
  })

  it(`as a path to a provider: ${cases.paths} cases`, () => {
    const random = new Seeded(203)
    const tally: Tally = {}
    const pieces = [
      '/',
      '/',
      '/',
      '.',
      '..',
      '/..',
      '/.',
      ';',
      '..;a',
      '%2e',
      '%2E',
      '%2f',
      '%5C',
      '%25',
      '%',
      '%0',
      '%c3%a9',
      '\\',
      'a',
      'files',
      '@',
      ':',
      '?',
      '#',
      ' ',
      '\t',
      '\n',
      '\xe9',
      '~',
      "'",
      '"',
      '<',
      '{',
      '%3b',
      '%00',
      'https:'
    ]
    for (let round = 0; round < cases.paths; round++) {
      const path = `/${joined(pieces, 8, random)}`
      count(tally, Problem, () => {
        const checked = checkUpstreamPath(path)
        if (checked !== path) return 'wrong: changed'
        const base = random.pick(['', '/v1', '/a/b'])
        const url = new URL(`https://own.example${base}${path}`)
        if (url.host !== 'own.example' || url.pathname !== `${base}${path}`)
          return `wrong: ${path} is read as ${url.href}`
        return staysInside(base, path) ? 'accepted' : `wrong: ${path} leads out`
      })
    }
    expectOutcomes(tally, { accepted: 1000, refused: 5000 })
  })

  it(`as a path with a model in it: ${cases.modelPaths} cases`, () => {
    const random = new Seeded(204)
    const tally: Tally = {}
    const pieces = [
      'openai',
      'own',
      ':',
      '/',
      '%2f',
      '%2F',
      '..',
      '%2e',
      '.',
      '%3A',
      '%25',
      '%',
      '%zz',
      '%ed%a0%80',
      '%00',
      '\xe9',
      'gpt',
      '%F0%9F%98%80',
      ';',
      '\\'
    ]
    for (let round = 0; round < cases.modelPaths; round++) {
      const call = callWith({ path: `/v1/models/${joined(pieces, 6, random)}` })
      count(tally, Problem, () => {
        targetByModelInPath(call)
        const [{ path = '', model = '' } = {}] = call.targets
        if (decodeURIComponent(path) !== `/models/${model}`) return `wrong: ${path} for ${model}`
        const url = new URL(`https://own.example/v1${path}`)
        return url.pathname === `/v1${path}` && staysInside('/v1', path) ? 'accepted' : `wrong: ${path} leads out`
      })
    }
    expectOutcomes(tally, { accepted: 300, refused: 1000 })
  })

  it(`as a credential: ${cases.credentials} cases`, () => {
    const random = new Seeded(205)
    const tally: Tally = {}
    const pieces = [
      'Bearer',
      'bearer',
      'KEY',
      'Basic',
      ' ',
      ' ',
      '\t',
      'sk-x',
      ',',
      '\xff',
      '\0',
      '"',
      'a'.repeat(5000),
      ''
    ]
    for (let round = 0; round < cases.credentials; round++) {
      const headers: IncomingHttpHeaders = {}
      for (const name of ['authorization', 'x-api-key', 'api-key']) {
        if (random.below(2) === 0)
          headers[name] = random.below(3) === 0 ? `Bearer ${joined(pieces, 2, random)}` : joined(pieces, 4, random)
      }
      count(tally, Problem, () => {
        const credential = readCredential(headers)
        if (credential === undefined) return Object.values(headers).join('') === '' ? 'none' : 'wrong: overlooked'
        const isWritten = Object.values(headers).some((value) => String(value).endsWith(credential.text))
        return isWritten && /^[\x21-\x7e]{1,8192}$/.test(credential.text) ? 'read' : 'wrong: another text'
      })
    }
    expectOutcomes(tally, { none: 200, read: 300, refused: 1000 })
  })

  it(`as the handshake of a websocket: ${cases.websockets} cases`, () => {
    const random = new Seeded(206)
    const tally: Tally = {}
    const key = 'dGhlIHNhbXBsZSBub25jZQ=='
    const good = { host: 'x', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key }
    const protocols = [
      'realtime',
      ',',
      ', ',
      'openai-insecure-api-key.sk-x',
      'openai-organization.o',
      'OPENAI-INSECURE-API-KEY.',
      '"',
      ' ',
      'é',
      '\0',
      '('
    ]
    const queries = [
      'model=',
      'model',
      'own:',
      'gpt',
      '&',
      '&',
      '=',
      'intent=x',
      '%6dodel=',
      'model=own%3Ax',
      '+',
      '%',
      '%ff',
      '#',
      '?',
      '%26model=',
      ';model='
    ]
    for (let round = 0; round < cases.websockets; round++) {
      const headers: IncomingHttpHeaders = { ...good, 'sec-websocket-protocol': joined(protocols, 5, random) }
      for (const name of Object.keys(good)) {
        if (random.below(12) === 0) headers[name] = damage(String(headers[name]), ['=', 'A', ' ', ',', '\xff'], random)
      }
      const request = {
        method: random.below(20) === 0 ? 'POST' : 'GET',
        httpVersion: '1.1',
        headers
      } as IncomingMessage
      const call = callWith({ headers, query: `?${joined(queries, 6, random)}` })
      count(tally, Problem, () => {
        const handshake = readHandshake(request)
        const left = takeKey(call, handshake.protocols)
        if (left.some((protocol) => /^openai-insecure/i.test(protocol))) return 'wrong: the key is still offered'
        if (!/^(Bearer [\x21-\x7e]+)?$/.test(call.headers.authorization ?? '')) return 'wrong: a key that is none'
        if (isAccepted({ upgrade: 'websocket', 'sec-websocket-accept': joined(['A', '='], 9, random) }, handshake)) {
          return 'wrong: accepted by whoever knows nothing'
        }
        targetBySession(call)
        const [{ model } = {}] = call.targets
        const models = [...new URLSearchParams(call.query)]
          .filter(([name]) => name === 'model')
          .map(([, value]) => value)
        return isDeepStrictEqual(models, model === undefined ? [] : [model])
          ? 'accepted'
          : `wrong: ${call.query} for ${model}`
      })
    }
    expectOutcomes(tally, { accepted: 300, refused: 1000 })
  })

  it(`as a sealed request: ${cases.sealed} cases`, async () => {
    const random = new Seeded(207)
    const tally: Tally = {}
    const { hpke } = deriveKeys((await vectorKey()).privateKey)
    const text = '{"model":"m","messages":[]}'
    const head = { method: 'POST', path: '/v1/chat/completions', headers: { 'content-type': 'application/json' } }
    const requests = await Promise.all(
      [undefined, { timeMs: 1_790_000_000_000, cover: ['content-type'] }, { timeMs: 1, cover: [], pad: true }].map(
        async (extension) => {
          const sealed = await sealEhbp({ recipient: hpke.publicKey, ...head, body: Buffer.from(text), extension })
          return { headers: { ...head.headers, ...sealed.headers }, body: Buffer.from(sealed.body as Uint8Array) }
        }
      )
    )
    for (let round = 0; round < cases.sealed; round++) {
      const { headers: good, body } = random.pick(requests)
      const headers: IncomingHttpHeaders = { ...good }
      if (random.below(3) === 0) {
        const name = random.pick(Object.keys(good))
        headers[name] = damage(String(headers[name]), ['0', 'f', ';', '=', '+', 'pad=1', 'constructor', '\n'], random)
      }
      const sent = random.below(3) === 0 ? body : damageBytes(body, random)
      let opened = ''
      count(tally, SealError, () => {
        const seal = recognizeSealed({ ...head, headers })
        if (seal === undefined) return 'wrong: not seen'
        const request = openSealed({ ...head, headers }, seal, hpke, { maximumFrameBytes: 1_000_000 })
        for (let at = 0; at < sent.length;) {
          const next = at + 1 + random.below(sent.length)
          for (const part of request.push(sent.subarray(at, next))) opened += Buffer.from(part).toString('latin1')
          at = next
          if (!text.startsWith(opened)) return 'wrong: another text than was sealed'
          if (opened !== '' && !request.authenticated) return 'wrong: a text before anything was authentic'
          if (request.held > sent.length) return 'wrong: holds more than came'
        }
        request.end()
        return 'opened'
      })
    }
    expectOutcomes(tally, { opened: 1000, refused: 4000 })
  })

  it(`as the answer of the sidecar: ${cases.firstJson} cases`, () => {
    const random = new Seeded(208)
    const tally: Tally = {}
    for (let round = 0; round < cases.firstJson; round++) {
      const value = jsonObject(random, ['key', 'error', 'token', '__proto__'])
      const behind = random.pick(['', '{}', '\n{"key":""}', ' x', '}'])
      const good = `${JSON.stringify(value)}${behind}`
      const text = random.below(2) === 0 ? good : damage(good, jsonPieces, random)
      count(tally, SyntaxError, () => {
        try {
          const parsed = parseFirstJson(text)
          if (text === good && !isDeepStrictEqual(parsed, parse(Buffer.from(JSON.stringify(value)))))
            return `wrong: ${text}`
          return 'read'
        } catch (error) {
          if (text === good) return `wrong: refuses ${text}`
          if (error instanceof Error && error.message !== 'not JSON') return `wrong: quotes what came`
          throw error
        }
      })
    }
    expectOutcomes(tally, { read: 2000, refused: 500 })
    const deep = '['.repeat(200_000)
    expect(() => parseFirstJson(deep)).toThrow(SyntaxError)
    expect(Array.isArray(parseFirstJson(deep + ']'.repeat(200_000)))).toBe(true)
  })

  it(`as an answer of fal, or a request for it: ${cases.falAnswers} cases`, () => {
    const random = new Seeded(209)
    const tally: Tally = {}
    const ofRequest = ['model', 'prompt', 'size', 'n', 'response_format', 'stream', '__proto__', 'seed']
    const ofAnswer = ['images', 'image', 'url', 'detail', 'msg', 'loc', 'error', 'toString', '__proto__']
    const known = [
      { images: [{ url: 'https://x/y' }] },
      { image: { url: 'data:image/png;base64,AAAA' } },
      { images: [{ url: 'data:;base64,AA' }, { url: 7 }] },
      { detail: 'no' },
      { detail: [{ msg: 'no', loc: ['body', 'x', 0, { toString: 1 }, null] }] },
      { detail: [{ msg: 'no', loc: [[[[[1]]]]] }] }
    ]
    for (let round = 0; round < cases.falAnswers; round++) {
      const request = {
        ...jsonObject(random, ofRequest),
        ...random.pick([{}, { size: '10x10' }, { response_format: 'b64_json' }])
      }
      const body = Buffer.from(
        random.below(10) === 0 ? damage(JSON.stringify(request), jsonPieces, random) : JSON.stringify(request)
      )
      const answer = random.below(3) === 0 ? jsonObject(random, ofAnswer) : random.pick(known)
      const text = random.below(4) === 0 ? damage(JSON.stringify(answer), jsonPieces, random) : JSON.stringify(answer)
      const model =
        random.below(4) === 0 ? joined(['fal-ai', '/', '..', 'flux', '?', '%2f', '\n'], 5, random) : 'fal-ai/flux'
      count(tally, Problem, () => {
        const { path, body: sent, wrap } = falImages(callWith({ hold: () => undefined }), body, model)
        if (checkUpstreamPath(path) !== `/${model}` || !isJsonObject(parse(bytesOf(sent)))) return 'wrong: sent'
        const told: Buffer[] = []
        const status = random.pick([200, 200, 422, 500])
        const reply = wrap?.(replyTo(told))
        reply?.start(status, { 'content-type': 'application/json' })
        for (const byte of [text.slice(0, 5), text.slice(5)]) reply?.write(Buffer.from(byte))
        reply?.end()
        const result = parse(Buffer.concat(told))
        if (!isJsonObject(result)) return 'wrong: told nothing'
        if (status >= 400)
          return isJsonObject(result.error) && typeof result.error.message === 'string' ? 'answered' : 'wrong: no error'
        const isImage = (image: unknown) =>
          isJsonObject(image) && Object.values(image).every((one) => typeof one === 'string')
        return Array.isArray(result.data) && result.data.every(isImage)
          ? 'answered'
          : `wrong: ${JSON.stringify(result)}`
      })
    }
    expectOutcomes(tally, { answered: 500, refused: 500 })
    const deep = `{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
    expect(() => bytesOf(falImages(callWith({}), Buffer.from(deep), 'fal-ai/flux').body)).toThrow(Problem)
  })

  it(`as the URL that a client of fal means: ${cases.falTargets} cases`, () => {
    const random = new Seeded(210)
    const tally: Tally = {}
    const pieces = [
      'https://',
      'http://',
      'queue.fal.run',
      'fal.run',
      '.evil.example',
      '@',
      ':443',
      ':8443',
      '/',
      '/fal-ai/flux',
      '/..',
      '?a=b',
      '#c',
      '\\',
      '%2e%2e',
      ' ',
      'x:y@',
      '\0'
    ]
    const { fal } = Object.fromEntries(providers.enabled)
    if (fal === undefined) throw new Error('there is no fal')
    for (let round = 0; round < cases.falTargets; round++) {
      const url =
        random.below(3) === 0 ? `https://queue.fal.run${joined(pieces, 3, random)}` : joined(pieces, 5, random)
      const call = callWith({ headers: { 'x-fal-target-url': url } })
      count(tally, Problem, () => {
        const place = falTarget(call, fal, '/')
        if (place === undefined) return 'wrong: overlooked'
        const path = checkUpstreamPath(place.path)
        const sent = new URL(`${place.base.origin}${place.base.basePath}${path}${call.query}`)
        if (!['https://queue.fal.run', 'https://fal.run'].includes(sent.origin))
          return `wrong: ${url} leads to ${sent.href}`
        return sent.origin === new URL(url).origin ? 'accepted' : `wrong: ${url} is another host than ${sent.origin}`
      })
    }
    expectOutcomes(tally, { accepted: 50, refused: 500 })
  })

  it(`as a redirect: ${cases.redirects} cases`, () => {
    const random = new Seeded(211)
    const tally: Tally = {}
    const pieces = [
      'https:',
      'http:',
      '//',
      '/',
      'own.example',
      'evil.example',
      '@',
      ':443',
      'a',
      'b',
      '/a/b',
      '..',
      '%2e%2e',
      '\\',
      '?',
      '#',
      ' ',
      '\t',
      'javascript:',
      'data:',
      '\xff',
      ':',
      ','
    ]
    const provider = providers.enabled.get('own')
    if (provider === undefined) throw new Error('there is no such provider')
    for (let round = 0; round < cases.redirects; round++) {
      const location =
        random.below(3) === 0 ? `https://own.example/a/b/${joined(pieces, 3, random)}` : joined(pieces, 6, random)
      const status = random.pick([300, 301, 302, 303, 304, 305, 306, 307, 308, 399])
      const headers = {
        location: random.below(20) === 0 ? [location, 'https://evil.example/'] : location
      } as IncomingHttpHeaders
      const target = { provider, base: provider, path: '/c/d' }
      count(tally, Problem, () => {
        const { location: told = '' } = checkRedirect(target, status, headers)
        const url = new URL(told, 'https://router.example/v1/x')
        if (url.origin !== 'https://router.example' || !url.pathname.startsWith('/providers/own/'))
          return `wrong: ${told}`
        const meant = new URL(location, 'https://own.example/a/b/c/d')
        return meant.origin === 'https://own.example' && meant.pathname.startsWith('/a/b/')
          ? 'passed on'
          : `wrong: ${location}`
      })
    }
    expectOutcomes(tally, { 'passed on': 300, refused: 500 })
  })

  it(`as the time to wait: ${cases.delays} cases`, () => {
    const random = new Seeded(212)
    const tally: Tally = {}
    const pieces = [
      '1',
      '0',
      '9',
      '.',
      '-',
      '+',
      'e',
      ' ',
      'Thu, 26 Nov 2026 00:00:00 GMT',
      'Fri',
      'Infinity',
      'NaN',
      '0x',
      ',',
      'Dec 31 9999',
      '\xff',
      '999999999'
    ]
    for (let round = 0; round < cases.delays; round++) {
      const value = (): string | string[] => (random.below(10) === 0 ? ['1', '2'] : joined(pieces, 4, random))
      const headers = {
        'retry-after': value(),
        ...(random.below(3) === 0 ? { 'retry-after-ms': value() } : {})
      } as IncomingHttpHeaders
      count(tally, Problem, () => {
        const delay = retryDelayMs(headers, random.below(1000), 1_790_000_000_000)
        return Number.isFinite(delay) && delay >= 0 ? 'a time' : `wrong: ${delay}`
      })
    }
    expectOutcomes(tally, { 'a time': cases.delays - 1 })
  })

  it(`as settings: ${cases.settings} cases`, () => {
    const random = new Seeded(213)
    const tally: Tally = {}
    const secret = 'sk-SECRET\u0001'
    const members = ['baseUrl', 'syncUrl', 'auth', 'accountAccess', 'allowPrivate', 'default', '__proto__']
    const names = [
      'openai',
      'openrouter',
      'fal',
      'groq',
      'mistral',
      'Own',
      '__proto__',
      'constructor',
      'a'.repeat(40),
      ''
    ]
    const values = [
      'https://own.example/v1',
      'http://127.0.0.1/',
      'https://u:p@own.example',
      'https://[::1]/',
      'https://own.example/%2e%2e/',
      'ftp://x',
      'https://',
      'Bearer',
      'none',
      true,
      false,
      null,
      7
    ]
    const good = [{}, { baseUrl: 'https://own.example/v1' }, { baseUrl: 'http://127.0.0.1/', allowPrivate: true }]
    const wild = () =>
      Object.fromEntries(
        members.filter(() => random.below(3) === 0).map((name) => [name, random.pick<unknown>(values)])
      )
    const provider = () => (random.below(3) > 0 ? random.pick(good) : wild())
    for (let round = 0; round < cases.settings; round++) {
      const object = Object.fromEntries(
        Array.from({ length: 1 + random.below(2) }, () => [
          random.pick(names),
          random.below(6) === 0 ? jsonValue(random, members) : provider()
        ])
      )
      const models = Object.fromEntries(
        Array.from({ length: 1 + random.below(2) }, () => [
          joined(['openai', ':', '/', 'x', 'own'], 3, random),
          random.below(4) === 0 ? jsonValue(random, names) : ['openai:x', joined(['own', ':', 'x'], 3, random)]
        ])
      )
      const text = random.below(5) === 0 ? damage(JSON.stringify(object), jsonPieces, random) : JSON.stringify(object)
      count(tally, TypeError, () => {
        const { enabled, default: chosen } = parseProviders(text)
        for (const { origin, basePath, allowPrivate, name } of enabled.values()) {
          const url = new URL(`${origin}${basePath}/x`)
          if (url.origin !== origin || url.pathname !== `${basePath}/x`) return `wrong: ${text}`
          if (!allowPrivate && url.protocol !== 'https:') return `wrong: in the open: ${text}`
          if (!/^[a-z][a-z0-9-]{0,31}$/.test(name)) return `wrong: a name that is none: ${text}`
        }
        return enabled.get(chosen.name) === chosen ? 'read' : 'wrong: another default'
      })
      count(tally, TypeError, () => {
        for (const [model, others] of parseFallbacks(JSON.stringify(models), providers)) {
          if (others.length === 0 || ![model, ...others].every((name) => chooseByModel(name, providers)))
            return 'wrong: a model that is none'
        }
        return 'read'
      })
      count(tally, SettingsError, () => {
        const variable = random.pick([
          'PORT',
          'SKR_URL',
          'KID',
          'ACCESS_TOKENS',
          'OPENAI_API_KEY',
          'CONFROUTER_SECRETS',
          'CONFROUTER_WORKERS',
          'MAA_ENDPOINT'
        ])
        const value =
          random.below(2) === 0
            ? secret
            : joined(['http://', '127.0.0.1', ':', '8081', '/', '-1', '1', ' ', 'é', 'a'.repeat(64), ','], 4, random)
        try {
          parseSettings({ ...requiredEnvironment, [variable]: value, CONFROUTER_PROVIDERS: text })
        } catch (error) {
          const isSecret = ['ACCESS_TOKENS', 'OPENAI_API_KEY', 'CONFROUTER_SECRETS'].includes(variable)
          if (isSecret && String(error).includes('sk-SECRET')) return `wrong: quotes ${variable}`
          throw error
        }
        return 'read'
      })
    }
    expectOutcomes(tally, { read: 500, refused: 1000 })
  })

  it(`as a form: ${cases.forms} cases`, () => {
    const random = new Seeded(214)
    const tally: Tally = {}
    const pieces = [
      '"',
      ';',
      '=',
      ' ',
      '\r\n',
      '\n',
      'name',
      '*',
      '\\',
      'charset=utf-8',
      'boundary=',
      '--',
      '\xff',
      ':',
      'model',
      'form-data'
    ]
    const types = [
      'multipart/form-data; boundary=abc',
      'multipart/form-data; charset=utf-8; boundary="a-b"',
      'multipart/form-data;boundary=x'
    ]
    const blocks = [
      'Content-Disposition: form-data; name="model"',
      'content-disposition: form-data; name=file; filename="a.png"\r\ncontent-type: image/png',
      'Content-Disposition: form-data; name="model"\r\nContent-Length: 5'
    ]
    for (let round = 0; round < cases.forms; round++) {
      const spoilt = (text: string): string => (random.below(4) === 0 ? text : damage(text, pieces, random))
      count(tally, Problem, () =>
        /^[^\s"\\;]{1,70}$/.test(parseBoundary(spoilt(random.pick(types)))) ? 'read' : 'wrong: a boundary'
      )
      const block = spoilt(random.pick(blocks))
      count(tally, Problem, () => {
        const { isModel } = parsePartHeaders(Buffer.from(block, 'latin1'))
        return !isModel || /name="?model"?/.test(block) ? 'read' : `wrong: ${block}`
      })
    }
    expectOutcomes(tally, { read: 500, refused: 500 })
  })
})

describe('all of it', () => {
  it('is a hundred thousand cases, takes seconds, and no memory', () => {
    expect(Object.values(cases).reduce((sum, number) => sum + number, 0)).toBe(100_000)
    expect((process.cpuUsage().user - seconds) / 1e6).toBeLessThan(15)
    const now = process.memoryUsage()
    expect((now.arrayBuffers - arrayBuffers) / 1e6).toBeLessThan(200)
    expect((now.heapUsed - heapUsed) / 1e6).toBeLessThan(500)
  })
})

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}

const bytesOf = (body: (() => Uint8Array) | undefined): Uint8Array => body?.() ?? new Uint8Array()

/** Also for a server that decodes first, takes a backslash for a slash and cuts segments at a semicolon. */
function staysInside(base: string, path: string): boolean {
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  const lax = decoded.replaceAll('\\', '/').replace(/;[^/]*/g, '')
  return [decoded, lax].every((one) => posix.normalize(`${base}${one}`).startsWith(`${base}/`))
}

function damageBytes(bytes: Buffer, random: Seeded): Buffer {
  const altered = Buffer.from(bytes)
  const at = random.below(altered.length)
  switch (random.below(6)) {
    case 0:
      altered[at] = (altered[at] ?? 0) ^ (1 << random.below(8))
      return altered
    case 1:
      return altered.subarray(0, at)
    case 2:
      return altered.subarray(at)
    case 3:
      return Buffer.concat([altered, random.bytes(1 + random.below(30))])
    case 4:
      altered.writeUInt32BE(random.pick([0, 1, 16, 17, 255, 65_536, 0x7fffffff, 0xffffffff]), 0)
      return altered
    default:
      return Buffer.from(random.bytes(random.below(80)))
  }
}

/** Keeps what the caller would get. */
const replyTo = (told: Buffer[]): Reply => ({
  started: false,
  bytesOut: 0,
  start: () => undefined,
  write: (chunk) => told.push(Buffer.from(chunk)) > 0,
  onDrain: () => undefined,
  end: () => undefined,
  breakOff: () => undefined,
  problem: () => undefined
})
