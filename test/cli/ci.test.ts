import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import { openWorkspace, type Workspace } from './workspace.js'

const templates = { github: 'github-workflow.yml', 'azure-pipelines': 'azure-pipelines.yml' } as const
const kinds = Object.keys(templates) as (keyof typeof templates)[]
const textOf = (kind: keyof typeof templates) =>
  readFileSync(join(import.meta.dirname, '../../templates', templates[kind]), 'utf8')

/** Every text that a shell is given, wherever in the document it stands. */
function scripts(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.flatMap(scripts)
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, member]) =>
    (key === 'run' || key === 'script') && typeof member === 'string' ? [member] : scripts(member)
  )
}

const commandsOf = (kind: keyof typeof templates) =>
  scripts(parse(textOf(kind)))
    .flatMap((script) => script.split('\n'))
    .flatMap((line) => [...line.matchAll(/(?:^|&& |\|\| )\s*confrouter ([a-z-]+)([^>|]*)/g)])
    .map(([, verb = '', rest = '']) => ({ verb, flags: rest.match(/--[a-z-]+/g) ?? [] }))

let workspace: Workspace
beforeAll(async () => {
  workspace = await openWorkspace()
})
afterAll(() => workspace.end(), 60_000)

describe.each(kinds)('the pipeline for %s', (kind) => {
  it('plans on a pull request, deploys main with an approved host data, and checks the policy', () => {
    const commands = commandsOf(kind).map(({ verb, flags }) => [verb, ...flags].join(' '))
    expect(commands).toEqual([
      'plan --json --exit-code --no-roles',
      'plan --out --no-roles',
      'up --plan --yes --no-input --no-roles --accept-host-data',
      'policy --check --no-roles'
    ])
  })

  it('uses commands and flags that there are', async () => {
    for (const { verb, flags } of commandsOf(kind)) {
      // `policy --check` is a form with flags of its own, and so with a help of its own.
      const form = verb === 'policy' ? flags.filter((flag) => flag === '--check') : []
      const { code, stdout } = await workspace.run(verb, ...form, '--help')
      expect([verb, code]).toEqual([verb, 0])
      const unknown = flags.filter((flag) => !new RegExp(`${flag}[ ,]`).test(stdout))
      expect([verb, unknown]).toEqual([verb, []])
    }
  }, 60_000)

  it('has no secret in it, and logs in by federation', () => {
    const text = textOf(kind)
    expect(text).not.toMatch(/secrets\.|CLIENT_SECRET|API_KEY/)
    expect(text).toContain('CONFROUTER_AUTH: oidc')
  })

  it('is written by init, with the version of this package, and never over another file', async () => {
    const { code, document } = await workspace.json('init', '--ci', kind)
    const file = document['file'] as string
    expect([code, file]).toEqual([0, kind === 'github' ? '.github/workflows/confrouter.yml' : 'azure-pipelines.yml'])
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))
    const written = await workspace.read(file)
    expect(written).toContain(`npm install --global confrouter@${version}`)
    expect(written).not.toContain('CONFROUTER_VERSION')
    expect(parse(written)).toBeDefined()
    const again = await workspace.json('init', '--ci', kind)
    expect([again.code, again.document['error'].code]).toEqual([2, 'init.exists'])
    expect(await workspace.read(file)).toBe(written)
  }, 30_000)
})

describe('the workflow for GitHub', () => {
  const workflow = parse(textOf('github')) as {
    jobs: Record<string, { permissions: Record<string, string>; environment?: string; if: string }>
  }

  it('gives each job what it needs and no more, and forks nothing', () => {
    expect(workflow.jobs['plan']?.permissions).toEqual({
      'id-token': 'write',
      contents: 'read',
      'pull-requests': 'write'
    })
    expect(workflow.jobs['plan']?.if).toContain('head.repo.full_name == github.repository')
    expect(workflow.jobs['deploy']).toMatchObject({
      environment: 'production',
      permissions: { 'id-token': 'write', contents: 'read' }
    })
  })
})

describe('what a pipeline runs of others', () => {
  it('are actions pinned by a commit, with the version that it is in a comment', () => {
    const uses = textOf('github').match(/\buses:.*/g) ?? []
    expect(uses).toHaveLength(4)
    for (const line of uses) expect(line).toMatch(/^uses: actions\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
    // One commit for each action: two would be two versions under one comment.
    expect(new Set(uses).size).toBe(new Set(uses.map((line) => line.split('@', 1)[0])).size)
  })

  it('are tasks that Azure Pipelines has itself, which nothing but a version can name', () => {
    const tasks = (textOf('azure-pipelines').match(/\btask:.*/g) ?? []).map((line) => line.trim())
    expect(new Set(tasks)).toEqual(new Set(['task: NodeTool@0']))
    expect(textOf('azure-pipelines')).not.toMatch(/\btemplate:|\brepository:/)
  })
})

describe('a command in a pipeline', () => {
  it('knows systems by their names', async () => {
    const { code, stderr } = await workspace.run('init', '--ci', 'gitlab')
    expect([code, stderr]).toEqual([2, expect.stringContaining('github, azure-pipelines')])
  }, 20_000)

  it('writes its failure as an annotation and into the summary, and keeps stdout for the document', async () => {
    const folder = join(workspace.directory, 'agent')
    await mkdir(folder)
    await workspace.write('confrouter.yaml', 'locatoin: x\n')
    const gitHub = await openWorkspace({
      CI: 'true',
      GITHUB_ACTIONS: 'true',
      GITHUB_STEP_SUMMARY: join(folder, 'step.md'),
      CONFROUTER_SUMMARY: join(folder, 'own.md')
    })
    await gitHub.write('confrouter.yaml', 'locatoin: x\n')
    const { code, stdout, stderr } = await gitHub.run('status', '--json')
    expect([code, JSON.parse(stdout).error.code]).toEqual([3, 'config.invalid'])
    expect(stderr).toMatch(/^::error title=config\.invalid::/m)
    const [step, own] = await Promise.all([workspace.read('agent/step.md'), workspace.read('agent/own.md')])
    expect(step).toContain('### confrouter status: failed, `config.invalid`')
    expect(own).toContain('### confrouter status: failed')
    await gitHub.end()

    const azure = await openWorkspace({ TF_BUILD: 'True', AGENT_TEMPDIRECTORY: folder })
    await azure.write('confrouter.yaml', 'locatoin: x\n')
    const outcome = await azure.run('status')
    await azure.end()
    expect(outcome.stderr).toMatch(/^##vso\[task\.logissue type=error;code=config\.invalid;\]/m)
    const file = /^##vso\[task\.uploadsummary\](.+)$/m.exec(outcome.stderr)?.[1] ?? ''
    expect(readFileSync(file, 'utf8')).toContain('### confrouter status: failed')
  }, 60_000)
})
