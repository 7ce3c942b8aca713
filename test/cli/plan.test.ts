import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { getKey, updateReleasePolicy } from '../../src/azure/vault-key.js'
import { azureOf } from './azure.js'
import { type Document, openWorkspace, shapeOf, type Workspace } from './workspace.js'

/** One deployment, seen in turn: absent, planned, made, moved away from its plan. */
let workspace: Workspace
let up: Document
beforeAll(async () => {
  workspace = await openWorkspace()
}, 60_000)
afterAll(() => workspace.end(), 60_000)

const configure = (limit: number) =>
  workspace.write(
    'confrouter.yaml',
    `cloud: local\nupgrade: { strategy: blue-green }\naccess: { rateLimitPerMinute: ${limit} }\n`
  )
const actions = (document: Document) =>
  (document['changes'] as { resource: string; action: string }[]).map(({ resource, action }) => `${resource} ${action}`)
const release = async () => {
  const { azure } = await azureOf(workspace)
  const vault = { azure, vaultUri: up['vaultUri'] as string, onWait: () => undefined }
  return { vault, key: (await getKey(vault, 'default'))! }
}

describe('a plan before there is anything', () => {
  it('says what is created, what is known only later, and changes nothing', async () => {
    await configure(60)
    const { code, document } = await workspace.json('plan', '--out', 'first.json')
    expect(code).toBe(0)
    expect(await shapeOf('plan', document)).toEqual([true, null])
    expect(actions(document)).toEqual([
      'image create',
      'resource-group create',
      'attestation create',
      'vault create',
      'identity create',
      'roles unknown',
      'signing-key unknown',
      'policy unknown',
      'key unknown',
      'deploy unknown'
    ])
    expect(document['changes'][6].reason).toBe('known after vault, roles')
    expect(document['changes'][7].reason).toBe('known after image, attestation, vault, identity, signing-key')
    expect(document['trustChanges'].map(({ from }: { from: string }) => from)).toEqual(Array(5).fill('(none)'))
    expect((await workspace.json('plan')).document['planSha256']).toBe(document['planSha256'])
    expect((await workspace.json('plan', '--exit-code')).code).toBe(10)
  }, 60_000)

  it('is carried out by up --plan, and by nothing that somebody edited', async () => {
    const text = await workspace.read('first.json')
    await workspace.write('edited.json', text.replace('"location":"eastus"', '"location":"westus"'))
    const edited = await workspace.json('up', '--plan', 'edited.json')
    expect([edited.code, edited.document['error'].code]).toEqual([3, 'plan.invalid'])
    const made = await workspace.json('up', '--plan', 'first.json')
    up = made.document
    expect([made.code, up['planSha256']]).toEqual([0, JSON.parse(text).sha256])
  }, 90_000)
})

describe('a plan of what is in order', () => {
  it('is empty, and exits with 0', async () => {
    const { code, document } = await workspace.json('plan', '--exit-code')
    expect([code, document['changes'], document['trustChanges'], document['strategy']]).toEqual([0, [], [], null])
    expect(await shapeOf('plan', document)).toEqual([true, null])
  }, 30_000)
})

