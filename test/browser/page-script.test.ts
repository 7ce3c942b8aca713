import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import ts from 'typescript'
import { contentSecurityPolicy, page, script } from '../../src/client/proxy/page/page.js'

describe('the script of the page', () => {
  it('has every function that it uses, since it is put together by name', () => {
    expect(unknownNames(script)).toEqual([])
    expect(unknownNames(script.replace('function partOf(', 'function other('))).toEqual(['partOf'])
  })

  it('never makes markup or program out of a text', () => {
    expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc/)
  })

  it('keeps nothing in the browser', () => {
    expect(script).not.toMatch(/localStorage|sessionStorage|indexedDB|document\.cookie/)
  })

  it.each(['script', 'style'])('and the %s are those whose hashes the policy names', (tag) => {
    const [, text = ''] = page.split(new RegExp(`<${tag}>|</${tag}>`))
    const hash = createHash('sha256').update(text).digest('base64')
    expect(contentSecurityPolicy).toContain(`${tag}-src 'sha256-${hash}';`)
    expect(page.match(new RegExp(`<${tag}`, 'g'))).toHaveLength(1)
  })

  it('stands in a page without handlers or styles in attributes, which its policy would stop', () => {
    const markup = page.replace(script, '')
    expect(markup).not.toMatch(/\s(?:on\w+|style)=/)
  })
})

/** Names that a script uses and nothing declares: neither itself nor a browser. */
function unknownNames(text: string): string[] {
  const name = '/page.js'
  const options: ts.CompilerOptions = {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts']
  }
  const host = ts.createCompilerHost(options)
  const program = ts.createProgram([name], options, {
    ...host,
    fileExists: (file) => file === name || host.fileExists(file),
    readFile: (file) => (file === name ? text : host.readFile(file)),
    getSourceFile: (file, language) =>
      file === name ? ts.createSourceFile(name, text, language) : host.getSourceFile(file, language)
  })
  const cannotFindName = [2304, 2552]
  const unknown = program
    .getSemanticDiagnostics(program.getSourceFile(name))
    .filter(({ code }) => cannotFindName.includes(code))
    .map(({ start = 0, length = 0 }) => text.slice(start, start + length))
  return [...new Set(unknown)]
}
