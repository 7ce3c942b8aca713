import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { type Document, openWorkspace, type Workspace } from './workspace.js'

const schema = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../schema/output/doctor.schema.json'), 'utf8')
) as object
const validate = new Ajv2020({ allErrors: true }).compile(schema)

let workspace: Workspace
beforeEach(async () => {
  workspace = await openWorkspace()
})
afterEach(() => workspace.end(), 60_000)

const outcomeOf = (document: Document, id: string): string =>
  document['checks'].find((check: Document) => check['id'] === id)?.outcome

async function doctor(...args: readonly string[]): Promise<{ code: number | null; document: Document }> {
  const { code, document } = await workspace.json('doctor', ...args)
  expect(validate(document) ? [] : validate.errors).toEqual([])
  for (const check of document['checks'] as Document[])
    if (check['outcome'] === 'fail') expect([check['next'].length > 0, typeof check['fault']]).toEqual([true, 'string'])
  return { code, document }
}

describe('doctor', () => {
  it('on a new machine says that it is ready for loopback, and starts nothing', async () => {
    const { code, document } = await doctor('--local')
    expect([code, document['ok'], document['cloud']]).toEqual([0, true, 'local'])
    for (const id of ['node', 'program', 'config', 'builder', 'ports']) expect(outcomeOf(document, id)).toBe('pass')
    for (const id of ['emulator', 'credential', 'quota']) expect(outcomeOf(document, id)).toBe('skipped')
    expect((await workspace.json('emulator', 'status')).document['running']).toBe(false)
  }, 60_000)

  it('asks a running emulator what it would ask Azure', async () => {
    await workspace.run('emulator', 'start', '--port', workspace.environment['CONFROUTER_EMULATOR_PORT']!)
    const { code, document } = await doctor('--local')
    expect(code).toBe(0)
    for (const id of ['emulator', 'credential', 'subscription', 'region', 'vault-name', 'quota'])
      expect(outcomeOf(document, id)).toBe('pass')
    expect(outcomeOf(document, 'providers')).toBe('warn')
  }, 60_000)

  it('takes a wrong configuration for a finding, and knows nothing of what stands on it', async () => {
    await workspace.write('confrouter.yaml', 'cloud: local\nkeyVault: { retentionDays: 3 }\n')
    const { code, document } = await doctor()
    expect([code, document['error'].code, document['error'].fault]).toEqual([3, 'doctor.failed', 'config'])
    expect(outcomeOf(document, 'config')).toBe('fail')
    expect(outcomeOf(document, 'builder')).toBe('unknown')
    expect(outcomeOf(document, 'node')).toBe('pass')
  }, 60_000)

  it('without an account says how to log in, and calls nothing checked that was not', async () => {
    await workspace.write(
      'confrouter.yaml',
      'cloud: azure\nsubscription: 00000000-0000-0000-0000-000000000001\nlocation: eastus\nimage: { repository: ghcr.io/o/r, builder: docker }\n'
    )
    const { code, document } = await doctor('--timeout', '5')
    expect([code !== 0, document['ok']]).toEqual([true, false])
    expect(['fail', 'unknown']).toContain(outcomeOf(document, 'credential'))
    for (const id of ['subscription', 'providers', 'vault-name', 'quota'])
      expect(outcomeOf(document, id)).toBe('unknown')
  }, 60_000)

  it('shows each finding with what to do below it', async () => {
    await workspace.write('confrouter.yaml', 'cloud: local\nimage: { builder: docker }\npolicy: { engine: az }\n')
    const { code, stderr, stdout } = await workspace.run('doctor', '--local')
    expect([code, stdout]).toEqual([4, ''])
    expect(stderr).toMatch(/wrong\s+Azure CLI and confcom\s+az is not installed\n\s+next: https:/)
    expect(stderr).toContain('[doctor.failed]')
  }, 60_000)
})
