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
  base: { folders: [], packages: ['node:crypto'] },
  config: { folders: [], packages: ['node:crypto', 'zod', 'yaml'] },
  policy: { folders: [], packages: [] },
  layers: { folders: [], packages: ['node:crypto', 'node:zlib', 'node:stream', 'node:timers', 'fzstd'] },
  verify: { folders: [], packages: [] },
  seal: { folders: [], packages: ['jose', 'hpke'] },
  'seal/node': { folders: ['seal'], packages: ['jose', 'node:crypto'] },
  plan: { folders: ['config', 'policy'], packages: [] },
  image: {
    folders: ['layers'],
    packages: ['node:crypto', 'node:fs', 'node:path', 'node:os', 'node:stream']
  },
  client: { folders: ['seal', 'verify'], packages: [] },
  'client/proxy': {
    folders: ['client', 'verify'],
    packages: ['node:http', 'node:events', 'node:net', 'node:async_hooks', 'node:crypto']
  },
  azure: { folders: [], packages: ['@azure', 'node:timers'] },
  exec: { folders: [], packages: ['execa', 'node:fs', 'node:os', 'node:path'] },
  terminal: { folders: ['plan'], packages: ['listr2', 'node:process', 'node:util', 'node:readline', 'node:stream'] },
  release: {
    folders: ['policy', 'plan', 'image', 'exec', 'verify'],
    packages: ['node:fs', 'node:path', 'esbuild']
  },
  steps: {
    folders: ['config', 'plan', 'policy', 'image', 'layers', 'azure', 'exec', 'client', 'seal', 'release'],
    packages: ['node:fs', 'node:path', 'node:os', 'node:crypto', 'node:timers', 'node:async_hooks', 'yaml']
  },
  commands: {
    folders: ['policy', 'plan', 'steps', 'terminal', 'client', 'client/proxy', 'release'],
    packages: ['commander', 'node:fs']
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
      'jose',
      'cborg'
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
      'node:cluster',
      'node:stream',
      'node:timers',
      'node:events',
      'node:net',
      'node:tls',
      'node:dns',
      'undici',
      'pino',
      'prom-client'
    ]
  }
}

/** The composition root: everything but the router, which is a program of its own. */
const compositionRoot = ['cli.ts', 'composition']
/** Folders that read no clock, no environment and no network; what they need of these is given to them. */
const pureFolders = ['base', 'config', 'plan', 'policy', 'layers', 'verify', 'seal']
const impureGlobals = ['process', 'fetch', 'XMLHttpRequest', 'WebSocket', 'performance', 'require']

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

  for (const [folder, rule] of Object.entries(rules)) {
    it(`allows ${folder} no package that it does not use`, () => {
      expect(unusedPackages(folder, rule)).toEqual([])
    })
  }

  it.each([
    ['process.exit()', 'process'],
    ['const { env } = process', 'process'],
    ['export const value = { process }', 'process'],
    ['globalThis.process.exit()', 'globalThis.process'],
    ['const { fetch } = globalThis', 'globalThis'],
    ['export const now = Date.now()', 'the clock'],
    ['export const now = new Date()', 'the clock'],
    ['export const now = Date()', 'the clock'],
    ['const { now } = Date', 'the clock'],
    ['export const id = Math.random()', 'chance'],
    ['await fetch(address)', 'fetch'],
    ['export const get = (fetcher = fetch) => fetcher(address)', 'fetch'],
    ['await import(name)', 'an import of a computed name'],
    ['await import(`./${name}`)', 'an import of a computed name'],
    ['function other(process: string) {}\nprocess.exit()', 'process']
  ])('finds %s in a pure folder', (code, what) => {
    for (const folder of pureFolders) {
      expect(violations(join(source, folder, 'planted.ts'), code)).toContain(`${folder} uses ${what}`)
    }
    expect(violations(join(source, 'steps', 'planted.ts'), code)).toEqual([])
    expect(violations(join(source, 'seal', 'node', 'planted.ts'), code)).toEqual([])
  })

  it.each([
    'const process = read()\nprocess.command',
    'function run(process: string) { return process }',
    'for (const { process } of all) use(process)',
    'export const value = { process: 1 }.process',
    'const { process: other } = value',
    'export const isTime = value instanceof Date',
    'type Get = typeof globalThis.fetch',
    'export interface Options { readonly fetch: typeof fetch }',
    'export const day = new Date(0).toISOString() + Date.UTC(2026, 1) + Math.max(1, 2)'
  ])('takes %s for what it is', (code) => {
    expect(violations(join(source, 'policy', 'planted.ts'), code)).toEqual([])
  })

  it.each([
    ["import { KeyClient } from '@azure/keyvault-keys'", true],
    ["import { type KeyClient } from '@azure/keyvault-keys'", true],
    ["import '@azure/keyvault-keys'", true],
    ["export { KeyClient } from '@azure/keyvault-keys'", true],
    ["import type { KeyClient } from '@azure/keyvault-keys'", false],
    ["const { KeyClient } = await import('@azure/keyvault-keys')", false]
  ])('asks of %s whether the SDK is loaded only when it is needed', (code, isLoaded) => {
    for (const path of ['cli.ts', 'azure/planted.ts', 'composition/planted.ts']) {
      expect(violations(join(source, path), code)).toHaveLength(isLoaded ? 1 : 0)
    }
  })
})

