// How long a verification of evidence takes, from dist/ (run `npm run build` first): both paths, and each of them
// alone. Cold is the first one in a process of its own, warm are those that follow in one process. The evidence is
// forged with keys of the lengths of AMD's, so that the verdict is "trusted" and nothing is skipped; one row is
// evidence that was captured on Azure. Prints milliseconds and writes bench/results/verify.json.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'

const root = join(import.meta.dirname, '..')
const goals = { 'both paths': { warm: 15 } }
const [casesFile, only] = process.argv.slice(2)
if (only === undefined) await compare()
else process.stdout.write(JSON.stringify(await coldRun(readCases(casesFile)[only])))

async function compare() {
  const directory = mkdtempSync(join(tmpdir(), 'confrouter-bench-'))
  try {
    const file = join(directory, 'cases.json')
    writeFileSync(file, JSON.stringify({ ...(await forgedCases(directory)), ...capturedCase() }))
    const milliseconds = {}
    for (const [name, prepared] of Object.entries(readCases(file))) {
      const cold = repeat(15, () =>
        JSON.parse(execFileSync(process.execPath, [import.meta.filename, file, name], { encoding: 'utf8' }))
      )
      milliseconds[name] = {
        load: summary(cold.map(({ load }) => load)),
        cold: summary(cold.map(({ verify }) => verify)),
        warm: summary(await warmRuns(prepared, 300))
      }
    }
    report(milliseconds)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function report(milliseconds) {
  const result = {
    machine: `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`,
    versions: { node: process.version, openssl: process.versions.openssl },
    method:
      'load: import of dist/verify in a new process. cold: first verifyEvidence there. warm: later ones in one process, ' +
      'after 50 of them. Evidence is parsed before; nothing is kept between two verifications.',
    milliseconds,
    goals
  }
  mkdirSync(join(import.meta.dirname, 'results'), { recursive: true })
  writeFileSync(join(import.meta.dirname, 'results', 'verify.json'), `${JSON.stringify(result, null, 2)}\n`)
  console.log(result.machine)
  for (const [name, kinds] of Object.entries(milliseconds)) {
    for (const [kind, { median, least, most }] of Object.entries(kinds)) {
      const goal = goals[name]?.[kind]
      const figures = `${median.toFixed(1).padStart(6)} ms  (${least}–${most})`
      console.log(`${name.padEnd(24)} ${kind}  ${figures}${goal === undefined ? '' : `  goal ${goal}`}`)
    }
  }
}

async function coldRun(prepared) {
  const started = performance.now()
  const { parseEvidence, parseTrustPolicy, verifyEvidence } = await import('../dist/verify/index.js')
  const load = performance.now() - started
  const evidence = parseEvidence(prepared.document)
  const trust = parseTrustPolicy(prepared.trust)
  const begun = performance.now()
  requireExpected(await verifyEvidence(evidence, trust, prepared.inputs), prepared)
  return { load, verify: performance.now() - begun }
}

async function warmRuns(prepared, times) {
  const { parseEvidence, parseTrustPolicy, verifyEvidence } = await import('../dist/verify/index.js')
  const evidence = parseEvidence(prepared.document)
  const trust = parseTrustPolicy(prepared.trust)
  const figures = []
  for (let i = -50; i < times; i++) {
    const started = performance.now()
    const verdict = await verifyEvidence(evidence, trust, prepared.inputs)
    if (i >= 0) figures.push(performance.now() - started)
    requireExpected(verdict, prepared)
  }
  return figures
}

/** A verification that went another way than it should would make a figure that says nothing. */
function requireExpected({ checks }, { mismatches }) {
  const found = checks.filter(({ outcome }) => outcome === 'mismatch').map(({ claim }) => claim)
  if (found.join() !== mismatches.join()) throw new Error(`mismatches: ${found.join(', ') || 'none'}`)
}

async function forgedCases(directory) {
  const { createWorld, forge } = await forger(directory)
  const { document, trust, inputs } = await forge(await createWorld(4096))
  const shared = {
    document: JSON.stringify(document),
    trust: JSON.stringify(trust),
    now: inputs.now,
    nonce: Buffer.from(inputs.nonce).toString('base64'),
    maaKeys: inputs.maaKeys,
    mismatches: []
  }
  return {
    'both paths': shared,
    'report alone': { ...shared, trust: JSON.stringify({ ...trust, maa: 'none' }) },
    'token alone': { ...shared, via: 'maa' }
  }
}

/** Evidence of a container group, by its report: no router made it, so it lacks the keys and no more. */
function capturedCase() {
  const vectors = join(root, 'test', 'vectors', 'attestation', 'snp-milan-v2')
  const file = (name) => readFileSync(join(vectors, name))
  const { vcekCert, certificateChain } = JSON.parse(file('uvm_host_amd_certificate.json'))
  const document = {
    version: 1,
    runtimeData: file('runtime_data_for_report.json').toString('base64'),
    snp: {
      report: file('snp_report.bin').toString('base64'),
      certificates: `${vcekCert}${certificateChain}`,
      uvmEndorsements: file('body.uvm_reference_info.bin').toString('base64')
    },
    ccePolicy: file('uvm_security_policy.base64').toString('utf8'),
    createdAt: '2023-06-01T00:00:00Z',
    simulated: false
  }
  const trust = {
    version: 1,
    hostData: 'any',
    roots: 'amd',
    minimumTcb: 'any',
    debug: 'forbidden',
    migration: 'forbidden',
    vmpl: 0,
    uvm: {
      issuer: 'did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2',
      feed: 'ContainerPlat-AMD-UVM',
      minimumSvn: 22
    },
    maa: 'none',
    nonce: 'any',
    maximumAgeSeconds: 'any'
  }
  return {
    'report alone, captured': {
      document: JSON.stringify(document),
      trust: JSON.stringify(trust),
      now: '2023-06-01T00:00:00Z',
      mismatches: ['runtimeData.keys']
    }
  }
}

function readCases(file) {
  return Object.fromEntries(
    Object.entries(JSON.parse(readFileSync(file, 'utf8'))).map(([name, { document, trust, mismatches, ...rest }]) => {
      const nonce = rest.nonce === undefined ? undefined : new Uint8Array(Buffer.from(rest.nonce, 'base64'))
      return [name, { document, trust, mismatches, inputs: { ...rest, now: new Date(rest.now), nonce } }]
    })
  )
}

/** The forger of the tests is TypeScript; bundled, it is a module that Node loads. */
async function forger(directory) {
  const { build } = await import('esbuild')
  const outfile = join(directory, 'forge.mjs')
  await build({
    entryPoints: [join(root, 'test', 'unit', 'verify', 'forge.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error'
  })
  return import(pathToFileURL(outfile).href)
}
function repeat(times, measure) {
  measure()
  return Array.from({ length: times }, () => measure())
}

function summary(figures) {
  const sorted = figures.map((figure) => Number(figure.toFixed(1))).sort((a, b) => a - b)
  return { median: sorted[Math.floor(sorted.length / 2)], least: sorted[0], most: sorted.at(-1), runs: sorted.length }
}
