import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parseSha256Hex } from '../../src/base/digest.js'
import { routerFetch } from '../../src/composition/router-fetch.js'
import { freePort } from '../unit/emulator/support/emulator.js'
import { type Document, openWorkspace, type Workspace } from './workspace.js'

const outputSchema = (name: string) =>
  new Ajv2020({ strict: true, allErrors: true }).compile(
    JSON.parse(readFileSync(join(import.meta.dirname, '../../schema/output', `${name}.schema.json`), 'utf8'))
  )

const configuration = (router: string) => `cloud: local
providers:
  nobody: { baseUrl: "http://127.0.0.1:1/v1", auth: none, allowPrivate: true }
router:
  fallbacks: { "nobody:any": ["loopback:echo"] }
  limits: { bodyBytes: 4096 }
  ${router}
`

describe('a router that is configured in confrouter.yaml', () => {
  let workspace: Workspace
  let tlsPort: number
  let first: Awaited<ReturnType<Workspace['json']>>

  beforeAll(async () => {
    workspace = await openWorkspace()
    tlsPort = await freePort()
    await workspace.write('confrouter.yaml', configuration(`workers: 2\n  tls: { port: ${tlsPort} }`))
    first = await workspace.json('up')
  }, 120_000)
  afterAll(() => workspace.end(), 60_000)

  const chat = (url: string, content: string, model = 'loopback:echo', call = fetch) =>
    call(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content }] })
    })

  const smoke = async () => {
    const { code, document } = await workspace.json('smoke')
    const checks = document['checks'] as readonly { id: string; outcome: string; detail: string }[]
    return {
      code,
      checks: checks.map(({ id, outcome }) => `${id} ${outcome}`),
      detail: (id: string) => checks.find((check) => check.id === id)?.detail
    }
  }
  const allChecks = ['hostData', 'restarts', 'health', 'ready', 'evidence', 'key', 'tls', 'possession', 'chat'].map(
    (id) => `${id} pass`
  )

  it('is deployed with both endpoints, which the result names', () => {
    expect([first.code, first.document['ok']]).toEqual([0, true])
    expect(first.document['endpoint']).toBe(
      `http://127.0.0.1:${workspace.environment['CONFROUTER_CONTAINER_GROUP_PORT']}`
    )
    expect(first.document['tlsEndpoint']).toBe(`https://127.0.0.1:${tlsPort}`)
    const validate = outputSchema('up')
    expect([validate(first.document), validate.errors]).toEqual([true, null])
  })

  it('has what was configured in its policy', async () => {
    const rego = await workspace.read('.confrouter/policy/policy.rego')
    for (const variable of [
      'CONFROUTER_WORKERS=2',
      `CONFROUTER_TLS_PORT=${tlsPort}`,
      'CONFROUTER_MAX_BODY_BYTES=4096',
      'CONFROUTER_FALLBACKS={"nobody:any":["loopback:echo"]}'
    ]) {
      expect(rego).toContain(JSON.stringify(variable).slice(1, -1))
    }
    expect(rego).not.toContain('CONFROUTER_RETRIES')
  })

  it('does what was configured', async () => {
    const url = String(first.document['endpoint'])
    const answer = (await (await chat(url, 'hello', 'nobody:any')).json()) as Document
    expect(answer['choices'][0].message.content).toBe('hello')
    const tooLong = await chat(url, 'x'.repeat(5000))
    expect([tooLong.status, ((await tooLong.json()) as Document)['error'].code]).toEqual([413, 'body_too_large'])
  })

  it('answers over TLS with the key that its evidence binds', async () => {
    const { code, checks, detail } = await smoke()
    expect([code, checks]).toEqual([0, allChecks])
    const [key] = /[0-9a-f]{64}/.exec(detail('tls') ?? '') ?? []
    const pinned = routerFetch(parseSha256Hex(key ?? '', 'the TLS key'))
    const response = await chat(`https://127.0.0.1:${tlsPort}`, 'over TLS', 'loopback:echo', pinned)
    expect(((await response.json()) as Document)['choices'][0].message.content).toBe('over TLS')
  }, 60_000)

  it('changes nothing when it runs again, and names both endpoints in status', async () => {
    const { document } = await workspace.json('up')
    expect([document['changed'], document['tlsEndpoint']]).toEqual([false, first.document['tlsEndpoint']])
    const status = await workspace.json('status')
    expect(status.document['recorded']).toMatchObject({ tlsEndpoint: first.document['tlsEndpoint'] })
    const validate = outputSchema('status')
    expect([validate(status.document), validate.errors]).toEqual([true, null])
  }, 60_000)

  it('is tested over TLS alone where the plain port is not published', async () => {
    await workspace.write('confrouter.yaml', configuration(`workers: 2\n  tls: { port: ${tlsPort}, only: true }`))
    const { code, document } = await workspace.json('up')
    // What is published is no part of what is measured.
    expect([code, document['changed'], document['hostData']]).toEqual([0, true, first.document['hostData']])
    expect([document['endpoint'], document['tlsEndpoint']]).toEqual(Array(2).fill(first.document['tlsEndpoint']))
    const { checks, detail } = await smoke()
    expect([checks, detail('health')]).toEqual([allChecks, `https://127.0.0.1:${tlsPort}/healthz answers`])
    const human = await workspace.run('up')
    expect(human.stdout).toMatch(/curl -N -k --pinnedpubkey sha256\/\/[A-Za-z0-9+/]{43}= https:/)
  }, 120_000)

  it('forgets TLS when it is taken out again', async () => {
    await workspace.write('confrouter.yaml', configuration('workers: 1'))
    const { code, document } = await workspace.json('up')
    expect([code, document['tlsEndpoint'], document['endpoint']]).toEqual([0, undefined, first.document['endpoint']])
    const status = await workspace.json('status')
    expect(status.document['recorded']).not.toHaveProperty('tlsEndpoint')
    await expect(routerFetch('any')(`https://127.0.0.1:${tlsPort}/healthz`)).rejects.toThrow()
  }, 120_000)

  it('is refused with every problem at once before anything is touched', async () => {
    const sidecarPort = workspace.environment['CONFROUTER_SIDECAR_PORT']
    await workspace.write(
      'confrouter.yaml',
      configuration(`workers: 65\n  tls: { port: ${sidecarPort} }\n  metrics: token\n  retries: many`)
    )
    const { code, document } = await workspace.json('up')
    expect([code, document['error'].code]).toEqual([3, 'config.invalid'])
    const problems = document['error'].problems as readonly { path: string; line: number }[]
    expect(problems.map(({ path, line }) => [path, line])).toEqual([
      ['router.workers', 7],
      ['router.retries', 10]
    ])
    await workspace.write('confrouter.yaml', configuration(`tls: { port: ${sidecarPort} }\n  metrics: token`))
    const { document: second } = await workspace.json('up')
    expect((second['error'].problems as readonly { path: string }[]).map(({ path }) => path)).toEqual([
      'router.tls.port',
      'router.metrics'
    ])
  }, 60_000)
})