function violations(file: string, text: string): string[] {
  const path = relative(source, file)
  const folder = folderOf(path)
  const isRoot = compositionRoot.includes(folder || path)
  const allowedFolders = isRoot ? allButRouter : ['base', folder, ...(rules[folder]?.folders ?? [])]
  const allowedPackages = isRoot ? undefined : (rules[folder]?.packages ?? [])
  const found: string[] = []
  for (const imported of importsOf(text)) {
    if (imported.startsWith('.')) {
      const target = folderOf(relative(source, resolve(dirname(file), imported)))
      if (!allowedFolders.includes(target)) found.push(`${folder || path} imports ${imported}`)
    } else if (allowedPackages && !allowedPackages.some((name) => isPartOf(imported, name))) {
      found.push(`${folder} uses ${imported}`)
    }
  }
  return [...found, ...codeViolations(text, folder)]
}

/** Packages that the table allows a folder and no file in it uses. Which folders it may import is for the architecture to say. */
function unusedPackages(folder: string, { packages }: Rule): string[] {
  const files = filesUnder(join(source, folder)).filter((file) => folderOf(relative(source, file)) === folder)
  const used = files.flatMap((file) => importsOf(readFileSync(file, 'utf8')))
  return packages.filter((name) => !used.some((imported) => isPartOf(imported, name)))
}

function importsOf(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName)
}

function isPartOf(imported: string, name: string): boolean {
  return imported === name || imported.startsWith(`${name}/`)
}

/** What an import table cannot see: globals, the clock, and how a package is loaded. */
function codeViolations(text: string, folder: string): string[] {
  const found: string[] = []
  visit(ts.createSourceFile('file.ts', text, ts.ScriptTarget.ESNext, true))
  return found

  function visit(node: ts.Node): void {
    const loaded = loadsWhenImported(node)
    if (loaded !== undefined && isPartOf(loaded, '@azure')) found.push(`${folder} loads ${loaded} when it is imported`)
    if (ts.isTypeNode(node)) return
    if (pureFolders.includes(folder)) {
      const impure = impurityOf(node)
      if (impure !== undefined) found.push(`${folder} uses ${impure}`)
    }
    ts.forEachChild(node, visit)
  }
}

/** The module that a declaration loads; `import { type X }` loads one too, since only its names are types. */
function loadsWhenImported(node: ts.Node): string | undefined {
  const isLoading =
    (ts.isImportDeclaration(node) && node.importClause?.isTypeOnly !== true) ||
    (ts.isExportDeclaration(node) && !node.isTypeOnly)
  const name = isLoading ? node.moduleSpecifier : undefined
  return name !== undefined && ts.isStringLiteral(name) ? name.text : undefined
}

