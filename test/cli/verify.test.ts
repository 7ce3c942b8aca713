import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { createFetch } from '../../src/client/create-fetch.js'
import type { ReceiptResult } from '../../src/client/receipt-check.js'
import { trustedFetch } from '../../src/composition/trusted-fetch.js'
import { claims } from '../../src/verify/check.js'
import { parseTrustPolicy } from '../../src/verify/trust-policy.js'
import { until } from '../unit/router/harness.js'
import { openWorkspace, type Workspace } from './workspace.js'

let workspace: Workspace
let url = ''
let hostData = ''

beforeAll(async () => {
  workspace = await openWorkspace()
  const { code, document } = await workspace.json('up', '--local')
  expect({ code, document }).toMatchObject({ code: 0 })
  url = document.endpoint
  hostData = document.hostData
}, 120_000)
afterAll(() => workspace.end())

const schema = new Ajv2020().compile(
  JSON.parse(readFileSync(join(import.meta.dirname, '../../schema/output/verify.schema.json'), 'utf8'))
)

describe('createFetch', () => {
  it('seals calls to the router that the emulator runs, and calls no other under its trust policy', async () => {
    const ca = await workspace.read('.confrouter/emulator/tls/ca.pem')
    const trust = parseTrustPolicy(await workspace.read('.confrouter/policy/trust.json'))
    const receipts: ReceiptResult[] = []
    const options = { url, fetch: trustedFetch(ca), onReceipt: (one: ReceiptResult) => receipts.push(one) }
    const body = JSON.stringify({ model: 'loopback:echo', messages: [{ role: 'user', content: 'hello there' }] })
    const call = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
    const answer = await createFetch({ ...options, trust })(`${url}/v1/chat/completions`, call)
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: 'hello there' } }] })
    await until(() => receipts.length > 0)
    expect(receipts).toMatchObject([{ receipt: { upstream: { provider: 'loopback' } } }])
    const other = { ...trust, hostData: ['ab'.repeat(32)] as unknown as typeof trust.hostData }
    await expect(createFetch({ ...options, trust: other })(`${url}/v1/chat/completions`, call)).rejects.toThrow(
      /rejected: hostData/
    )
  })
})

