// Builds dist/ from src/: modules and types by tsc, and the two programs that go into images as
// one file each, because an image layer should hold the program and nothing that it does not run.
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { build } from 'esbuild'

const root = join(import.meta.dirname, '..')
const require = createRequire(import.meta.url)

rmSync(join(root, 'dist'), { recursive: true, force: true })
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit'
})
await bundle('src/router/main.ts', 'dist/router/router.cjs')
await bundle('src/emulator/sidecar/main.ts', 'dist/emulator/sidecar.cjs')

async function bundle(entry, outfile) {
  if (!existsSync(join(root, entry))) return
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    // The same bytes on every machine: no absolute paths, no time stamps, licences kept in the file.
    legalComments: 'eof',
    charset: 'utf8',
    logLevel: 'warning'
  })
}
