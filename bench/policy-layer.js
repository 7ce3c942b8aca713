// One layer in a process of its own, for policy.js: `layer FILE`, `generated MEGABYTES`, or `floor FILE`, which does
// only what nobody can leave out, so that the figures of the others can be told from what bounds them.
import { createHash, hash } from 'node:crypto'
import { closeSync, createReadStream, openSync, readFileSync, readSync } from 'node:fs'
import process from 'node:process'

const pieceBytes = 256 * 1024
const [what, subject] = process.argv.slice(2)
if (what === 'layer') await hashAndTell(createReadStream(subject, { highWaterMark: pieceBytes }))
else if (what === 'floor') tellFloor(subject)
else await hashAndTell((await import('./scenarios/policy-layers.js')).generatedLayer(Number(subject)))

/** Hashes a layer, and says what it took. */
async function hashAndTell(bytes) {
  const { decompressLayer, layerRootHash } = await import('../dist/layers/index.js')
  const { rootHash } = await layerRootHash(decompressLayer(bytes))
  // Not from getrusage, where a child begins with the peak of its parent.
  const megabytes = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) / 1024
  process.stdout.write(JSON.stringify({ rootHash, megabytes }))
}

/** SHA-256 of the tar, and of each block of 4096 bytes behind 32 zeros: no tar, no file system, no tree. */
function tellFloor(file) {
  const whole = createHash('sha256')
  const piece = Buffer.alloc(pieceBytes)
  const salted = Buffer.alloc(32 + 4096)
  const descriptor = openSync(file)
  for (let length = readSync(descriptor, piece); length > 0; length = readSync(descriptor, piece)) {
    whole.update(piece.subarray(0, length))
    for (let at = 0; at < length; at += 4096) {
      piece.copy(salted, 32, at, at + 4096)
      hash('sha256', salted, 'binary')
    }
  }
  closeSync(descriptor)
  process.stdout.write(whole.digest('hex'))
}
