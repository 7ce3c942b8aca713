import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { encodeRelease, type Release } from '../../../src/release/release.js'
import type { Run } from '../../../src/steps/index.js'
import { checkReleaseSource } from '../../../src/steps/policy-source.js'

/** With a real checkout, since what is asked is what git knows. */
let folder: string
let commits: readonly string[] = []
const git = (...words: readonly string[]) => execFileSync('git', ['-C', folder, ...words], { encoding: 'utf8' })
const repository = 'https://example.com/r.git'

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'confrouter-source-'))
  git('init', '--quiet')
  const commit = (version: string) => {
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ version, repository: { url: `git+${repository}` } }))
    git('add', 'package.json')
    git('-c', 'user.name=t', '-c', 'user.email=t@example.com', 'commit', '--quiet', '-m', version)
    return git('rev-parse', 'HEAD').trim()
  }
  const first = commit('1.0.0')
  const side = commit('1.1.0')
  git('reset', '--quiet', '--hard', first)
  commits = [first, side, commit('1.0.1')]
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const check = (source: object, { checkout = folder, digest }: { checkout?: string; digest?: string } = {}) => {
  const digestOf = `sha256:${'a'.repeat(64)}`
  const reference = `registry.example/r@${digestOf}`
  const release = {
    version: 1,
    source: { repository, commit: null, dirty: false, version: '1.0.1', ...source },
    image: { reference, digest: digestOf, builder: 'native' },
    layers: [{ image: reference, diffIds: [digestOf], rootHashes: ['b'.repeat(64)] }],
    template: null,
    policy: null,
    hostData: null
  }
  writeFileSync(join(folder, 'release.json'), encodeRelease(release as unknown as Release))
  const run = { assets: { buildContext: checkout }, config: { image: { digest } }, signal: undefined }
  return checkReleaseSource(run as unknown as Run, folder)
}

describe('checkReleaseSource', () => {
  it('takes the commit that is checked out, and one before it', async () => {
    for (const commit of [commits[2], commits[0]]) {
      expect(await check({ commit })).toEqual({ problems: [], notes: [] })
    }
  })

  it.each([
    [
      'repository',
      { repository: 'https://example.com/other.git' },
      'source.repository: "https://example.com/other.git"'
    ],
    ['version', { version: '9.9.9' }, 'source.version: "9.9.9" → "1.0.1"'],
    ['commit that is nowhere', { commit: 'd'.repeat(40) }, 'has no commit dddd']
  ])('finds another %s', async (_, source, words) => {
    const { problems } = await check(source)
    expect(problems).toEqual([expect.stringContaining(words)])
  })

  it('finds a commit that is no ancestor of what is checked out', async () => {
    expect((await check({ commit: commits[1] })).problems).toEqual([
      `source.commit: ${commits[1]} is no ancestor of HEAD`
    ])
  })

  it('says what it did not check without a checkout, and of an image from elsewhere', async () => {
    const bare = mkdtempSync(join(tmpdir(), 'confrouter-bare-'))
    try {
      writeFileSync(join(bare, 'package.json'), JSON.stringify({ version: '1.0.1', repository }))
      const { problems, notes } = await check({ commit: commits[0] }, { checkout: bare })
      expect([problems, notes]).toEqual([[], [expect.stringContaining('source.commit of release.json is not checked')]])
    } finally {
      rmSync(bare, { recursive: true })
    }
    const digest = `sha256:${'a'.repeat(64)}`
    expect((await check({ commit: commits[0] }, { digest })).notes).toEqual([expect.stringContaining('not built here')])
  })
})
