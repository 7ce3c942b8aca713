// Builds dist/ from src/: modules and types by tsc, the command as few files, because Node takes half a
// millisecond for each, the two programs that go into images as one file each, because an image layer
// should hold the program and nothing that it does not run, and the client as one file that a page in a
// browser can load as it is.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { build } from 'esbuild'

const root = join(import.meta.dirname, '..')
const require = createRequire(import.meta.url)

// `npx confrouter` in a checkout runs `prepare` once more before the command; what is built is built.
if (process.argv.includes('--if-stale') && isCurrent()) process.exit(0)

rmSync(join(root, 'dist'), { recursive: true, force: true })
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit'
})
await bundleCommand('src/cli.ts', 'dist/program')
await bundleForBrowsers('src/client/index.ts', 'dist/browser/client.js')
await bundle('src/router/main.ts', 'dist/router/router.cjs')
await bundle('src/emulator/sidecar/main.ts', 'dist/emulator/sidecar.cjs')

/** Whether the last file that a build writes is newer than everything it is made from. */
function isCurrent() {
  const last = join(root, 'dist/emulator/sidecar.cjs')
  if (!existsSync(last)) return false
  const built = statSync(last).mtimeMs
  return ['src', 'scripts', 'package.json', 'tsconfig.json', 'tsconfig.build.json'].every(
    (name) => newest(join(root, name)) < built
  )
}

function newest(path) {
  const { mtimeMs } = statSync(path)
  if (!statSync(path).isDirectory()) return mtimeMs
  return Math.max(mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))))
}

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

/**
 * The command: what every verb needs in the entry, and what only some need in files of their own, which
 * are loaded when they are imported. Packages stay where npm puts them; docs/decisions/0015 says why.
 */
async function bundleCommand(entry, outdir) {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    // As deep as the modules of src that look for files of the package.
    outdir,
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    chunkNames: '[name]-[hash]',
    legalComments: 'inline',
    charset: 'utf8',
    logLevel: 'warning'
  })
}

async function bundleForBrowsers(entry, outfile) {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'browser',
    target: 'es2022',
    format: 'esm',
    minify: true,
    legalComments: 'eof',
    charset: 'utf8',
    logLevel: 'warning'
  })
}
