import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import ts from 'typescript'
import { bundleRouter, routerRecipe } from '../../../src/release/bundle-router.js'

const packageRoot = join(import.meta.dirname, '..', '..', '..')

describe('the router program that is made again', () => {
  it('is made by the recipe of scripts/build.js, member by member', () => {
    const { entryPoints, ...recipe } = routerRecipe
    const text = readFileSync(join(packageRoot, 'scripts/build.js'), 'utf8')
    const { absWorkingDir, entryPoints: entry, outfile, logLevel, ...written } = buildOptions(text)
    expect(written).toEqual(
      Object.fromEntries(Object.entries(recipe).map(([name, value]) => [name, JSON.stringify(value)]))
    )
    // The same everywhere: where it is made, how much is said of it, and a name that is not in the bytes.
    expect([absWorkingDir, entry, outfile, logLevel]).toEqual(['root', '[entry]', 'outfile', '"warning"'])
    expect(text).toContain(`await bundle('${entryPoints[0]}', 'dist/router/router.cjs')`)
  })

  it('is the whole router, the same each time', async () => {
    const [first, second] = [await bundleRouter(packageRoot), await bundleRouter(packageRoot)]
    expect(first.length).toBeGreaterThan(100_000)
    expect(Buffer.compare(first, second)).toBe(0)
    expect(Buffer.from(first).toString()).not.toContain(packageRoot)
  })
})

/** The members of the object that the function `bundle` calls `build` with, as they are written. */
function buildOptions(code: string): Readonly<Record<string, string>> {
  const file = ts.createSourceFile('build.js', code, ts.ScriptTarget.ESNext, true)
  const [bundle, second] = file.statements.filter(
    (statement) => ts.isFunctionDeclaration(statement) && statement.name?.text === 'bundle'
  )
  if (bundle === undefined || second !== undefined) throw new Error('there is not one function bundle')
  const [call, another] = callsOf('build', bundle)
  const [options] = call?.arguments ?? []
  if (another !== undefined || options === undefined || !ts.isObjectLiteralExpression(options)) {
    throw new Error('bundle does not call build once, with options')
  }
  return Object.fromEntries(options.properties.map(memberOf))
}

function callsOf(name: string, node: ts.Node): readonly ts.CallExpression[] {
  const found = ts.isCallExpression(node) && node.expression.getText() === name ? [node] : []
  const below: ts.CallExpression[] = []
  ts.forEachChild(node, (child) => void below.push(...callsOf(name, child)))
  return [...found, ...below]
}

function memberOf(member: ts.ObjectLiteralElementLike): [string, string] {
  if (ts.isShorthandPropertyAssignment(member)) return [member.name.text, member.name.text]
  if (!ts.isPropertyAssignment(member)) throw new Error(`an option in another form: ${member.getText()}`)
  const { initializer } = member
  const value = ts.isStringLiteral(initializer) ? JSON.stringify(initializer.text) : initializer.getText()
  return [member.name.getText(), value]
}
