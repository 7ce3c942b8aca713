/**
 * OCI layers: decompressing them, reading their tar, and the root hash by which a CCE policy names them.
 * Pure over streams: bytes come in as an async iterable, and nothing is read from or written to disk.
 */
export { bytesOf } from './byte-string.js'
export { decompressLayer, type DecompressOptions } from './compression.js'
export { LayerError, type LayerErrorCode } from './layer-error.js'
export {
  converterVersion,
  type FileSystemHash,
  fileSystemHash,
  layerRootHash,
  type LayerHash,
  type LayerHashOptions
} from './layer-root-hash.js'
export { readTarMembers, type TarFile, type TarMember } from './tar/members.js'
export { readTar } from './tar/reader.js'
export type { TarEntry } from './tar/entry.js'
