import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { annotationLine, pipelineOf, uploadSummaryLine } from '../../../src/terminal/pipeline.js'
import { markdownSummary } from '../../../src/terminal/summary.js'
import { captured } from './streams.js'

describe('the pipeline that runs the command', () => {
  it.each([
    [{}, undefined],
    [{ CI: 'false' }, undefined],
    [{ CI: 'true' }, 'other'],
    [{ CI: 'true', GITHUB_ACTIONS: 'true' }, 'github'],
    [{ TF_BUILD: 'True' }, 'azure-pipelines'],
    [{ GITHUB_ACTIONS: '' }, undefined]
  ])('is known by its variables: %j', (environment, pipeline) => {
    expect(pipelineOf(environment)).toBe(pipeline)
  })
})

describe('an annotation', () => {
  const problem = { level: 'error', code: 'a.b', text: '50% of it:\nwrong, ##vso[task.setvariable]x' } as const

  it('is one line in the form of each, whatever is in the text', () => {
    expect(annotationLine('github', problem)).toBe('::error title=a.b::50%25 of it:%0Awrong, ##vso[task.setvariable]x')
    expect(annotationLine('azure-pipelines', { ...problem, text: '50%\nwrong' })).toBe(
      '##vso[task.logissue type=error;code=a.b;]50%AZP25%0Awrong'
    )
    expect(annotationLine('github', { level: 'warning', text: 'x' })).toBe('::warning::x')
    expect(uploadSummaryLine('/tmp/a%b.md')).toBe('##vso[task.uploadsummary]/tmp/a%AZP25b.md')
  })

  it('has no property that ends early', () => {
    expect(annotationLine('github', { ...problem, code: 'a,b::c' })).toMatch(/^::error title=a%2Cb%3A%3Ac::/)
    expect(annotationLine('azure-pipelines', { ...problem, code: 'a;b]c' })).toMatch(/code=a%3Bb%5Dc;\]/)
  })

  it('is written nowhere else', () => {
    for (const pipeline of ['other', undefined] as const) expect(annotationLine(pipeline, problem)).toBeUndefined()
  })
})

describe('a terminal in a pipeline', () => {
  const run = (environment: Record<string, string>, summarize?: (markdown: string) => string | undefined) =>
    captured({ tty: true, json: true, environment: { LANG: 'C.UTF-8', ...environment }, summarize })
  const error = new UserError('config', 'provider.key-missing', 'a key is missing', {
    why: 'because',
    next: ['do this']
  })

  it('annotates errors and warnings on stderr, and leaves stdout to the document', () => {
    const { terminal, stdout, stderr } = run({ GITHUB_ACTIONS: 'true' })
    terminal.warn('careful')
    expect(terminal.failure(error, { command: 'up' })).toBe(3)
    expect(stderr.text).toContain(
      '\n::error title=provider.key-missing::a key is missing%0Awhy: because%0Anext: do this\n'
    )
    expect(stderr.text).toContain('\n::warning::careful\n')
    expect(JSON.parse(stdout.text)).toMatchObject({ ok: false, error: { code: 'provider.key-missing' } })
  })

  it('annotates nothing on somebody’s own machine', () => {
    const { terminal, stderr } = run({})
    terminal.failure(error, { command: 'up' })
    expect(stderr.text).not.toMatch(/::|##/)
  })

  it('shows lines and not a live tree, in Azure Pipelines too, which sets no CI', () => {
    const { terminal, stderr } = run({ TF_BUILD: 'True' })
    const progress = terminal.progress('confrouter up', [{ id: 'a', title: 'first' }])
    progress.start('a')
    progress.done('a', 'created')
    progress.close()
    expect(stderr.text).toMatch(/first: started\n.*first: created/)
    expect(stderr.text).not.toContain('\u001b[')
  })

  it('takes no command out of a text from elsewhere', () => {
    const { terminal, stderr } = run({ TF_BUILD: 'True' })
    terminal.info('container says ##vso[task.setvariable variable=x]y and ##[error]z')
    expect(stderr.text).toBe('container says # #vso[task.setvariable variable=x]y and # #[error]z\n')
  })

  it('summarizes result and failure, and tells Azure Pipelines of the file', () => {
    const summaries: string[] = []
    const summarize = (markdown: string) => (summaries.push(markdown), '/tmp/s.md')
    run({ TF_BUILD: 'True' }, summarize).terminal.result({ human: '', json: { command: 'up', hostData: 'ab' } })
    const { terminal, stderr } = run({ TF_BUILD: 'True' }, summarize)
    terminal.failure(error, { command: 'up' })
    expect(stderr.text).toContain('##vso[task.uploadsummary]/tmp/s.md\n')
    expect(summaries[0]).toContain('### confrouter up: done')
    expect(summaries[1]).toContain('### confrouter up: failed, `provider.key-missing`')
    expect(summaries[1]).toContain('- `do this`')
  })
})

describe('the summary in Markdown', () => {
  it('of a plan begins with the trust changes, which somebody has to approve', () => {
    const markdown = markdownSummary({
      command: 'plan',
      changes: [{ resource: 'key', action: 'update', reason: 'binding it', properties: [] }],
      trustChanges: [{ what: 'host data', from: 'aa', to: 'bb' }]
    })
    expect(markdown.split('\n')).toEqual([
      '### confrouter plan: done',
      '',
      '**Trust changes**: from the next deployment on the key is released by the new values only.',
      '',
      '| what | from | to |',
      '| --- | --- | --- |',
      '| `host data` | `aa` | `bb` |',
      '',
      '|  | resource | reason |',
      '| --- | --- | --- |',
      '| `update` | `key` | `binding it` |',
      '',
      ''
    ])
    expect(markdownSummary({ command: 'plan', changes: [], trustChanges: [] })).toContain('No trust changes.')
  })

  it('of a verdict that is no good does not say done', () => {
    expect(markdownSummary({ command: 'verify', ok: false, verdict: 'rejected' })).toContain(
      '### confrouter verify: not ok'
    )
  })

  it('of a deployment has values and steps, and says where there is no hardware', () => {
    const steps = [{ id: 'key', action: 'none', seconds: 0.1 }]
    const markdown = markdownSummary({ command: 'up', simulated: true, endpoint: 'http://x', steps, changed: false })
    expect(markdown).toContain('**simulated: no hardware protection**')
    expect(markdown).toContain('| `endpoint` | `http://x` |')
    expect(markdown).toContain('| `key` | `none` | `0.1` |')
  })

  it('has no markup, cell or secret from what it shows', () => {
    const markdown = markdownSummary({
      command: 'x',
      error: { code: 'a`b', message: '<img src=x> [a](http://b) @all | sk-abcdefghijklmnopqrstuvwx', next: ['a`|b'] }
    })
    expect(markdown).toContain('\\<img src=x\\> \\[a\\]\\(http://b\\) \\@all \\| \\[api key\\]')
    expect(markdown).toContain("failed, `a'b`")
    expect(markdown).toContain("- `a'\\|b`")
  })
})