describe('confrouter verify', () => {
  it('verifies the deployment of its state directory, and says first that nothing of it is hardware', async () => {
    const { code, stdout, stderr } = await workspace.run('verify', '--local')
    expect({ code, stderr }).toMatchObject({ code: 0 })
    const lines = stdout.split('\n')
    expect(lines[0]).toMatch(/^SIMULATED/)
    expect(lines[1]).toBe(`trusted: ${url}`)
    for (const claim of claims) expect(stdout).toContain(claim)
    expect(stdout).not.toContain('\u001b')
  })

  it('gives one JSON document of the published form, with every claim', async () => {
    const { code, document } = await workspace.json('verify', '--local')
    expect(code).toBe(0)
    expect({ errors: schema(document) || schema.errors }).toEqual({ errors: true })
    expect(document).toMatchObject({ verdict: 'trusted', simulated: true, source: url, hostData })
    expect(document.checks.map(({ claim }: { claim: string }) => claim)).toEqual([...claims])
  })

  it('leaves one line with --quiet, which says of a simulation that it is one', async () => {
    // The trust policy of a deployment gives nothing up, so there is nothing more to be said.
    const { code, stdout, stderr } = await workspace.run('verify', '--local', '-q')
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `trusted: ${url} (simulated: no hardware protection)\n`,
      stderr: ''
    })
    const trust = ['--trust', '.confrouter/policy/trust.json', '--host-data', 'ab'.repeat(32)]
    const rejected = await workspace.run('verify', url, '--local', '-q', ...trust)
    expect(rejected.code).toBe(6)
    expect(rejected.stdout).toBe(`REJECTED: ${url} (simulated: no hardware protection)\n`)
  })

  it('says what the trust policy gives up, on stderr, with --quiet and with --json too', async () => {
    const trust = JSON.parse(await workspace.read('.confrouter/policy/trust.json'))
    const open = { ...trust, debug: 'any', migration: 'any', maa: 'none', maximumAgeSeconds: 'any' }
    await workspace.write('open.json', JSON.stringify(open))
    for (const flag of ['--quiet', '--json']) {
      const { code, stderr } = await workspace.run('verify', url, '--local', '--trust', 'open.json', flag)
      expect(code).toBe(0)
      expect(stderr.trim().split('\n')).toEqual([
        'warning: not compared: guest.debug, guest.migration: the trust policy accepts any',
        'warning: not compared: maa.*: the trust policy relies on the report alone'
      ])
    }
    const { stderr } = await workspace.run('verify', url, '--local', '--trust', 'open.json', '-q', '--host-data', 'any')
    expect(stderr).toContain('not compared: guest.debug, guest.migration, hostData: the trust policy accepts any')
    await workspace.write('old.json', JSON.stringify({ ...trust, nonce: 'any', maximumAgeSeconds: 'any' }))
    const old = await workspace.run('verify', url, '--local', '--trust', 'old.json', '-q')
    // The nonce is compared all the same: this command has sent one.
    expect(old.stderr).toBe('warning: not compared: maa.time: the trust policy accepts any age\n')
  })

  it('compares the keys that the router publishes beside its evidence', async () => {
    const { document } = await workspace.json('verify', '--local')
    expect(document.keyEndpoints).toEqual([
      { path: '/v1/crypto/jwk', outcome: 'match' },
      { path: '/.well-known/hpke-keys', outcome: 'match' }
    ])
  })

  it('says that the host data of a trust policy does not count where another is named, and only then', async () => {
    const trust = ['verify', url, '--local', '--trust', '.confrouter/policy/trust.json']
    const replaced = await workspace.run(...trust, '--host-data', 'any')
    expect(replaced.code).toBe(0)
    expect(replaced.stderr).toContain(
      `the host data of .confrouter/policy/trust.json does not count: that of --host-data is accepted in its place (any, not ${hostData})`
    )
    expect((await workspace.run(...trust, '--host-data', hostData)).stderr).toBe('')
    const release = ['--release', '.confrouter/policy/release.json']
    expect((await workspace.run(...trust, ...release)).stderr).toBe('')
  })

  it('proposes the URL that was meant, and --local for a router of the emulator', async () => {
    const pinned = ['--host-data', hostData]
    const bare = await workspace.json('verify', url.replace('http://', ''), ...pinned)
    expect({ code: bare.code, next: bare.document.error.next[0] }).toEqual({
      code: 2,
      next: `confrouter verify ${url} …   (did you mean this URL?)`
    })
    const ofApi = await workspace.json('verify', `${url}/v1`, '--local', ...pinned)
    expect({ code: ofApi.code, next: ofApi.document.error.next[0] }).toEqual({
      code: 5,
      next: `confrouter verify ${url} …   (did you mean this URL?)`
    })
    const rejected = await workspace.json('verify', url, ...pinned)
    expect({ code: rejected.code, next: rejected.document.error.next[0] }).toEqual({
      code: 6,
      next: expect.stringContaining('confrouter verify --local')
    })
    const unchecked = await workspace.json('verify', url, '--trust', '.confrouter/policy/trust.json')
    expect({ code: unchecked.code, next: unchecked.document.error.next[0] }).toEqual({
      code: 5,
      next: expect.stringContaining('confrouter verify --local')
    })
  })

  it('rejects another host data with exit code 6 and what was expected and found', async () => {
    const other = 'ab'.repeat(32)
    const { code, stdout, stderr } = await workspace.run(
      ...['verify', url, '--local', '--trust', '.confrouter/policy/trust.json', '--host-data', other]
    )
    expect(code).toBe(6)
    expect(stdout).toContain(`expected ${other}`)
    expect(stdout).toContain(`found    ${hostData}`)
    // Beside a rejection it would read as if something were well.
    expect(stdout).not.toContain('the same evidence against another host data was rejected')
    expect(stderr).toContain('verify.rejected')
    const { document } = await workspace.json(
      ...['verify', url, '--local', '--trust', '.confrouter/policy/trust.json', '--host-data', other]
    )
    expect(document).toMatchObject({ ok: false, verdict: 'rejected', error: { code: 'verify.rejected' }, keys: null })
  })

  it('accepts one of several host data', async () => {
    const trust = ['--trust', '.confrouter/policy/trust.json']
    const { code } = await workspace.run(
      ...['verify', url, '--local', ...trust, '--host-data', 'ab'.repeat(32), '--host-data', hostData]
    )
    expect(code).toBe(0)
  })

  it("rejects the emulator under AMD's own roots, which is what a caller without its trust policy has", async () => {
    const { code, document } = await workspace.json('verify', url, '--host-data', hostData)
    expect(code).toBe(6)
    const wrong = document.checks.filter(({ outcome }: { outcome: string }) => outcome === 'mismatch')
    expect(wrong.map(({ claim }: { claim: string }) => claim)).toContain('ark.pinned')
  })

  it.each(['hardware', 'maa'])('verifies by way of %s alone, if it is told to', async (via) => {
    const { code, document } = await workspace.json('verify', '--local', '--via', via)
    expect({ code, verdict: document.verdict }).toEqual({ code: 0, verdict: 'trusted' })
    const required = document.checks
      .filter(({ outcome }: { outcome: string }) => outcome === 'match')
      .map(({ claim }: { claim: string }) => claim)
    expect(required.some((claim: string) => claim.startsWith('maa.'))).toBe(via === 'maa')
    expect(required.includes('report.signature')).toBe(via === 'hardware')
    expect(required).toEqual(expect.arrayContaining(['hostData', 'reportData', 'runtimeData.keys', 'nonce']))
  })

  it('accepts the host data of a release, also after its policy was made again from its images', async () => {
    const release = ['verify', '--local', '--release', '.confrouter/policy/release.json']
    const { document } = await workspace.json(...release)
    expect(document).toMatchObject({ verdict: 'trusted', hostData, release: { depth: 'file' } })
    expect({ errors: schema(document) || schema.errors }).toEqual({ errors: true })
    const text = await workspace.read('.confrouter/policy/release.json')
    const { image } = JSON.parse(text)
    const again = await workspace.json(...release, '--image', image.reference)
    expect(again.document).toMatchObject({ verdict: 'trusted', hostData, release: { depth: 'images' } })
    expect(again.document.trust).toContain('made again from its images')
    const byTemplate = ['--image', image.reference, '--template', '.confrouter/policy/template.json']
    expect((await workspace.json('verify', '--local', ...byTemplate)).document).toMatchObject({ verdict: 'trusted' })
    const other = image.reference.replace(/.{4}$/, 'abcd')
    const { code, document: refused } = await workspace.json(
      'verify',
      '--local',
      '--image',
      other,
      ...byTemplate.slice(2)
    )
    expect({ code, error: refused.error.code }).toEqual({ code: 6, error: 'verify.other-image' })
  })

  it('says nothing of a release without a router unless it makes it again, and that only where its source is whole', async () => {
    await workspace.write('release.json', await workspace.read('.confrouter/policy/release.json'))
    const { image } = JSON.parse(await workspace.read('release.json'))
    const alone = ['verify', '--release', 'release.json', '--state-dir', 'empty']
    const { code, document } = await workspace.json(...alone)
    expect({ code, error: document.error.code }).toEqual({ code: 2, error: 'verify.no-router' })
    const measured = await workspace.json('verify', '--local', '--release', 'release.json', '--image', image.reference)
    expect(measured.document).toMatchObject({ verdict: 'trusted', hostData })
    const source = JSON.parse(await workspace.read('release.json')).source
    if (source.commit !== null && source.dirty === false) return
    const rebuilt = await workspace.json(...alone, '--rebuild')
    expect({ code: rebuilt.code, error: rebuilt.document.error.code }).toEqual({
      code: 4,
      error: 'reproduce.source-unknown'
    })
    expect(image.builder).toBe('native')
  })

  it('says which parts of a release were held against nothing, and finds them out when its images are read', async () => {
    const release = JSON.parse(await workspace.read('.confrouter/policy/release.json'))
    release.layers[0].diffIds = release.layers[0].diffIds.map(() => `sha256:${'0'.repeat(64)}`)
    await workspace.write('invented.json', JSON.stringify(release))
    const invented = ['verify', '--local', '--release', 'invented.json']
    const { code, stdout } = await workspace.run(...invented)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /not checked: layers\[0\]\.diffIds, .* against the images; run (--rebuild or )?--image REFERENCE/
    )
    expect(stdout).toMatch(/not checked: source\.repository, source\.commit, .* against the source/)
    const { document } = await workspace.json(...invented)
    const left = document.release.notChecked.map(({ what }: { what: string }) => what)
    expect(left).toEqual(expect.arrayContaining(['layers[0].diffIds', 'layers[1].diffIds', 'source.commit']))
    const read = await workspace.json(...invented, '--image', release.image.reference)
    expect({ code: read.code, error: read.document.error.code }).toEqual({ code: 6, error: 'reproduce.different' })
    expect(read.document.error.message).toContain('layers[0].diffIds differs')
  })

  it('rejects a release that is not what the policy is, before it looks at the router', async () => {
    const release = JSON.parse(await workspace.read('.confrouter/policy/release.json'))
    await workspace.write('altered-release.json', JSON.stringify({ ...release, hostData: 'ab'.repeat(32) }))
    const { code, document } = await workspace.json('verify', '--local', '--release', 'altered-release.json')
    expect({ code, error: document.error.code }).toEqual({ code: 6, error: 'release-file.contradictory' })
  })

  it('keeps evidence, and verifies it again without a network, then and later', async () => {
    expect((await workspace.run('verify', '--local', '--save', 'evidence.json')).code).toBe(0)
    const saved = JSON.parse(await workspace.read('evidence.json'))
    const again = ['verify', '--evidence', 'evidence.json', '--trust', '.confrouter/policy/trust.json']
    expect((await workspace.json(...again)).document).toMatchObject({ verdict: 'trusted', source: 'evidence.json' })
    expect((await workspace.run(...again)).stdout).toContain(
      'nonce and keys of the attestation service are those in the file'
    )
    const later = new Date(Date.parse(saved.savedAt) + 3600_000).toISOString()
    const { code, document } = await workspace.json(...again, '--at', later)
    expect(code).toBe(6)
    expect(document.error.message).toBe('the evidence was rejected: maa.time')
    expect(document.error.next[0]).toContain(`--at ${saved.savedAt}`)
    await workspace.write('altered.json', JSON.stringify({ ...saved, nonce: 'A'.repeat(43) }))
    const altered = await workspace.json(...again.map((each) => (each === 'evidence.json' ? 'altered.json' : each)))
    expect(altered.document.error.message).toBe('the evidence was rejected: nonce')
    expect(altered.document.error.why).toContain('is not the one in its evidence')
  })

  it('saves what the documented program verifies, and says of a whole file that it is no document', async () => {
    expect((await workspace.run('verify', '--local', '--save', 'evidence.json')).code).toBe(0)
    await workspace.write('trust.json', await workspace.read('.confrouter/policy/trust.json'))
    const page = readFileSync(join(import.meta.dirname, '../../docs/verification.md'), 'utf8')
    const [, program = ''] = /```js\n(.*?)```/s.exec(page) ?? []
    const library = pathToFileURL(join(import.meta.dirname, '../../dist/verify/index.js')).href
    const more = `console.log(verdict.verdict)\nconsole.log(await attempt(() => parseEvidence(saved)))\n
      async function attempt(work) { try { return work() } catch (error) { return error.message } }`
    await workspace.write('program.mjs', program.replace("'confrouter/verify'", JSON.stringify(library)) + more)
    const { stdout, stderr } = spawnSync(process.execPath, ['program.mjs'], { cwd: workspace.directory })
    expect(stderr.toString()).toBe('')
    expect(stdout.toString().trim().split('\n')).toEqual([
      'trusted',
      'evidence cannot be read: it is a file of `confrouter verify --save`: the document is its member "evidence"'
    ])
  })

  it('verifies a document as the router serves it, of which nobody can say that it is fresh', async () => {
    await workspace.write('served.json', await (await fetch(`${url}/.well-known/confrouter`)).text())
    const served = ['verify', '--evidence', 'served.json', '--trust', '.confrouter/policy/trust.json']
    const { error } = (await workspace.json(...served)).document
    expect(error.message).toMatch(/nonce, maa\.signature/)
    expect(error.why).toContain('served.json has no nonce beside the evidence')
    expect(error.next.join()).toContain('--save FILE')
    const trust = JSON.parse(await workspace.read('.confrouter/policy/trust.json'))
    await workspace.write(
      'offline.json',
      JSON.stringify({ ...trust, nonce: 'any', maa: 'none', maximumAgeSeconds: 'any' })
    )
    const { code } = await workspace.json('verify', '--evidence', 'served.json', '--trust', 'offline.json')
    expect(code).toBe(0)
  })

  it('could not check, exit code 5, if nobody answers or something else does', async () => {
    const server = createServer((_, response) => response.end('<html>'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      for (const place of ['http://127.0.0.1:1', `http://127.0.0.1:${port}`]) {
        const { code, document } = await workspace.json('verify', place, '--host-data', hostData)
        expect({ code, error: document.error.code }).toEqual({ code: 5, error: 'verify.not-checked' })
      }
    } finally {
      server.close()
    }
  })

  it.each<readonly [string, readonly string[], string]>([
    ['nothing says what is expected', ['http://127.0.0.1:1'], 'verify.nothing-expected'],
    [
      'the word of any service',
      ['http://127.0.0.1:1', '--via', 'maa', '--host-data', 'ab'.repeat(32)],
      'verify.no-service'
    ],
    ['a URL and a file', ['http://127.0.0.1:1', '--evidence', 'x'], 'usage.conflict'],
    [
      'evidence whose keys are in its own file, by their word alone',
      [
        '--evidence',
        'x',
        '--via',
        'maa',
        '--maa',
        'https://sharedeus.eus.attest.azure.net',
        '--host-data',
        'ab'.repeat(32)
      ],
      'usage.conflict'
    ],
    [
      'a release that is built again and made of images',
      ['--release', 'x', '--rebuild', '--image', 'y'],
      'usage.conflict'
    ],
    ['a rebuild of nothing', ['http://127.0.0.1:1', '--rebuild', '--state-dir', 'empty'], 'usage.conflict'],
    ['host data in capitals', ['http://127.0.0.1:1', '--host-data', 'AB'.repeat(32)], 'usage.invalid'],
    ['a service in the open', ['http://127.0.0.1:1', '--maa', 'http://maa.example'], 'usage.invalid'],
    ['a way that there is not', ['http://127.0.0.1:1', '--via', 'hope'], 'usage.invalid'],
    ['a time without a zone', ['--evidence', 'x', '--at', '2026-01-01'], 'usage.invalid'],
    ['a time for a router that answers now', ['http://127.0.0.1:1', '--at', '2026-01-01T00:00:00Z'], 'usage.conflict'],
    [
      'a file that is not there',
      ['--evidence', 'nowhere.json', '--host-data', 'ab'.repeat(32)],
      'usage.file-unreadable'
    ],
    ['a URL with a password', ['http://a:b@127.0.0.1', '--host-data', 'ab'.repeat(32)], 'usage.invalid'],
    ['no deployment in the state directory', ['--state-dir', 'empty'], 'verify.no-router']
  ])('refuses %s with exit code 2', async (_, args, error) => {
    const { code, document } = await workspace.json('verify', ...args)
    expect({ code, error: document.error.code }).toEqual({ code: 2, error })
  })

  it('names what is wrong with a trust policy, exit code 3', async () => {
    await workspace.write('half.json', '{"version":1,"hostData":"any","ark":"x"}')
    const { code, document } = await workspace.json('verify', url, '--trust', 'half.json')
    expect({ code, error: document.error.code }).toEqual({ code: 3, error: 'trust.invalid' })
    expect(document.error.message).toContain('ark is not a known field')
    expect(document.error.message).toContain('roots is missing')
  })

  it('says 6 and not 5 for a router that is wrong already, though its attestation service cannot be reached', async () => {
    const trust = JSON.parse(await workspace.read('.confrouter/policy/trust.json'))
    await workspace.write('other.json', JSON.stringify({ ...trust, hostData: ['ab'.repeat(32)] }))
    // Without --local nothing trusts the certificate of the emulator's attestation service.
    expect((await workspace.json('verify', url, '--trust', 'other.json')).code).toBe(6)
    const right = await workspace.json('verify', url, '--trust', '.confrouter/policy/trust.json')
    expect({ code: right.code, error: right.document.error.code }).toEqual({ code: 5, error: 'verify.not-checked' })
  })

  it('refuses a trust policy that leaves the service open where its word is all there is', async () => {
    const trust = JSON.parse(await workspace.read('.confrouter/policy/trust.json'))
    await workspace.write('any-service.json', JSON.stringify({ ...trust, maa: 'any' }))
    const args = ['verify', '--local', '--via', 'maa', '--trust', 'any-service.json']
    const { code, document } = await workspace.json(...args)
    expect({ code, error: document.error.code }).toEqual({ code: 3, error: 'trust.invalid' })
  })

  it('shows each flag and an example in its help', async () => {
    const { stdout } = await workspace.run('verify', '--help')
    for (const flag of [
      '--trust',
      '--host-data',
      '--release',
      '--rebuild',
      '--image',
      '--via',
      '--evidence',
      '--save'
    ]) {
      expect(stdout).toContain(flag)
    }
    expect(stdout).toContain('confrouter verify https://router.example --trust trust.json')
  })
})
