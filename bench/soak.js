// Looks for leaks: mixed load on one router for some minutes, with callers that leave and providers
// that fail. Afterwards its file descriptors and its connections to the upstream must be back where
// they were, its memory must not have grown, and nobody may have seen anything unexpected.
//
// Usage: node bench/soak.js [MINUTES=10] [--router=FILE]
// Writes bench/results/soak.json; exit code 1 says that something is wrong.
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createSender } from './lib/ehbp.js'
import { median, openFiles, residentBytes } from './lib/measure.js'
import { freePort } from './lib/programs.js'
import { startSidecar } from './lib/sidecar.js'
import { readHpkeKey, startRouter } from './peers/router.js'
import { supportedForms } from './scenarios/sealed-forms.js'
import { bodyFor, createCallers } from './soak/callers.js'
import { startBehavingUpstream } from './soak/upstream.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { router: { type: 'string' } } })
const minutes = Number(positionals[0] ?? 10)
if (!(minutes > 0)) throw new Error('usage: node bench/soak.js [MINUTES] [--router=FILE]')

const upstream = await startBehavingUpstream()
const sidecar = await startSidecar()
const router = await startRouter({
  upstreamPort: upstream.port,
  sidecarUrl: sidecar.url,
  bundle: values.router,
  // Some hundreds of megabytes in a long run, which should not lie in memory.
  place: tmpdir(),
  environment: {
    // Short, so that callers that stall are met often.
    CONFROUTER_IDLE_SECONDS: '5',
    CONFROUTER_EVIDENCE_PER_MINUTE: '100000',
    CONFROUTER_PROVIDERS: JSON.stringify({
      bench: { baseUrl: `http://127.0.0.1:${upstream.port}/v1`, allowPrivate: true, default: true },
      closed: { baseUrl: `http://127.0.0.1:${await freePort()}/v1`, allowPrivate: true }
    })
  }
})

try {
  const sender = await createSender(await readHpkeKey(router.port))
  const { forms, refused } = await supportedForms({ router, sender }, bodyFor('answer'))
  for (const [name, why] of Object.entries(refused)) console.log(`skipped: ${name}: ${why}`)

  const warm = await createCallers({ port: router.port, sender, forms })
  for (const [, call] of Object.values(warm.callers)) await call()
  await warm.close()
  const before = await settle({ files: 0, upstreamSockets: 0 }, 15)

  const callers = await createCallers({ port: router.port, sender, forms })
  const { samples, counts, failures } = await load(callers)
  await callers.close()
  const after = await settle(before, 60)

  const problems = [...failures, ...leaks({ before, after, samples }), ...(await unexpectedErrors())]
  const result = { minutes, before, after, rss: quarters(samples), counts, skipped: refused, problems }
  mkdirSync(join(import.meta.dirname, 'results'), { recursive: true })
  writeFileSync(
    join(import.meta.dirname, 'results', 'soak.json'),
    `${JSON.stringify({ ...result, samples: samples.map(inWords) }, null, 2)}\n`
  )
  print(result, samples)
  if (problems.length > 0) process.exitCode = 1
} finally {
  await router.stop()
  sidecar.stop()
  upstream.stop()
}

/** Keeps all kinds of callers at work until the time is over, and looks at the router every 5 s. */
async function load({ callers }) {
  const endsAt = performance.now() + minutes * 60_000
  const counts = Object.fromEntries(Object.keys(callers).map((name) => [name, 0]))
  const failures = new Map()
  const loops = Object.entries(callers).flatMap(([name, [atOnce, call]]) =>
    Array.from({ length: atOnce }, async () => {
      while (performance.now() < endsAt) {
        try {
          await call()
          counts[name]++
        } catch (error) {
          const what = `${name}: ${error.message}`
          failures.set(what, (failures.get(what) ?? 0) + 1)
        }
        await sleep(5)
      }
    })
  )
  const samples = []
  const startedAt = performance.now()
  while (performance.now() < endsAt) {
    await sleep(5000)
    const seconds = Math.round((performance.now() - startedAt) / 1000)
    samples.push({ seconds, ...look() })
  }
  await Promise.all(loops)
  const missing = Object.keys(counts).filter((name) => counts[name] === 0)
  return {
    samples,
    counts,
    failures: [
      ...[...failures].map(([what, times]) => `${times} x ${what}`),
      ...missing.map((name) => `${name}: never succeeded`)
    ]
  }
}

function look() {
  return {
    rssBytes: residentBytes(router.pid),
    files: openFiles(router.pid),
    upstreamSockets: upstream.openSockets()
  }
}

/** Waits until no more is open than `goal` says, at most `seconds`. Connections are kept for some while. */
async function settle(goal, seconds) {
  for (let waited = 0; ; waited++) {
    const state = look()
    if ((state.files <= goal.files && state.upstreamSockets <= goal.upstreamSockets) || waited >= seconds) return state
    await sleep(1000)
  }
}

function leaks({ before, after, samples }) {
  const { second, last } = quarters(samples)
  const problems = []
  if (after.files > before.files) problems.push(`file descriptors: ${before.files} before, ${after.files} after`)
  if (after.upstreamSockets > before.upstreamSockets) {
    problems.push(`connections to the upstream: ${before.upstreamSockets} before, ${after.upstreamSockets} after`)
  }
  // The collector makes it go up and down by some megabytes, and a short run has not come that far.
  if (minutes >= 4 && last > second * 1.05 + 4e6)
    problems.push(`memory grew: ${megabytes(second)} to ${megabytes(last)}`)
  return problems
}

/** Medians of the resident bytes in the second and in the last quarter; in the first one the heap finds its size. */
function quarters(samples) {
  const part = (from, to) =>
    median(samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * to)).map((s) => s.rssBytes))
  return { second: part(0.25, 0.5), last: part(0.75, 1) }
}

async function unexpectedErrors() {
  const found = new Map()
  for await (const line of createInterface({ input: createReadStream(router.logPath) })) {
    if (!line.startsWith('{"level":"error"') && line.startsWith('{')) continue
    const what = line.startsWith('{') ? `log: ${JSON.parse(line).msg}` : `output: ${line.slice(0, 120)}`
    found.set(what, (found.get(what) ?? 0) + 1)
  }
  return [...found].map(([what, times]) => `${times} x ${what}`)
}

function print({ before, after, rss, counts, problems }, samples) {
  for (const [name, count] of Object.entries(counts)) console.log(`${String(count).padStart(8)}  ${name}`)
  const most = (name) => Math.max(...samples.map((sample) => sample[name]))
  console.log(`file descriptors   ${before.files} before, at most ${most('files')}, ${after.files} after`)
  console.log(
    `upstream sockets   ${before.upstreamSockets} before, at most ${most('upstreamSockets')}, ${after.upstreamSockets} after`
  )
  console.log(`memory             ${megabytes(rss.second)} in the second quarter, ${megabytes(rss.last)} in the last`)
  for (const problem of problems) console.log(`PROBLEM: ${problem}`)
  console.log(problems.length === 0 ? 'no leak found' : `${problems.length} problems`)
}

function inWords({ seconds, rssBytes, files, upstreamSockets }) {
  return `${seconds} s: ${megabytes(rssBytes)}, ${files} file descriptors, ${upstreamSockets} upstream sockets`
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
