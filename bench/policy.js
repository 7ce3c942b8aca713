// How long the root hash of a layer and a whole policy take, from dist/ (run `npm run build` first), against `sha256sum`
// of the same tar in the same round. The same ratio is known for Go's dmverity-vhd and for `az confcom acipolicygen`
// (scenarios/policy-go.json), so that machines need not be the same. Then the memory that large layers take.
// Prints ratios and writes bench/results/policy.json. Linux only.
import { execFileSync, spawnSync } from 'node:child_process'
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { makeFolder } from './lib/programs.js'
import { summary } from './lib/measure.js'
import { largeLayer, manyFiles, templateOf, writeImage, writeTar, zeroLayerHeader } from './scenarios/policy-layers.js'

const root = join(import.meta.dirname, '..')
const cli = join(root, 'bin', 'confrouter.js')
const oneLayer = join(import.meta.dirname, 'policy-layer.js')
const rounds = 7
const goals = { timesGo: 1.5, timesFaster: 10, megabytes: 150 }
const go = JSON.parse(readFileSync(join(import.meta.dirname, 'scenarios', 'policy-go.json'), 'utf8'))
await compare()

async function compare() {
  const folder = makeFolder(tmpdir())
  const large = await largeTar(folder)
  const layers = { ...(await layerRows(folder, large)) }
  const policies = await policyRows(folder, large)
  const memory = {
    '100 MB': peakMegabytes('generated', '100'),
    '2 GB': peakMegabytes('generated', '2048'),
    '200,000 files': peakMegabytes('layer', join(folder, '200000.tar'))
  }
  report({ layers, policies, memory })
}

async function largeTar(folder) {
  const file = join(folder, 'large.tar')
  const digest = await writeTar(file, largeLayer)
  if (digest !== largeLayer.tarDigest) throw new Error(`the large layer has digest ${digest}, so it is another one`)
  return file
}

async function layerRows(folder, large) {
  const [files, more, zeros] = ['5000.tar', '200000.tar', 'zeros.tar'].map((name) => join(folder, name))
  await writeTar(files, manyFiles(5000, 10_500))
  await writeTar(more, manyFiles(200_000, 100))
  writeFileSync(zeros, zeroLayerHeader(go.zerosBytes - 2048))
  truncateSync(zeros, go.zerosBytes)
  const gzip = await compressed(large)
  const unit = go.sha256sum
  const zeroUnit = unit * (go.zerosBytes / go.tarBytes)
  const rows = {
    plain: await row(large, layerOf(large, largeLayer.rootHash), go['dmverity-vhd'].plain / unit),
    'plain, only Node and its two hashes': await row(large, floorOf(large), go['dmverity-vhd'].plain / unit),
    'plain, by confrouter policy --root-hash': await row(large, rootHashOf(large), go['dmverity-vhd'].plain / unit),
    gzip: await row(large, layerOf(gzip, largeLayer.rootHash), go['dmverity-vhd'].gzip / unit),
    zstd: await zstdRow(large),
    '5,000 files, gzip': await row(files, layerOf(await compressed(files)), go['dmverity-vhd'].gzip / unit),
    '537 MB of zeros': await row(zeros, layerOf(zeros), go['dmverity-vhd'].zeros / zeroUnit),
    '200,000 files of 100 bytes': await row(more, layerOf(more))
  }
  return Object.fromEntries(Object.entries(rows).filter(([, figures]) => figures !== undefined))
}

async function policyRows(folder, large) {
  const vectors = join(root, 'test', 'vectors', 'images')
  const image = join(folder, 'image.tar')
  const diffId = largeLayer.tarDigest
  await writeImage(image, { reference: 'bench/large:1', layerFile: large, diffId, layerSize: statSync(large).size })
  const cases = {
    'two small images': {
      'localhost/tiny:1': join(vectors, 'tiny-docker.tar'),
      'localhost/features:1': join(vectors, 'features-docker.tar')
    },
    'one image of 56 MB': { 'bench/large:1': image }
  }
  const rows = {}
  for (const [name, images] of Object.entries(cases)) {
    const [template, map] = ['template.json', 'images.json'].map((file) =>
      join(folder, `${Object.keys(images).length}-${file}`)
    )
    writeFileSync(template, templateOf(Object.keys(images)))
    writeFileSync(map, JSON.stringify(images))
    const command = [process.execPath, cli, 'policy', '-a', template, '--tar', map, '--outraw', '--enable-stdio']
    const expected = 'package policy'
    const { seconds, ratio, cpuRatio } = await row(large, { command, expected })
    const az = go.acipolicygen[name] / go.sha256sum
    rows[name] = { seconds, ratio, cpuRatio, az, timesFaster: az / ratio.median }
  }
  return rows
}