describe('a plan of another configuration', () => {
  it('follows the digests to the end before anything is made: policy, key, group, and who gets the key', async () => {
    await configure(61)
    const { code, document } = await workspace.json('plan', '--exit-code', '--out', 'second.json')
    expect(code).toBe(10)
    expect(await shapeOf('plan', document)).toEqual([true, null])
    expect(actions(document)).toEqual(['policy update', 'key update', 'deploy replace'])
    const properties = (document['changes'][2] as { properties: { property: string; to: string }[] }).properties
    expect(properties).toEqual([
      { property: 'hostData', from: up['hostData'], to: expect.any(String), forces: 'replace' },
      { property: 'router.env.RATE_LIMIT_PER_MINUTE', from: '60', to: '61' }
    ])
    const hostData = properties[0]!.to
    const trust = new Map(
      (document['trustChanges'] as { what: string; from: string; to: string }[]).map((delta) => [delta.what, delta])
    )
    expect([...trust.keys()]).toEqual(['host data', 'release policy', 'who can obtain the key'])
    expect(trust.get('host data')).toMatchObject({ from: up['hostData'], to: hostData })
    expect(trust.get('who can obtain the key')?.to).toMatch(
      new RegExp(`${up['hostData']} or ${hostData} .*while the upgrade goes on; then .*${hostData}`)
    )
    expect(document['strategy']).toBe('blue-green')
  }, 30_000)

  it('shows the same to people, with what forces delete and create', async () => {
    const { stdout } = await workspace.run('plan')
    expect(stdout).toMatch(/^ {2}± container group/m)
    expect(stdout).toContain('(forces delete and create)')
    expect(stdout).toContain('trust changes')
    expect(stdout).toMatch(/^plan sha256:[0-9a-f]{64}$/m)
  }, 30_000)

  it('is refused by up when the configuration has moved, and nothing is changed', async () => {
    await configure(62)
    const { code, document } = await workspace.json('up', '--plan', 'second.json')
    expect([code, document['error'].code]).toEqual([7, 'plan.moved'])
    expect(document['error'].why).toContain('router.env.RATE_LIMIT_PER_MINUTE')
    expect(document['error'].next[0]).toContain('confrouter plan --out second.json')
    await configure(60)
    expect((await workspace.json('plan')).document['changes']).toEqual([])
  }, 30_000)

  it('is refused by up when somebody has changed the key meanwhile', async () => {
    await configure(61)
    const { vault, key } = await release()
    await updateReleasePolicy(vault, key, key.releasePolicy!.replaceAll(up['hostData'] as string, 'ab'.repeat(32)))
    const { code, document } = await workspace.json('up', '--plan', 'second.json')
    expect([code, document['error'].code]).toEqual([7, 'plan.moved'])
    // What is said is cut; the whole of it is in the document.
    expect(JSON.stringify(document['differences'] ?? document['error'])).toContain('ab'.repeat(32))
    await updateReleasePolicy(vault, key, key.releasePolicy!)
  }, 30_000)
})

describe('status', () => {
  it('checks every link of the chain of what runs', async () => {
    await configure(60)
    const { code, document } = await workspace.json('status', '--trust')
    expect(code).toBe(0)
    expect(await shapeOf('status', document)).toEqual([true, null])
    expect(document['chain'].map(({ id, state }: { id: string; state: string }) => `${id} ${state}`)).toEqual([
      'recorded ok',
      'image ok',
      'sidecar image ok',
      'key policy ok',
      'evidence ok',
      'restarts ok'
    ])
    expect(document['trust'].map(({ answer }: { answer: string }) => answer)).toEqual(['yes', 'yes'])
  }, 30_000)

  it('exits with 10 where the configuration wants something else, and says what', async () => {
    await configure(61)
    const { code, stdout } = await workspace.run('status')
    expect(code).toBe(10)
    expect(stdout).toMatch(/router\.env\.RATE_LIMIT_PER_MINUTE: 60, wanted 61/)
    expect(stdout).toContain('next: confrouter up')
  }, 30_000)

  it('knows that the running group would not get its key again, and the command that mends it', async () => {
    await configure(60)
    const { vault, key } = await release()
    await updateReleasePolicy(vault, key, key.releasePolicy!.replaceAll(up['hostData'] as string, 'ab'.repeat(32)))
    const { code, document } = await workspace.json('status', '--trust')
    expect(code).toBe(10)
    expect(document['trust'][0]).toMatchObject({ answer: 'no', next: ['confrouter up'] })
    expect(document['trust'][0].why).toContain('ab'.repeat(32))
    expect(document['chain'].find(({ id }: { id: string }) => id === 'key policy').state).toBe('differs')
    // The router holds its key in memory: nothing else would have told.
    expect(document['chain'].find(({ id }: { id: string }) => id === 'evidence').state).toBe('ok')
    await updateReleasePolicy(vault, key, key.releasePolicy!)
  }, 30_000)

  it('finds a window that nobody recorded: the key is released to somebody else too', async () => {
    const { vault, key } = await release()
    const policy = JSON.parse(key.releasePolicy!) as { anyOf: object[] }
    const other = JSON.parse(JSON.stringify(policy.anyOf[0]).replaceAll(up['hostData'] as string, 'cd'.repeat(32)))
    await updateReleasePolicy(vault, key, JSON.stringify({ ...policy, anyOf: [...policy.anyOf, other] }))
    const { code, document } = await workspace.json('status', '--trust')
    expect(code).toBe(10)
    expect(document['trust'][0].answer).toBe('yes')
    expect(document['trust'][1]).toMatchObject({ answer: 'no', why: expect.stringContaining('cd'.repeat(32)) })
    await updateReleasePolicy(vault, key, key.releasePolicy!)
    expect((await workspace.json('status', '--trust')).code).toBe(0)
  }, 30_000)
})
