import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

const directory = join(import.meta.dirname, '../../vectors/layers')

export interface LayerVector {
  readonly name: string
  readonly file: string
  readonly tar_sha256: string
  readonly root_hash?: string
  readonly ext4_size?: number
  readonly ext4_sha256?: string
  readonly ext4_blocks?: number
  readonly inodes_count?: number
  readonly ext4_file?: string
  readonly error?: string
}

export function readVector(name: string): Buffer {
  return readFileSync(join(directory, name))
}

export function layerVectors(): readonly LayerVector[] {
  return JSON.parse(readVector('layers.json').toString()) as readonly LayerVector[]
}

/** Uncompressed. */
export function layerTar(name: string): Buffer {
  return gunzipSync(readVector(`${name}.tar.gz`))
}
