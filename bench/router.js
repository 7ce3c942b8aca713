// How the router compares: against a bare Node proxy on undici.request, nginx, and Portkey's gateway.
// Every proxy runs on one and the same core, the load generator and the upstream on another one. Node
// proxies are faster than a generator that shares their core would let them be, and nginx faster than
// this generator, so what is compared is the CPU time that one request or event costs: its inverse is
// what one core can do. Throughput is measured and printed too.
//
// Usage: node bench/router.js [--only=calls,streams,latency,memory]
//   [--instances=3] [--rounds=4] [--seconds=0.5]  processes of each kind, rounds with each, and their length
//   [--lane=router]... only this row of the tables, for instance to profile the router at it
//   [--router=FILE] measures another build than dist/router/router.cjs
//   [--profile=FOLDER] writes a CPU profile of the router there
// Prints a table and writes bench/results/router.json (only of a full run).
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { createSender } from './lib/ehbp.js'
import { requireTwoCores } from './lib/programs.js'
import { printReport, reportOf } from './lib/report.js'
import { startUpstream } from './lib/upstream.js'
import { startSidecar } from './lib/sidecar.js'
import { startBare } from './peers/bare.js'
import { startNginx } from './peers/nginx.js'
import { startPortkey } from './peers/portkey.js'
import { readHpkeKey, startRouter } from './peers/router.js'
import { measureShortCalls } from './scenarios/calls.js'
import { measureLatency, measureStreams } from './scenarios/events.js'
import { measureMemory } from './scenarios/memory.js'
import { supportedForms } from './scenarios/sealed-forms.js'

const scenarios = ['calls', 'streams', 'latency', 'memory']
const options = readOptions()
requireTwoCores()

const upstream = await startUpstream()
const sidecar = await startSidecar()
const upstreamPort = upstream.port
const routerOptions = { upstreamPort, sidecarUrl: sidecar.url, bundle: options.router }
const senderTo = async (port) => createSender(await readHpkeKey(port))
const skipped = {}
const others = []

try {
  await startIfThere('nginx', startNginx)
  if (options.only.includes('calls') && isWanted('Portkey')) await startIfThere('Portkey', startPortkey)

  const measured = {}
  let sealedForms = []
  // Of two processes that run the same program, one may be compiled better than the other for as long
  // as it runs, so several of them are measured.
  for (let instance = 0; instance < options.instances; instance++) {
    const router = await startRouter({ ...routerOptions, profile: options.profile })
    const bare = await startBare({ upstreamPort })
    try {
      const world = {
        upstream,
        programs: [router, bare, ...others].filter(({ name }) => isWanted(name)),
        router,
        sender: await senderTo(router.port)
      }
      const { forms, refused } = await supportedForms(world)
      sealedForms = forms.filter(({ name }) => isWanted(name))
      Object.assign(skipped, refused)
      await measureRates({ ...world, sealedForms }, measured)
      if (options.only.includes('latency') && instance === 0) {
        measured.latency = await measureLatency({ ...world, sealedForms })
      }
    } finally {
      await router.stop(options.profile === undefined ? 'SIGKILL' : 'SIGTERM')
      await bare.stop()
    }
  }
  if (options.only.includes('memory')) {
    measured.memory = await measureMemory({ upstream, senderTo }, memoryLanes(sealedForms))
  }

  const report = reportOf(measured, { skipped, versions: versions() })
  printReport(report)
  if (options.only.length === scenarios.length && options.lane === undefined && options.router === undefined) {
    mkdirSync(join(import.meta.dirname, 'results'), { recursive: true })
    writeFileSync(join(import.meta.dirname, 'results', 'router.json'), `${JSON.stringify(report, null, 2)}\n`)
  }
} finally {
  for (const program of others) await program.stop()
  sidecar.stop()
  upstream.stop()
}

/** Adds the rounds of these processes to what was measured of others before. */
async function measureRates(world, measured) {
  const measure = { calls: measureShortCalls, streams: measureStreams }
  for (const [scenario, run] of Object.entries(measure)) {
    if (!options.only.includes(scenario)) continue
    const lanes = (measured[scenario] ??= {})
    for (const [name, rounds] of Object.entries(await run(world, options))) (lanes[name] ??= []).push(...rounds)
  }
}

async function startIfThere(name, start) {
  try {
    others.push(await start({ upstreamPort }))
  } catch (error) {
    skipped[name] = error.message
  }
}

function memoryLanes(forms) {
  const freshRouter = (nodeOptions) => startRouter({ ...routerOptions, environment: { NODE_OPTIONS: nodeOptions } })
  return [
    { name: 'router', start: freshRouter },
    ...forms.slice(0, 1).map((sealedForm) => ({ name: sealedForm.name, start: freshRouter, sealedForm })),
    { name: 'bare Node', start: (nodeOptions) => startBare({ upstreamPort, nodeOptions }) }
  ]
}

function versions() {
  const known = others.filter(({ version }) => version !== undefined)
  return {
    node: process.versions.node,
    ...Object.fromEntries(known.map(({ name, version }) => [name, version]))
  }
}

function isWanted(lane) {
  return options.lane === undefined || options.lane.includes(lane)
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: scenarios.join() },
      instances: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '4' },
      seconds: { type: 'string', default: '0.5' },
      lane: { type: 'string', multiple: true },
      router: { type: 'string' },
      profile: { type: 'string' }
    }
  })
  const only = values.only.split(',')
  const unknown = only.filter((name) => !scenarios.includes(name))
  if (unknown.length > 0) throw new Error(`no scenario "${unknown.join()}"; there are ${scenarios.join(', ')}`)
  const [instances, rounds, seconds] = [values.instances, values.rounds, values.seconds].map(Number)
  return { ...values, only, instances, rounds, seconds }
}