function impurityOf(node: ts.Node): string | undefined {
  if (ts.isIdentifier(node) && isGlobal(node)) {
    if (impureGlobals.includes(node.text)) return node.text
    if (node.text === 'globalThis' && !ts.isPropertyAccessExpression(node.parent)) return node.text
    if (node.text === 'Date' && !isDateOfValue(node.parent) && !isOtherMember(node.parent, 'now')) return 'the clock'
    if (node.text === 'Math' && !isOtherMember(node.parent, 'random')) return 'chance'
  }
  if (ts.isPropertyAccessExpression(node) && node.expression.getText() === 'globalThis') {
    return [...impureGlobals, 'Date', 'Math'].includes(node.name.text) ? `globalThis.${node.name.text}` : undefined
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [name] = node.arguments
    return name !== undefined && ts.isStringLiteralLike(name) ? undefined : 'an import of a computed name'
  }
  return undefined
}

/** `new Date(value)` and `value instanceof Date`, which read no clock. */
function isDateOfValue(node: ts.Node): boolean {
  if (ts.isBinaryExpression(node)) return node.operatorToken.kind === ts.SyntaxKind.InstanceOfKeyword
  return ts.isNewExpression(node) && (node.arguments?.length ?? 0) > 0
}

function isOtherMember(node: ts.Node, name: string): boolean {
  return ts.isPropertyAccessExpression(node) && node.name.text !== name
}

/** True for a name that is a value and that no scope around it declares. */
function isGlobal(identifier: ts.Identifier): boolean {
  const { parent } = identifier
  if ((ts.isPropertyAccessExpression(parent) || ts.isMetaProperty(parent)) && parent.name === identifier) return false
  if (ts.isBindingElement(parent) && parent.propertyName === identifier) return false
  if (isNamedBy(parent, identifier) && !ts.isShorthandPropertyAssignment(parent)) return false
  for (let scope: ts.Node = parent; ; scope = scope.parent) {
    if (declaredIn(scope).has(identifier.text)) return false
    if (ts.isSourceFile(scope)) return true
  }
}

function isNamedBy(node: ts.Node, identifier: ts.Identifier): boolean {
  return 'name' in node && node.name === identifier
}

/** The names that a node declares for what is inside it. */
function declaredIn(scope: ts.Node): ReadonlySet<string> {
  const names = new Set<string>()
  const declare = (name: ts.BindingName | undefined): void => {
    if (name === undefined) return
    if (ts.isIdentifier(name)) names.add(name.text)
    else for (const element of name.elements) if (ts.isBindingElement(element)) declare(element.name)
  }
  const declareAll = (list: ts.VariableDeclarationList): void => {
    for (const { name } of list.declarations) declare(name)
  }
  if (ts.isFunctionLike(scope)) for (const { name } of scope.parameters) declare(name)
  if (ts.isCatchClause(scope)) declare(scope.variableDeclaration?.name)
  if (ts.isForStatement(scope) || ts.isForOfStatement(scope) || ts.isForInStatement(scope)) {
    if (scope.initializer !== undefined && ts.isVariableDeclarationList(scope.initializer))
      declareAll(scope.initializer)
  }
  if (ts.isBlock(scope) || ts.isSourceFile(scope) || ts.isCaseOrDefaultClause(scope)) {
    for (const statement of scope.statements) {
      if (ts.isVariableStatement(statement)) declareAll(statement.declarationList)
      else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) declare(statement.name)
      else if (ts.isImportDeclaration(statement)) {
        declare(statement.importClause?.name)
        const bindings = statement.importClause?.namedBindings
        if (bindings !== undefined && ts.isNamespaceImport(bindings)) declare(bindings.name)
        if (bindings !== undefined && ts.isNamedImports(bindings))
          for (const { name } of bindings.elements) declare(name)
      }
    }
  }
  return names
}

function folderOf(path: string): string {
  if (path.startsWith(join('seal', 'node'))) return 'seal/node'
  if (path.startsWith(join('client', 'proxy'))) return 'client/proxy'
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : ''
}

function filesUnder(directory: string): string[] {
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .flatMap((path) => (statSync(path).isDirectory() ? filesUnder(path) : path.endsWith('.ts') ? [path] : []))
}
