import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import ts from 'typescript'

/**
 * The one-way import rule of docs/ARCHITECTURE.md. Every folder may import itself and `base`;
 * what else it may import and use is written here and nowhere else.
 */
const root = resolve(import.meta.dirname, '..')
const source = join(root, 'src')

interface Rule {
  /** Folders of src that it may import. */
  readonly folders: readonly string[]
  /** Packages and Node modules that it may use; a name also allows its sub-paths. */
  readonly packages: readonly string[]
}

const rules: Readonly<Record<string, Rule>> = {
  base: { folders: [], packages: ['node:crypto', 'node:buffer'] },
  config: { folders: [], packages: ['node:crypto', 'zod', 'yaml'] },
  policy: { folders: [], packages: ['node:crypto'] },
  layers: { folders: [], packages: ['node:crypto', 'node:zlib', 'node:stream', 'fzstd'] },
  verify: { folders: [], packages: ['jose', 'cborg'] },
  seal: { folders: [], packages: ['jose', 'hpke'] },
  'seal/node': { folders: ['seal'], packages: ['jose', 'node:crypto', 'node:buffer'] },
  plan: { folders: ['config', 'policy'], packages: [] },
  image: {
    folders: ['layers'],
    packages: ['node:crypto', 'node:fs', 'node:path', 'node:os', 'node:stream', 'node:zlib', 'write-file-atomic']
  },
  client: { folders: ['seal', 'verify'], packages: ['jose'] },
  azure: { folders: [], packages: ['@azure', 'node:timers'] },
  exec: { folders: [], packages: ['execa', 'node:fs', 'node:os', 'node:path'] },
  terminal: { folders: ['plan'], packages: ['listr2', 'node:process', 'node:util', 'node:readline', 'node:stream'] },
  steps: {
    folders: ['config', 'plan', 'policy', 'image', 'layers', 'azure', 'exec', 'client', 'seal'],
    packages: ['node:fs', 'node:path', 'node:os', 'node:crypto', 'node:timers', 'node:net', 'write-file-atomic']
  },
  commands: {
    folders: [
      'config',
      'plan',
      'policy',
      'layers',
      'image',
      'verify',
      'client',
      'steps',
      'terminal',
      'emulator',
      'azure',
      'exec'
    ],
    packages: ['commander', 'node:fs', 'node:path', 'node:process', 'node:child_process', 'node:timers', 'undici']
  },
  emulator: {
    folders: ['policy', 'layers', 'image'],
    packages: [
      'node:http',
      'node:https',
      'node:net',
      'node:child_process',
      'node:crypto',
      'node:fs',
      'node:path',
      'node:os',
      'node:stream',
      'node:timers',
      'node:process',
      'node:buffer',
      'jose',
      'cborg',
      'write-file-atomic'
    ]
  },
  router: {
    folders: ['seal', 'seal/node'],
    packages: [
      'node:http',
      'node:https',
      'node:crypto',
      'node:fs',
      'node:path',
      'node:process',
      'node:stream',
      'node:timers',
      'node:events',
      'node:net',
      'node:dns',
      'node:buffer',
      'undici',
      'prom-client',
      'pino',
      'jose'
    ]
  }
}

/** The composition root: everything but the router, which is a program of its own. */
const compositionRoot = ['cli.ts', 'composition']
const allButRouter = [...Object.keys(rules), 'composition'].filter((folder) => folder !== 'router')

describe('the import rule', () => {
  for (const file of filesUnder(source)) {
    it(`holds in ${relative(root, file)}`, () => {
      expect(violations(file, readFileSync(file, 'utf8'))).toEqual([])
    })
  }

  it('finds a planted violation', () => {
    const file = join(source, 'verify', 'planted.ts')
    expect(violations(file, `import { x } from '../router/main.js'\nimport fs from 'node:fs'\n`)).toEqual([
      'verify imports ../router/main.js',
      'verify uses node:fs'
    ])
  })
})

function violations(file: string, text: string): string[] {
  const path = relative(source, file)
  const folder = folderOf(path)
  const isRoot = compositionRoot.includes(folder || path)
  const allowedFolders = isRoot ? allButRouter : ['base', folder, ...(rules[folder]?.folders ?? [])]
  const allowedPackages = isRoot ? undefined : (rules[folder]?.packages ?? [])
  const found: string[] = []
  for (const { fileName: imported } of ts.preProcessFile(text, true, true).importedFiles) {
    if (imported.startsWith('.')) {
      const target = folderOf(relative(source, resolve(dirname(file), imported)))
      if (!allowedFolders.includes(target)) found.push(`${folder || path} imports ${imported}`)
    } else if (
      allowedPackages &&
      !allowedPackages.some((name) => imported === name || imported.startsWith(`${name}/`))
    ) {
      found.push(`${folder} uses ${imported}`)
    }
  }
  return found
}

function folderOf(path: string): string {
  if (path.startsWith(join('seal', 'node'))) return 'seal/node'
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : ''
}

function filesUnder(directory: string): string[] {
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .flatMap((path) => (statSync(path).isDirectory() ? filesUnder(path) : path.endsWith('.ts') ? [path] : []))
}
