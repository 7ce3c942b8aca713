import { resolve } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { build } from 'esbuild'

const source = resolve(import.meta.dirname, '../../../src')

describe('what callers import', () => {
  it.each(['verify/index.ts', 'client/index.ts'])(
    '%s becomes a bundle for browsers, without any module of Node',
    async (entry) => {
      const { errors, outputFiles } = await build({
        entryPoints: [resolve(source, entry)],
        bundle: true,
        format: 'esm',
        minify: true,
        platform: 'browser',
        write: false,
        logLevel: 'silent'
      })
      expect(errors).toEqual([])
      const [bundle] = outputFiles
      expect(bundle?.text).not.toMatch(/["']node:/)
      expect(bundle?.contents.length).toBeLessThan(150_000)
    }
  )
})
