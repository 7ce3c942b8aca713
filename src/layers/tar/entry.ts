import type { ByteString } from '../byte-string.js'

/**
 * What an entry creates. Type flags that POSIX leaves open, and GNU's sparse and multi-volume ones,
 * are files. A global extended header creates an empty file here too: readers written in Go hand it
 * out as an entry, and what hashes or extracts layers has to agree with them.
 */
export type TarEntryKind =
  'file' | 'hard-link' | 'symbolic-link' | 'character-device' | 'block-device' | 'directory' | 'fifo' | 'global-header'

/** Seconds since 1970-01-01T00:00:00Z, negative before; `nanoseconds` (0 to 999,999,999) always add. */
export interface TarTime {
  readonly seconds: number
  readonly nanoseconds: number
}

export interface TarEntry {
  readonly kind: TarEntryKind
  /** The character in the header, '0' or NUL for a file. */
  readonly typeFlag: string
  /** As in the archive: not cleaned, may begin with `/` and contain `..`; U+FFFD for what is not UTF-8. */
  readonly path: string
  readonly pathBytes: ByteString
  /** Target of a link, else what the archive holds there, usually nothing. */
  readonly linkPath: string
  readonly linkPathBytes: ByteString
  /** Length of `data`; a sparse file counts with its holes. 0 for kinds without data. */
  readonly size: number
  /** The lower 12 bits: permissions, set-user-id, set-group-id, sticky. */
  readonly mode: number
  /** The lower 32 bits, as a file system stores them. */
  readonly uid: number
  readonly gid: number
  /** Undefined where the archive has none. */
  readonly modifiedAt: TarTime | undefined
  readonly accessedAt: TarTime | undefined
  readonly changedAt: TarTime | undefined
  readonly deviceMajor: number
  readonly deviceMinor: number
  /** From the `SCHILY.xattr.` records. */
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>
  /**
   * The contents, once, and only until the next entry is asked for; what is not read is skipped.
   * Pieces are views that must not be written to.
   */
  readonly data: AsyncIterable<Uint8Array>
}
