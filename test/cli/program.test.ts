import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'

const root = join(import.meta.dirname, '..', '..')
const program = join(root, 'dist', 'program')

/** What a file of the program imports at once, and what that imports: files, and names of packages. */
function loadedWith(entry: string): { readonly files: ReadonlySet<string>; readonly packages: ReadonlySet<string> } {
  const files = new Set<string>()
  const packages = new Set<string>()
  const waiting = [entry]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file)) continue
    files.add(file)
    const text = readFileSync(join(program, file), 'utf8')
    for (const [, from = ''] of text.matchAll(/^(?:import|\} from|export \* from).*?"([^"]+)";$/gm)) {
      if (from.startsWith('./')) waiting.push(from.slice(2))
      else if (!from.startsWith('node:')) packages.add(from)
    }
  }
  return { files, packages }
}

function fileFor(name: string): string {
  const [found, another] = readdirSync(program).filter((file) => file.startsWith(`${name}-`))
  if (found === undefined || another !== undefined) throw new Error(`there is not one file for ${name}`)
  return found
}

describe('the built command', () => {
  it('starts without the packages that only some verbs need', () => {
    expect([...loadedWith('cli.js').packages]).toEqual(['commander'])
  })

  it('makes a policy from few files and from no package', () => {
    const policy = loadedWith(fileFor('acipolicygen'))
    expect([...policy.packages]).toEqual([])
    expect(new Set([...loadedWith('cli.js').files, ...policy.files]).size).toBeLessThan(25)
  })

  it('finds the files of its package', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const said = execFileSync(process.execPath, [join(root, 'bin', 'confrouter.js'), '--version'], { encoding: 'utf8' })
    expect(said).toBe(`${version}\n`)
  })

  it('can be read: names as they are in the sources, and a line that says from which file what follows is', () => {
    const text = readFileSync(join(program, fileFor('acipolicygen')), 'utf8')
    expect(text).toContain('// src/steps/acipolicygen.ts\n')
    expect(text).toContain('async function acipolicygen(request, surroundings) {')
  })
})
