import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { build } from 'esbuild'
import { ImageError, writeTextAtomically, writeTextsAtomically } from '../../../src/image/index.js'

let folder: string
const at = (name: string) => join(folder, name)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'confrouter-atomic-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('writeTextAtomically', () => {
  it('writes UTF-8, keeps the mode of what it replaces, and leaves nothing else', async () => {
    writeFileSync(at('a'), 'old')
    chmodSync(at('a'), 0o640)
    await writeTextAtomically(at('a'), 'é')
    expect(readFileSync(at('a'), 'utf8')).toBe('é')
    expect(statSync(at('a')).mode & 0o777).toBe(0o640)
    expect(readdirSync(folder)).toEqual(['a'])
  })

  it('gives the mode that is asked for, whatever was there', async () => {
    writeFileSync(at('a'), 'old', { mode: 0o666 })
    await writeTextAtomically(at('a'), 'new', { mode: 0o600 })
    expect(statSync(at('a')).mode & 0o777).toBe(0o600)
  })

  it('replaces what a symbolic link leads to, and not the link', async () => {
    writeFileSync(at('real'), 'old')
    symlinkSync('real', at('link'))
    await writeTextAtomically(at('link'), 'new')
    expect(readFileSync(at('real'), 'utf8')).toBe('new')
  })

  it('throws for a folder that is not there', async () => {
    await expect(writeTextAtomically(at('none/a'), 'x')).rejects.toBeInstanceOf(ImageError)
  })

  it('leaves the old file and no other where a write ends in the middle', async () => {
    writeFileSync(at('policy.rego'), 'old')
    const program = join(folder, 'write.mjs')
    const source = join(import.meta.dirname, '../../../src/image/atomic-file.ts')
    const contents = `import { writeTextAtomically } from ${JSON.stringify(source)}
      process.on('SIGXFSZ', () => {})
      await writeTextAtomically(process.argv[2], 'x'.repeat(100_000)).then(
        () => console.log('written'), (error) => console.log(error.code))`
    const stdin = { contents, resolveDir: import.meta.dirname }
    await build({ stdin, bundle: true, platform: 'node', format: 'esm', outfile: program })
    // The limit lets the first part of a write through, as a nearly full disk does.
    const limited = `ulimit -f 64; exec "$0" "$@"`
    const said = execFileSync('bash', ['-c', limited, process.execPath, program, at('policy.rego')], {
      encoding: 'utf8'
    })
    expect(said.trim()).toBe('image.file')
    expect(readFileSync(at('policy.rego'), 'utf8')).toBe('old')
    expect(readdirSync(folder).sort()).toEqual(['policy.rego', 'write.mjs'])
  })
})

describe('writeTextsAtomically', () => {
  it('gives no file its name where a later one cannot be written', async () => {
    writeFileSync(at('a'), 'old')
    const files = [
      { path: at('a'), text: 'new' },
      { path: at('none/b'), text: 'new' }
    ]
    await expect(writeTextsAtomically(files)).rejects.toBeInstanceOf(ImageError)
    expect(readFileSync(at('a'), 'utf8')).toBe('old')
    expect(readdirSync(folder)).toEqual(['a'])
  })
})
