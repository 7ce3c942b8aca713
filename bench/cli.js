// How long the commands take that people wait for: `--help`, a first and a second `up --local`.
// Each run of `up` has a state directory of its own; a bare `node -e 0` in the same run tells what
// of each figure is Node itself. Prints medians and writes bench/results/cli.json.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..')
const cli = join(root, 'bin', 'confrouter.js')
const run = promisify(execFile)

const bare = await repeat(15, () => timed(['-e', '0']))
const help = await repeat(15, () => timed([cli, '--help']))
const first = []
const second = []
for (let i = 0; i < 5; i++) {
  const directory = mkdtempSync(join(tmpdir(), 'confrouter-bench-'))
  const environment = { ...process.env, ...(await freePorts()), OPENAI_API_KEY: '' }
  const up = [cli, 'up', '--local', '--json', '--state-dir', directory]
  try {
    first.push(await timed(up, environment))
    for (let j = 0; j < 3; j++) second.push(await timed(up, environment))
  } finally {
    await run(process.execPath, [cli, 'emulator', 'stop', '--state-dir', directory])
    rmSync(directory, { recursive: true, force: true })
  }
}

const result = {
  machine: `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`,
  milliseconds: {
    'node -e 0': summary(bare),
    'confrouter --help': summary(help),
    'confrouter up --local, first': summary(first),
    'confrouter up --local, second': summary(second)
  },
  goals: { 'confrouter --help': 120, 'confrouter up --local, first': 5000, 'confrouter up --local, second': 1000 }
}
mkdirSync(join(import.meta.dirname, 'results'), { recursive: true })
writeFileSync(join(import.meta.dirname, 'results', 'cli.json'), `${JSON.stringify(result, null, 2)}\n`)
console.log(result.machine)
for (const [what, { median, least, most }] of Object.entries(result.milliseconds)) {
  const goal = result.goals[what]
  console.log(
    `${what.padEnd(32)} ${String(median).padStart(6)} ms  (${least}–${most})${goal === undefined ? '' : `  goal ${goal}`}`
  )
}

async function timed(arguments_, environment = process.env) {
  const started = performance.now()
  await run(process.execPath, arguments_, { env: environment })
  return performance.now() - started
}

async function repeat(times, measure) {
  await measure()
  const figures = []
  for (let i = 0; i < times; i++) figures.push(await measure())
  return figures
}

function summary(figures) {
  const sorted = figures.map(Math.round).sort((a, b) => a - b)
  return { median: sorted[Math.floor(sorted.length / 2)], least: sorted[0], most: sorted.at(-1), runs: sorted.length }
}

/** Ports of the router, the sidecar and the emulator that nobody else has. */
async function freePorts() {
  const names = ['CONFROUTER_CONTAINER_GROUP_PORT', 'CONFROUTER_SIDECAR_PORT', 'CONFROUTER_EMULATOR_PORT']
  const servers = await Promise.all(
    names.map(
      () =>
        new Promise((resolve) => {
          const server = createServer()
          server.listen(0, '127.0.0.1', () => resolve(server))
        })
    )
  )
  const ports = servers.map((server) => String(server.address().port))
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return Object.fromEntries(names.map((name, index) => [name, ports[index]]))
}
