/** Sizes of this one kind of ext4 file system: 4 KiB blocks, 256-byte inodes, 32-byte group descriptors. */
export const blockBytes = 4096
export const inodeBytes = 256
export const inodesPerBlock = blockBytes / inodeBytes
export const blocksPerGroup = 8 * blockBytes
export const maxInodesPerGroup = 8 * blockBytes
export const descriptorBytes = 32

/** The disk that space for group descriptors is reserved for; part of every layer's hash. */
export const maxDiskBytes = 128 * 1024 ** 3
export const maxFileBytes = 128 * 1024 ** 3
export const maxGroups = maxDiskBytes / blockBytes / blocksPerGroup
export const descriptorBlocks = (maxGroups * descriptorBytes) / blockBytes
export const firstDataBlock = 1 + descriptorBlocks

export const rootInode = 2
export const firstFreeInode = 11
/** Also of a directory, whose subdirectories link back to it. */
export const maxLinks = 65_000
export const maxNameBytes = 255

/** File types, in the upper four bits of a mode. */
export const fileTypes = {
  fifo: 0x1000,
  characterDevice: 0x2000,
  directory: 0x4000,
  blockDevice: 0x6000,
  regular: 0x8000,
  symbolicLink: 0xa000
} as const

export const fileTypeMask = 0xf000
export const inodeFlags = { hugeFile: 0x4_0000, extents: 0x8_0000 } as const
