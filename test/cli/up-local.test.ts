import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { openWorkspace, type Workspace } from './workspace.js'

const outputSchema = (name: string) =>
  new Ajv2020({ strict: true, allErrors: true }).compile(
    JSON.parse(readFileSync(join(import.meta.dirname, '../../schema/output', `${name}.schema.json`), 'utf8'))
  )

describe('the published output schemas', () => {
  it('are all valid schemas', () => {
    for (const file of readdirSync(join(import.meta.dirname, '../../schema/output'))) {
      expect(() => outputSchema(file.replace('.schema.json', ''))).not.toThrow()
    }
  })
})

describe('confrouter up --local', () => {
  let workspace: Workspace
  let first: Awaited<ReturnType<Workspace['json']>>
  beforeAll(async () => {
    workspace = await openWorkspace()
    first = await workspace.json('up', '--local')
  }, 60_000)
  afterAll(() => workspace.end(), 60_000)

  it('goes from source to a verified, answering router', () => {
    expect(first.document).toMatchObject({ ok: true, command: 'up', cloud: 'local', simulated: true, changed: true })
    expect(first.code).toBe(0)
    const { steps } = first.document as { readonly steps: readonly { readonly id: string; readonly action: string }[] }
    expect(steps.filter(({ action }) => action !== 'create').map(({ id }) => id)).toEqual(['smoke'])
  })

  it('prints one document of the published shape', () => {
    const validate = outputSchema('up')
    expect([validate(first.document), validate.errors]).toEqual([true, null])
  })

  it('pins host data to the policy text and the policy to the template', async () => {
    const rego = await workspace.read('.confrouter/policy/policy.rego')
    const template = JSON.parse(await workspace.read('.confrouter/policy/template.json'))
    const release = await workspace.read('.confrouter/policy/skr-policy.json')
    expect(createHash('sha256').update(rego).digest('hex')).toBe(first.document['hostData'])
    expect(
      Buffer.from(template.resources[0].properties.confidentialComputeProperties.ccePolicy, 'base64').toString()
    ).toBe(rego)
    expect(release).toContain(first.document['hostData'])
  })

  it('changes nothing when it runs again', async () => {
    const { code, document } = await workspace.json('up', '--local')
    expect(code).toBe(0)
    expect(document['changed']).toBe(false)
    expect(document['steps'].map(({ action }: { action: string }) => action)).toEqual(Array(11).fill('none'))
    for (const pinned of ['endpoint', 'hostData', 'image', 'keyId'])
      expect(document[pinned]).toBe(first.document[pinned])
  }, 30_000)

  it('gives curl a streamed answer, word by word', async () => {
    const response = await fetch(`${first.document['endpoint']}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'loopback:echo',
        stream: true,
        messages: [{ role: 'user', content: 'one two three four' }]
      })
    })
    const arrivals: string[] = []
    for await (const chunk of response.body!) arrivals.push(Buffer.from(chunk).toString())
    const events = arrivals
      .join('')
      .split('\n\n')
      .filter((event) => event.startsWith('data: {'))
    const words = events.map((event) => JSON.parse(event.slice(6)).choices[0].delta.content ?? '').join('')
    expect(response.headers.get('content-type')).toMatch('text/event-stream')
    expect(words).toBe('one two three four')
    expect(arrivals.length).toBeGreaterThan(2)
    expect(arrivals.join('')).toMatch(/data: \[DONE\]\n\n$/)
  })

  it('passes every check of the smoke test', async () => {
    const { code, document } = await workspace.json('smoke', '--local')
    expect(code).toBe(0)
    expect(document['checks'].map(({ id, outcome }: { id: string; outcome: string }) => `${id} ${outcome}`)).toEqual([
      'hostData pass',
      'restarts pass',
      'health pass',
      'ready pass',
      'evidence pass',
      'key pass',
      'possession pass',
      'chat pass'
    ])
    const validate = outputSchema('smoke')
    expect([validate(document), validate.errors]).toEqual([true, null])
  }, 30_000)

  it('is up to date in status, in words and in JSON', async () => {
    const { code, document } = await workspace.json('status', '--local')
    expect([code, document['upToDate']]).toEqual([0, true])
    const validate = outputSchema('status')
    expect([validate(document), validate.errors]).toEqual([true, null])
    const human = await workspace.run('status', '--local')
    expect(human.stdout).toMatch(/^ok +image/m)
    expect(human.stdout).toContain(`up to date: ${first.document['endpoint']}`)
  }, 30_000)

  it('lets each step be repeated by itself and changes nothing', async () => {
    for (const verb of ['build', 'provision', 'policy', 'key', 'deploy']) {
      const { code, document } = await workspace.json(verb, '--local')
      expect([verb, code, document['changed']]).toEqual([verb, 0, false])
      const validate = outputSchema(verb)
      expect([verb, validate(document), validate.errors]).toEqual([verb, true, null])
    }
  }, 60_000)

  it('keeps stdout for the result and writes progress to stderr', async () => {
    const { stdout, stderr } = await workspace.run('up', '--local')
    expect(stdout).toMatch(/^endpoint +http:\/\/127\.0\.0\.1:\d+\nhost data +[0-9a-f]{64}\n/)
    expect(stdout).toContain('simulated: no hardware protection')
    expect(stderr).toContain('smoke test: 8 checks passed')
    expect(stdout).not.toContain('unchanged')
  }, 30_000)

  it('starts the router again when the emulator comes back from a kill', async () => {
    const { pid } = JSON.parse(await workspace.read('.confrouter/emulator/emulator.json')) as { pid: number }
    process.kill(pid, 'SIGKILL')
    const { code, document } = await workspace.json('up', '--local')
    expect([code, document['hostData'], document['keyId']]).toEqual([
      0,
      first.document['hostData'],
      first.document['keyId']
    ])
  }, 60_000)

  it('deletes what it made, and brings the same key back', async () => {
    const down = await workspace.json('down', '--local')
    expect([down.code, down.document['changed'], down.document['kept']]).toEqual([0, true, []])
    const validate = outputSchema('down')
    expect([validate(down.document), validate.errors]).toEqual([true, null])
    await expect(fetch(`${first.document['endpoint']}/healthz`)).rejects.toThrow()
    const nothing = await workspace.json('down', '--local')
    expect([nothing.code, nothing.document['changed']]).toEqual([0, false])
    const again = await workspace.json('up', '--local')
    expect([again.code, again.document['keyId']]).toEqual([0, first.document['keyId']])
  }, 60_000)
})
