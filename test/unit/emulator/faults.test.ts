import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createFaults, faultsMark, noFaults, type RequestFault } from '../../../src/emulator/faults.js'
import type { EmulatorRequest, Handler } from '../../../src/emulator/http.js'
import { readFaults } from '../../../src/emulator/read-faults.js'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import { clientsFor, failureOf, startTestEmulator, temporaryDirectory } from './support/emulator.js'

const answer = { status: 429, headers: { 'Retry-After': '1', Location: '{origin}/there' }, body: { error: {} } }

function requestTo(method: string, path: string, headers: EmulatorRequest['headers'] = {}): EmulatorRequest {
  return {
    method,
    path,
    headers,
    query: new URLSearchParams(),
    body: new Uint8Array(),
    origin: 'https://127.0.0.1:1',
    signal: new AbortController().signal
  }
}

/** Statuses of a row of requests; the service itself says 200. */
async function statuses(requests: readonly RequestFault[], ...row: readonly EmulatorRequest[]): Promise<number[]> {
  const service: Handler = async () => ({ status: 200 })
  const handle = createFaults({ requests }).around(service)
  const found: number[] = []
  for (const request of row) found.push((await handle(request)).status)
  return found
}

const get = (path: string) => requestTo('GET', path)

describe('a fault', () => {
  it('hits the first request that matches, and no other', async () => {
    const fault = { method: 'GET', path: '/a/*', answer }
    expect(await statuses([fault], requestTo('PUT', '/a/1'), get('/a/1'), get('/a/2'))).toEqual([200, 429, 200])
  })

  it('hits as many as it says, from the one that it says', async () => {
    const fault = { method: '*', path: '**', from: 2, times: 2, answer }
    expect(await statuses([fault], get('/1'), get('/2'), get('/3'), get('/4'))).toEqual([200, 429, 429, 200])
  })

  it('hits all from there on with times 0', async () => {
    const fault = { method: 'GET', path: '/x', from: 2, times: 0, answer }
    expect(await statuses([fault], get('/x'), get('/x'), get('/x'))).toEqual([200, 429, 429])
  })

  it.each([
    ['/a/*/c', '/A/b/C', 429],
    ['/a/*/c', '/a/b/b/c', 200],
    ['/a/**', '/a/b/b/c', 429],
    ['/a.b', '/axb', 200],
    ['**/vaults/kv-*', '/subscriptions/s/vaults/kv-1', 429],
    ['**/vaults/kv-*', '/subscriptions/s/vaults/kv-1/x', 200]
  ])('with path %s and request %s gives %i', async (path, asked, status) => {
    expect(await statuses([{ method: 'GET', path, answer }], get(asked))).toEqual([status])
  })

  it('does not count the call by which a client of a vault asks where to get a token', async () => {
    const fault = { method: 'GET', path: '/keys/k', answer }
    const withToken = requestTo('GET', '/keys/k', { authorization: 'Bearer t' })
    expect(await statuses([fault], get('/keys/k'), withToken)).toEqual([200, 429])
  })

  it('that is first in the list decides, and the others count all the same', async () => {
    const other = { ...answer, status: 503 }
    const faults = [
      { method: 'GET', path: '/x', answer },
      { method: 'GET', path: '/x', from: 2, answer: other }
    ]
    expect(await statuses(faults, get('/x'), get('/x'))).toEqual([429, 503])
  })

  it('fills the address that was asked into headers', async () => {
    const handle = createFaults({ requests: [{ method: 'GET', path: '/x', answer }] }).around(async () => ({
      status: 200
    }))
    expect((await handle(get('/x'))).headers).toEqual({
      'retry-after': '1',
      location: 'https://127.0.0.1:1/there'
    })
  })
})

describe('over the wire', () => {
  let directory: string
  let emulator: RunningEmulator
  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory, {
      faults: {
        requests: [
          { method: 'GET', path: '**/providers/Microsoft.KeyVault', hangUp: true },
          { method: 'GET', path: '**/providers/Microsoft.Attestation', delayMs: 120 }
        ]
      }
    })
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('breaks one connection off, and the next request is answered', async () => {
    const { resources } = await clientsFor(emulator.environment)
    expect((await failureOf(resources.providers.get('Microsoft.KeyVault'))).statusCode).toBeUndefined()
    await expect(resources.providers.get('Microsoft.KeyVault')).resolves.toMatchObject({
      namespace: 'Microsoft.KeyVault'
    })
  })

  it('makes one answer late and right', async () => {
    const { resources } = await clientsFor(emulator.environment)
    await resources.resourceGroups.checkExistence('x')
    const started = performance.now()
    await expect(resources.providers.get('Microsoft.Attestation')).resolves.toHaveProperty('registrationState')
    expect(performance.now() - started).toBeGreaterThan(110)
  })
})

describe('readFaults', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'faults-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  const read = async (text: string) => {
    const file = join(directory, 'plan.json')
    await writeFile(file, text)
    return readFaults(file)
  }

  it('reads a plan with every member', async () => {
    const plan = {
      requests: [{ method: 'GET', path: '/x', from: 2, times: 0, delayMs: 5, answer, hangUp: false }],
      kill: { write: 3, moment: 'torn' }
    }
    expect(await read(JSON.stringify(plan))).toEqual(plan)
  })

  it.each([
    ['', 'is no JSON'],
    ['[]', 'must be an object'],
    ['{"request":[]}', 'request is unknown'],
    ['{"requests":[{"method":"get","path":"/x","hangUp":true}]}', 'requests[0].method must be a method in capitals'],
    ['{"requests":[{"method":"GET","path":"x","hangUp":true}]}', 'requests[0].path must be'],
    ['{"requests":[{"method":"GET","path":"/x"}]}', 'requests[0] needs answer, hangUp or delayMs'],
    ['{"requests":[{"method":"GET","path":"/x","from":0,"hangUp":true}]}', 'requests[0].from must be'],
    ['{"requests":[{"method":"GET","path":"/x","answer":{"status":99}}]}', 'requests[0].answer.status must be'],
    [
      '{"requests":[{"method":"GET","path":"/x","answer":{"headers":{"a":1}}}]}',
      'requests[0].answer.status is missing'
    ],
    ['{"kill":{"write":0,"moment":"later"}}', 'kill.write must be a whole number from 1; kill.moment must be']
  ])('refuses %s', async (text, problem) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'emulator.faults', exitCode: 3 })
    await expect(read(text)).rejects.toThrow(problem)
  })

  it('names a file that is not there', async () => {
    await expect(readFaults(join(directory, 'none.json'))).rejects.toThrow('none.json cannot be read')
  })
})

it('plans are told apart, and no plan has no mark', () => {
  const one = { requests: [{ method: 'GET', path: '/x', hangUp: true }] }
  expect(faultsMark(noFaults)).toBe('')
  expect(faultsMark(one)).not.toBe(faultsMark({ ...one, kill: { write: 1, moment: 'torn' } }))
})
