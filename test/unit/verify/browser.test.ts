import { resolve } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { build } from 'esbuild'

const source = resolve(import.meta.dirname, '../../../src')

describe('what callers import', () => {
  it.each([
    ['verify/index.ts', 49_000, []],
    ['client/index.ts', 137_000, ['hpke', 'jose']]
  ])(
    '%s becomes a bundle for browsers of less than %i bytes, without any module of Node and with the packages %j',
    async (entry, limit, packages) => {
      const { errors, outputFiles, metafile } = await build({
        entryPoints: [resolve(source, entry)],
        bundle: true,
        format: 'esm',
        minify: true,
        platform: 'browser',
        write: false,
        metafile: true,
        logLevel: 'silent'
      })
      expect(errors).toEqual([])
      const [bundle] = outputFiles
      expect(bundle?.text).not.toMatch(/["']node:/)
      expect(bundle?.contents.length).toBeLessThan(limit)
      const used = Object.keys(metafile.inputs).map((file) => /node_modules\/([^/]+)/.exec(file)?.[1])
      expect([...new Set(used)].filter((name) => name !== undefined).sort()).toEqual(packages)
    }
  )
})
