// Layers and images to measure, made anew for each run: tars of known contents, and what Go's dmverity-vhd needed for them.
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { once } from 'node:events'

/**
 * The layer that the timings of the real tools are of: 56 MB, five files of 8 MiB, 2,000 small ones, and 10 MiB of zeros.
 * Its digest and its root hash, as `dmverity-vhd` computed it, show that it is that layer.
 */
export const largeLayer = {
  tarDigest: '5c12b4e043fe0a5fc38e5e801ac351fcc6827f183fc6ea27802bd63e3a047f7a',
  rootHash: '30d583bffb63e654fef78c209d26fd852dfb1bfc0c58b3456de96b668e5d26a6',
  *parts() {
    yield header('r/', { type: '5', mode: '0000755\0' })
    for (let i = 0; i < 5; i++) yield* member(`r/big${i}.bin`, stream(`big${i}`, 8_388_608))
    for (let i = 0; i < 2000; i++) yield* member(`r/s${String(i).padStart(4, '0')}`, stream(`s${i}`, i % 2048))
    yield* member('r/zeros.bin', Buffer.alloc(10_485_760))
    yield Buffer.alloc(1024)
  },
  multipleOf: 10_240
}

/** `count` files of `size` bytes, 500 to a directory. */
export function manyFiles(count, size) {
  return {
    *parts() {
      const noise = stream('noise', 1024 * 1024)
      for (let i = 0; i < count; i++) {
        const directory = `d${Math.floor(i / 500)}`
        if (i % 500 === 0) yield header(`${directory}/`, { type: '5', mode: '0000755\0' })
        const start = (i * 104_729) % (noise.length - size)
        yield* member(`${directory}/file-${i}`, noise.subarray(start, start + size))
      }
      yield Buffer.alloc(1024)
    },
    multipleOf: 512
  }
}

/** One file of `megabytes`, all different, made while it is read: 1 MiB of noise with a counter in each block of 4096. */
export async function* generatedLayer(megabytes) {
  yield header('large.bin', { size: megabytes * 1024 * 1024 })
  const noise = stream('noise', 1024 * 1024)
  for (let i = 0; i < megabytes; i++) {
    const piece = Buffer.from(noise)
    for (let at = 0; at < piece.length; at += 4096) piece.writeUInt32LE(i, at)
    yield piece
  }
  yield Buffer.alloc(1024)
}

/** One file of zeros: a sparse file on disk, which takes no room there. */
export function zeroLayerHeader(bytes) {
  return header('zeros.bin', { size: bytes })
}

/** Writes a tar, padded as its recipe says, and returns the SHA-256 of it. */
export async function writeTar(file, { parts, multipleOf }) {
  const hash = createHash('sha256')
  const output = createWriteStream(file)
  let length = 0
  let waiting = []
  let waitingBytes = 0
  const flush = async () => {
    const bytes = Buffer.concat(waiting)
    waiting = []
    waitingBytes = 0
    hash.update(bytes)
    if (!output.write(bytes)) await once(output, 'drain')
  }
  for (const part of parts()) {
    waiting.push(part)
    waitingBytes += part.length
    length += part.length
    if (waitingBytes > 1024 * 1024) await flush()
  }
  waiting.push(Buffer.alloc((multipleOf - (length % multipleOf)) % multipleOf))
  await flush()
  output.end()
  await once(output, 'finish')
  return hash.digest('hex')
}

/** A docker-archive with one layer, which is in `layerFile` and has this diff id. */
export async function writeImage(file, { reference, layerFile, diffId, layerSize }) {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/r/big0.bin'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] }
    })
  )
  const manifest = [{ Config: 'config.json', RepoTags: [reference], Layers: ['layer.tar'] }]
  const output = createWriteStream(file)
  for (const part of member('manifest.json', Buffer.from(JSON.stringify(manifest)))) output.write(part)
  for (const part of member('config.json', config)) output.write(part)
  output.write(header('layer.tar', { size: layerSize }))
  for await (const piece of createReadStream(layerFile)) if (!output.write(piece)) await once(output, 'drain')
  output.end(Buffer.alloc(1024))
  await once(output, 'finish')
}

/** A template whose group has a container for each of these images. */
export function templateOf(images) {
  const containers = images.map((image, i) => ({
    name: `c${i}`,
    properties: { image, resources: { requests: { cpu: 1, memoryInGB: 1 } } }
  }))
  const properties = {
    sku: 'Confidential',
    osType: 'Linux',
    confidentialComputeProperties: { ccePolicy: '' },
    containers
  }
  const group = { type: 'Microsoft.ContainerInstance/containerGroups', apiVersion: '2023-05-01', name: 'g', properties }
  return JSON.stringify({ parameters: {}, variables: {}, resources: [group] })
}

function* member(name, contents) {
  yield header(name, { size: contents.length })
  yield contents
  yield Buffer.alloc((512 - (contents.length % 512)) % 512)
}

function header(name, { size = 0, type = '0', mode = '0000644\0' }) {
  const block = Buffer.alloc(512)
  const put = (at, text) => block.write(text, at, 'latin1')
  put(0, name)
  put(100, mode)
  put(108, '0000000\0')
  put(116, '0000000\0')
  put(124, `${size.toString(8).padStart(11, '0')}\0`)
  put(136, `${(1_700_000_000).toString(8).padStart(11, '0')}\0`)
  put(148, '        ')
  put(156, type)
  put(257, 'ustar\x0000')
  let sum = 0
  for (const byte of block) sum += byte
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `)
  return block
}

/** Bytes that do not compress and are the same everywhere: SHA-256 of `seed:0`, `seed:1`, … */
function stream(seed, length) {
  const digests = []
  for (let i = 0; i * 32 < length; i++) digests.push(createHash('sha256').update(`${seed}:${i}`).digest())
  return Buffer.concat(digests, digests.length * 32).subarray(0, length)
}
