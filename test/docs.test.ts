import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { catalogue } from '../src/azure/error-catalogue.js'

const root = join(import.meta.dirname, '..')

const exitCodes = { bug: 1, usage: 2, config: 3, machine: 4, cloud: 5, evidence: 6, user: 7, interrupted: 130 }

/** Every code that the source can raise with its exit code, found by the forms in which it writes them. */
function codesInSource(): Map<string, number> {
  const text = filesUnder(join(root, 'src'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n')
  const found = [
    ...[...text.matchAll(/new (?:UserError|CheckFailure)\(\s*'(\w+)',\s*'([a-z0-9.-]+)'/g)].map((m) => [m[2], m[1]]),
    ...[...text.matchAll(/code: '([a-z0-9-]+\.[a-z0-9.-]+)',\s*fault: '(\w+)'/g)].map((m) => [m[1], m[2]]),
    ...catalogue.map(({ remedy }) => [remedy.code, remedy.fault]),
    ...[...text.matchAll(/^ {2}'((?:image|registry)\.[a-z-]+)': '(config|machine|cloud)'/gm)].map((m) => [m[1], m[2]])
  ]
  return new Map(found.map(([code, fault]) => [code!, exitCodes[fault as keyof typeof exitCodes]]))
}

function filesUnder(directory: string): string[] {
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .flatMap((path) => (statSync(path).isDirectory() ? filesUnder(path) : path.endsWith('.ts') ? [path] : []))
}

describe('docs/errors.md', () => {
  const text = readFileSync(join(root, 'docs/errors.md'), 'utf8')
  const documented = new Map(
    [...text.matchAll(/<a id="([^"]+)"><\/a>`[^`]+` \| (\d+)/g)].map((match) => [match[1]!, Number(match[2])])
  )

  it('is what scripts/write-errors.js makes of docs/errors.jsonl', () => {
    expect(() => execFileSync(process.execPath, ['scripts/write-errors.js', '--check'], { cwd: root })).not.toThrow()
  })

  it('has an entry with the right exit code for every error code of the source', () => {
    expect([...codesInSource()].filter(([code, exit]) => documented.get(code) !== exit)).toEqual([])
  })

  it('has no entry for a code that is gone', () => {
    // Raised through a class that fixes the code.
    const elsewhere = ['config.invalid', 'doctor.failed', 'smoke.could-not-check']
    const known = new Set([...codesInSource().keys(), ...elsewhere])
    expect([...documented.keys()].filter((code) => !known.has(code))).toEqual([])
  })
})

describe('scripts/write-errors.js', () => {
  const entry = { code: 'a.b', fault: 'cloud', section: 'Azure', problem: 'What.', remedy: 'Do.' }

  /** Runs it on a copy with more lines in the catalogue. */
  function write(lines: readonly string[], ...flags: readonly string[]) {
    const copy = mkdtempSync(join(tmpdir(), 'errors-'))
    try {
      for (const name of ['scripts', 'docs', 'package.json'])
        cpSync(join(root, name), join(copy, name), { recursive: true })
      const file = join(copy, 'docs/errors.jsonl')
      writeFileSync(file, `${lines.join('\n')}\n${readFileSync(file, 'utf8')}`)
      const { status, stderr } = spawnSync(process.execPath, ['scripts/write-errors.js', ...flags], { cwd: copy })
      return {
        status,
        stderr: stderr.toString(),
        page: readFileSync(join(copy, 'docs/errors.md'), 'utf8'),
        catalogue: readFileSync(file, 'utf8')
      }
    } finally {
      rmSync(copy, { recursive: true, force: true })
    }
  }

  it('sorts what two branches have added, and puts each code into its section', () => {
    const { status, page, catalogue } = write([JSON.stringify({ ...entry, code: 'zz.last' }), JSON.stringify(entry)])
    expect(status).toBe(0)
    expect(page).toContain('| <a id="a.b"></a>`a.b` | 5 | What. | Do. |')
    const codes = catalogue
      .split('\n')
      .flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as typeof entry).code]))
    expect(codes).toEqual(codes.toSorted())
  })

  it.each([
    [{ ...entry, code: 'azure.error' }, 'stands there twice'],
    [{ ...entry, fault: 'nobody' }, '"nobody" is none of'],
    [{ ...entry, section: 'Nowhere' }, 'section "Nowhere"'],
    [{ ...entry, problem: 'a | b' }, '"problem" must be'],
    [{ ...entry, problem: '' }, 'says not what it is'],
    [{ ...entry, code: 'A B' }, 'has not the form of a code'],
    [{ ...entry, exit: 5 }, '"exit" is unknown']
  ])('refuses %j', (wrong, problem) => {
    const { status, stderr } = write([JSON.stringify(wrong)])
    expect([status, stderr]).toEqual([1, expect.stringContaining(problem)])
  })

  it('with --check writes nothing and fails when the page is not current', () => {
    const { status, page, stderr } = write([JSON.stringify(entry)], '--check')
    expect([status, stderr]).toEqual([1, expect.stringContaining('is not current')])
    expect(page).not.toContain('a.b')
  })
})

describe('the codes of the router', () => {
  it('are all documented with their status, and no others', () => {
    const source = readFileSync(join(root, 'src/router/problem.ts'), 'utf8')
    const text = readFileSync(join(root, 'docs/errors.md'), 'utf8').split('## The router')[1] ?? ''
    const inSource = [...source.matchAll(/^ {2}([a-z_]+): \[(\d{3}), '/gm)].map(
      ([, code, status]) => `${code} ${status}`
    )
    const documented = [...text.matchAll(/^\| ((?:`[a-z_]+`(?:, )?)+) \| ([\d, ]+) \|/gm)].flatMap(
      ([, codes, statuses]) => {
        const all = statuses!.split(', ')
        return codes!.split(', ').map((code, index) => `${code.replaceAll('`', '')} ${all[index] ?? all[0]}`)
      }
    )
    expect(inSource.length).toBeGreaterThan(40)
    expect(documented.sort()).toEqual(inSource.sort())
  })
})

describe('the documentation', () => {
  it.each([
    'README.md',
    'SECURITY.md',
    'CHANGELOG.md',
    ...readdirSync(join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`)
  ])('%s links to files that are there', (file) => {
    const text = readFileSync(join(root, file), 'utf8')
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => join(root, file, '..', match[1]!))
    expect(links.filter((link) => !exists(link))).toEqual([])
  })
})

function exists(path: string): boolean {
  try {
    statSync(path)
    return true
  } catch {
    return false
  }
}