function layerOf(file, expected = '') {
  return { command: [process.execPath, oneLayer, 'layer', file], expected }
}

function floorOf(file) {
  return { command: [process.execPath, oneLayer, 'floor', file], expected: largeLayer.tarDigest }
}

function rootHashOf(file) {
  return { command: [process.execPath, cli, 'policy', '--root-hash', file], expected: largeLayer.rootHash }
}

async function compressed(tar) {
  await pipeline(createReadStream(tar), createGzip(), createWriteStream(`${tar}.gz`))
  return `${tar}.gz`
}

/** Node 20 cannot compress it, and the Go tool cannot read it in an archive. */
async function zstdRow(tar) {
  if (spawnSync('zstd', ['-q', '-f', '-k', tar]).status !== 0) return undefined
  return row(tar, layerOf(`${tar}.zst`, largeLayer.rootHash))
}

/** Whole processes, in turns with `sha256sum` of the tar; ratios are taken within a round. */
async function row(tar, ours, ratioOfGo) {
  const figures = []
  for (let i = -1; i < rounds; i++) {
    const reference = timed({ command: ['sha256sum', tar], expected: '' })
    const measured = timed(ours)
    if (i >= 0) figures.push({ reference, measured })
  }
  const each = (figure) => summary(figures.map(figure))
  const ratio = each(({ reference, measured }) => measured.seconds / reference.seconds)
  return {
    seconds: each(({ measured }) => measured.seconds),
    sha256sum: each(({ reference }) => reference.seconds),
    ratio,
    cpuRatio: each(({ reference, measured }) => measured.cpu / reference.cpu),
    ...(ratioOfGo === undefined ? {} : { go: ratioOfGo, timesGo: ratio.median / ratioOfGo })
  }
}

/** Seconds by the clock and seconds of CPU. A command that printed something else would make a figure that says nothing. */
function timed({ command, expected }) {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" 2>/dev/null'
  const { stdout, stderr, status } = spawnSync('bash', ['-c', script, 'bash', ...command], { encoding: 'utf8' })
  if (status !== 0 || !stdout.includes(expected)) throw new Error(`${command.join(' ')} ended with ${status}`)
  const [seconds, user, system] = stderr.trim().split(' ').map(Number)
  return { seconds, cpu: user + system }
}

function peakMegabytes(...arguments_) {
  const text = execFileSync(process.execPath, [oneLayer, ...arguments_], { encoding: 'utf8' })
  return Math.round(JSON.parse(text).megabytes)
}

function report({ layers, policies, memory }) {
  const result = {
    machine: `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`,
    method:
      `Whole processes, ${rounds} rounds, each with sha256sum of the same tar; ratio: seconds by the clock against those of ` +
      'sha256sum, within the round; cpuRatio: the same of CPU time. go, az: the same ratio of the real tool, see ' +
      'scenarios/policy-go.json. memory: peak resident megabytes of a process that does nothing else.',
    layers,
    policies,
    memory,
    goals
  }
  mkdirSync(join(import.meta.dirname, 'results'), { recursive: true })
  writeFileSync(
    join(import.meta.dirname, 'results', 'policy.json'),
    `${JSON.stringify(result, (_, value) => (typeof value === 'number' ? Number(value.toFixed(3)) : value), 2)}\n`
  )
  console.log(result.machine)
  const figure = (number) => number.toFixed(2).padStart(6)
  for (const [name, { ratio, cpuRatio, timesGo, go: ofGo }] of Object.entries(layers)) {
    const against =
      timesGo === undefined ? '' : `  dmverity-vhd ${figure(ofGo)}: ${timesGo.toFixed(2)}x of it, goal ${goals.timesGo}`
    console.log(`${name.padEnd(40)} ${figure(ratio.median)} of sha256sum (${ratio.least.toFixed(2)}–${ratio.most.toFixed(2)}), CPU ${figure(cpuRatio.median)}${against}`) // prettier-ignore
  }
  for (const [name, { seconds, timesFaster }] of Object.entries(policies)) {
    console.log(`${`policy, ${name}`.padEnd(40)} ${figure(seconds.median)} s, ${timesFaster.toFixed(1)}x faster than acipolicygen, goal ${goals.timesFaster}`) // prettier-ignore
  }
  for (const [name, megabytes] of Object.entries(memory)) {
    console.log(
      `${`memory, ${name}`.padEnd(40)} ${figure(megabytes)} MB${name === '2 GB' ? `, goal ${goals.megabytes}` : ''}`
    )
  }
}
