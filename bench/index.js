// Runs all benchmarks, one after the other: `npm run bench`. Each can be run alone and says how.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'

for (const name of ['cli.js', 'verify.js', 'policy.js', 'router.js']) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, name)], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
