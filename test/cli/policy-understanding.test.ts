import { cpSync, readFileSync, rmSync, writeFileSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { openWorkspace, type Workspace } from './workspace.js'

/** The forms of `policy` that only look, as real processes: on loopback for what this source gives, and on files alone. */
const vectors = join(import.meta.dirname, '..', 'vectors')
const tar = join(vectors, 'images', 'tiny-docker.tar')
const schema = (form: string) =>
  new Ajv2020({ strict: true, allErrors: true }).compile(
    JSON.parse(
      readFileSync(join(import.meta.dirname, '../../schema/output', `policy-${form}.schema.json`), 'utf8')
    ) as object
  )

let workspace: Workspace
const at = (...path: readonly string[]) => join(workspace.directory, ...path)
const policyFile = (name: string) => at('.confrouter', 'policy', name)
const edit = (file: string, change: (text: string) => string) => {
  const text = readFileSync(file, 'utf8')
  const changed = change(text)
  expect(changed).not.toBe(text)
  writeFileSync(file, changed)
}

beforeAll(async () => {
  workspace = await openWorkspace()
  for (const verb of ['build', 'provision', 'policy']) {
    const { code, stderr } = await workspace.run(verb, '--local')
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
  }
}, 120_000)
afterAll(() => workspace.end(), 60_000)

async function documentOf(form: string, ...args: readonly string[]) {
  const { code, document } = await workspace.json('policy', ...args)
  const validate = schema(form)
  expect([validate(document), validate.errors]).toEqual([true, null])
  return { code, document }
}

describe('policy --check', () => {
  it('finds the files that were just written, and writes nothing', async () => {
    const before = readdirSync(policyFile(''))
    const { code, document } = await documentOf('check', '--check', '--local')
    expect([code, document['differs']]).toEqual([0, false])
    expect(document['files']).toHaveLength(5)
    expect(readdirSync(policyFile(''))).toEqual(before)
  })

  it('says of each file of another folder what differs, and leaves it as it is', async () => {
    cpSync(policyFile(''), at('committed'), { recursive: true })
    edit(at('committed', 'policy.rego'), (text) =>
      text.replace('allow_dump_stacks := false', 'allow_dump_stacks := true')
    )
    edit(at('committed', 'skr-policy.json'), (text) => text.replace('"sevsnpvm"', '"other"'))
    edit(at('committed', 'release.json'), (text) => `${text} \n`)
    rmSync(at('committed', 'trust.json'))
    const { code, document } = await documentOf('check', '--check', 'committed', '--local')
    expect([code, document['differs']]).toEqual([10, true])
    const found = Object.fromEntries(
      (document['files'] as { file: string; state: string; differences: string[] }[]).map(
        ({ file, state, differences }) => [file.replace('committed/', ''), `${state}: ${differences.at(-1) ?? ''}`]
      )
    )
    expect(found).toEqual({
      'policy.rego':
        'different: policy: no longer allowed: the host dumps stacks of the guest agent (allow_dump_stacks)',
      'template.json': 'same: ',
      'skr-policy.json': 'different: anyOf[0].allOf[0].equals: "other" → "sevsnpvm"',
      'trust.json': 'missing: the file is not there',
      'release.json': 'different: the same content, written in another way'
    })
    expect(readdirSync(at('committed'))).not.toContain('trust.json')
  })
})

describe('policy --check of the source', () => {
  it('finds a release that names another version than this package has', async () => {
    cpSync(policyFile(''), at('sourced'), { recursive: true })
    edit(at('sourced', 'release.json'), (text) => text.replace(/("version": )"[^"]+"/, '$1"99.0.0"'))
    const { code, document } = await documentOf('check', '--check', 'sourced', '--local')
    expect(code).toBe(10)
    expect(JSON.stringify(document['files'])).toContain('source.version: \\"99.0.0\\"')
  })
})

describe('policy --compare', () => {
  it('takes the policy in each of its forms for the same', async () => {
    writeFileSync(at('policy.b64'), readFileSync(policyFile('policy.rego')).toString('base64'))
    for (const file of [
      policyFile('policy.rego'),
      policyFile('template.json'),
      policyFile('release.json'),
      at('policy.b64')
    ]) {
      const { code, document } = await documentOf('compare', '--compare', file, '--with', policyFile('policy.rego'))
      expect([file, code, document['differs']]).toEqual([file, 0, false])
    }
    expect((await workspace.run('policy', '--compare', policyFile('policy.rego'), '--local')).code).toBe(0)
  }, 60_000)

  it('says in words what a new policy allows, and ends with 10', async () => {
    cpSync(policyFile('policy.rego'), at('new.rego'))
    edit(at('new.rego'), (text) =>
      text.replace(
        '{"pattern":"KID=default","required":false,"strategy":"string"}',
        '{"pattern":"KID=.*","required":false,"strategy":"re2"}'
      )
    )
    const args = ['--compare', policyFile('policy.rego'), '--with', at('new.rego')]
    const { code, stdout } = await workspace.run('policy', ...args)
    expect(code).toBe(10)
    expect(stdout).toContain('container router: newly allowed: environment variable KID may have any value\n')
    const { document } = await documentOf('compare', ...args)
    expect(document['findings']).toEqual([expect.objectContaining({ subject: 'container router', change: 'allowed' })])
  })

  it('shows control characters of a policy as escapes, so that none can erase a finding', async () => {
    const hostile = '\\u001b[2K\\u001b[1A\\r\\n\\u202e'
    cpSync(policyFile('policy.rego'), at('hostile.rego'))
    edit(at('hostile.rego'), (text) =>
      text
        .replace('"allow_elevated":false', '"allow_elevated":true')
        .replace('"working_dir":"/', `"working_dir":"/${hostile}`)
        .replace('"name":"router"', `"name":"router${hostile}"`)
        .replace('KID=default', `KID${hostile}=default`)
    )
    cpSync(policyFile(''), at('hostile'), { recursive: true })
    cpSync(at('hostile.rego'), at('hostile', 'policy.rego'))
    for (const args of [
      ['--compare', policyFile('policy.rego'), '--with', 'hostile.rego'],
      ['--check', 'hostile', '--local'],
      ['--simulate', policyFile('template.json'), '--with', 'hostile.rego', '--local'],
      ['--explain', 'hostile.rego']
    ]) {
      const { stdout } = await workspace.run('policy', ...args)
      expect([args[0], /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/.test(stdout)]).toEqual([args[0], false])
      if (args[0] === '--simulate') continue
      expect(stdout).toContain('\\u001b[2K')
      expect(stdout).toMatch(
        args[0] === '--explain'
          ? /may be privileged/
          : /newly allowed: to run privileged|no longer allowed: to run privileged/
      )
    }
  }, 60_000)

  it('says what a file is not', async () => {
    writeFileSync(at('not.json'), '{}')
    const { code, document } = await workspace.json('policy', '--compare', 'not.json', '--with', 'not.json')
    expect([code, (document['error'] as { code: string }).code]).toEqual([3, 'policy.none'])
  })
})

describe('policy --explain', () => {
  it('escapes each odd character once, in values, patterns and commands', async () => {
    cpSync(policyFile('policy.rego'), at('odd.rego'))
    edit(at('odd.rego'), (text) =>
      text
        .replace('KID=default', 'KID=a\\tb\\u202e\\u001bc')
        .replace('"command":["/skr.sh"]', '"command":["/skr.sh","\\u202ex\\n"]')
        .replace('CONFROUTER_SECRETS=.*', 'CONFROUTER_SECRETS=\\u202e.')
    )
    const { stdout } = await workspace.run('policy', '--explain', 'odd.rego')
    expect(stdout).toContain('KID = "a\\tb\\u202e\\u001bc"')
    expect(stdout).toContain('["/skr.sh","\\u202ex\\n"]')
    expect(stdout).toContain('"\\u202e.')
    expect(stdout).not.toContain('\\\\')
  })

  it('shows each container with what it may do, in lines that fit', async () => {
    const { code, stdout } = await workspace.run('policy', '--explain', policyFile('policy.rego'))
    expect(code).toBe(0)
    for (const words of [
      'container     router',
      'KID = "default"',
      'CONFROUTER_SECRETS any value',
      'user          id 65532'
    ]) {
      expect(stdout).toContain(words)
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120)
  })

  it('has the same for programs', async () => {
    const { document } = await documentOf('explain', '--explain', policyFile('release.json'))
    expect((document['containers'] as { name: string }[]).map(({ name }) => name)).toEqual([
      'router',
      'skr',
      'pause-container'
    ])
  })
})

describe('policy --simulate', () => {
  it('starts what was deployed', async () => {
    const { code, document } = await documentOf('simulate', '--simulate', policyFile('template.json'), '--local')
    expect([code, document['denied']]).toEqual([0, false])
  })

  it('says what would be denied, in the words of ACI, with a remedy, and ends with 10', async () => {
    mkdirSync(at('tried'), { recursive: true })
    cpSync(policyFile('template.json'), at('tried', 'template.json'))
    edit(at('tried', 'template.json'), (text) => text.replace('"/skr.sh"', '"/other.sh"'))
    const { code, stdout } = await workspace.run('policy', '--simulate', 'tried/template.json', '--local')
    expect(code).toBe(10)
    expect(stdout).toContain('  starts  router\n')
    expect(stdout).toContain('create_container: invalid command')
    expect(stdout).toContain('policyDecision< ')
    expect(stdout).toContain('fix: The policy allows the command ["/skr.sh"]')
    await documentOf('simulate', '--simulate', 'tried/template.json', '--local')
  })

  it('tries a manifest under the policy of another file, with images from an archive', async () => {
    cpSync(join(vectors, 'policy', 'cases', 'virtual-node-yaml', 'pod.out.2x.yaml'), at('pod.yaml'))
    const own = await documentOf('simulate', '--simulate', 'pod.yaml', '--tar', tar)
    expect(own.code).toBe(0)
    const other = await documentOf(
      'simulate',
      '--simulate',
      'pod.yaml',
      '--tar',
      tar,
      '--with',
      policyFile('policy.rego')
    )
    expect([other.code, other.document['denied']]).toEqual([10, true])
  })
})

describe('policy --kubernetes', () => {
  it('writes a manifest whose containers start under the policy in its annotation', async () => {
    const { code, document } = await documentOf('kubernetes', '--kubernetes', 'router.yaml', '--local')
    expect(code).toBe(0)
    expect(await workspace.read('router.skr-policy.json')).toContain(document['hostData'] as string)
    const tried = await documentOf('simulate', '--simulate', 'router.yaml', '--local')
    expect([tried.code, (tried.document['groups'] as { hostData: string }[])[0]?.hostData]).toEqual([
      0,
      document['hostData']
    ])
  })

  it('denies a manifest that was changed after its policy', async () => {
    edit(at('router.yaml'), (text) => text.replace('- /skr.sh', '- /other.sh'))
    expect((await workspace.run('policy', '--simulate', 'router.yaml', '--local')).code).toBe(10)
  })
})
