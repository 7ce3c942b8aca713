import { describe, expect, it } from '@jest/globals'
import { acipolicygen } from '../../../src/exec/index.js'
import { useFakePrograms } from './fake-programs.js'

const programs = useFakePrograms()
const templateFile = 'template.json'

describe('acipolicygen', () => {
  it('gives the lines of standard output, without the warnings', async () => {
    programs.current.add('az', 'echo "WARNING: stdio" >&2; echo aaa; echo; echo bbb')
    expect(await acipolicygen({ templateFile })).toEqual(['aaa', 'bbb'])
    expect(programs.current.calls).toEqual([['az', 'confcom', 'acipolicygen', '--template-file', 'template.json']])
  })

  it('passes its options on', async () => {
    programs.current.add('az', 'exit 0')
    await acipolicygen({ templateFile, parametersFile: 'p.json', tar: 't.json', approveWildcards: true })
    expect(programs.current.calls[0]?.slice(5)).toEqual([
      '--parameters',
      'p.json',
      '--tar',
      't.json',
      '--approve-wildcards'
    ])
  })

  it('lets az install nothing by itself', async () => {
    programs.current.add('az', 'echo "$AZURE_EXTENSION_USE_DYNAMIC_INSTALL"')
    expect(await acipolicygen({ templateFile })).toEqual(['no'])
  })

  it('answers no question', async () => {
    programs.current.add('az', 'read answer || { echo "EOF when reading a line" >&2; exit 1; }')
    await expect(acipolicygen({ templateFile })).rejects.toMatchObject({
      code: 'az.failed',
      why: 'EOF when reading a line'
    })
  })

  it.each([
    ['az.confcom-missing', `ERROR: 'confcom' is misspelled or not recognized by the system.`],
    ['az.confcom-missing', 'ERROR: The command requires the extension confcom. Unable to prompt for extension install'],
    ['builder.not-running', 'ERROR: The docker process was not found. Please start Docker.'],
    ['az.failed', 'ERROR: ghcr.io/o/a:1 is not found']
  ])('reports %s, with a remedy, when az says: %s', async (code, text) => {
    programs.current.add('az', `cat >&2 <<'END'\n${text}\nEND\nexit 1`)
    const error: unknown = await acipolicygen({ templateFile }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code, fault: 'machine', exitCode: 4 })
    expect((error as { next: string[] }).next.length).toBeGreaterThan(0)
  })

  it('says when az is missing or takes too long', async () => {
    await expect(acipolicygen({ templateFile })).rejects.toMatchObject({ code: 'az.missing', exitCode: 4 })
    programs.current.add('az', 'exec sleep 60')
    await expect(acipolicygen({ templateFile, timeoutMs: 200 })).rejects.toMatchObject({ code: 'az.timeout' })
    const reason = new Error('enough')
    await expect(acipolicygen({ templateFile, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})
