/** The kind of failure. Stable: callers branch on it, and never on the text. */
export type LayerErrorCode =
  /** The compressed stream is damaged, cut short or followed by foreign bytes. */
  | 'compression'
  /** The layer decompresses to more than the caller allows. */
  | 'expansion-limit'
  /** A header block, an extended header or a sparse map is not valid. */
  | 'tar-header'
  /** An extended header or a sparse map is larger than 1 MiB. */
  | 'tar-header-too-long'
  /** The tar ends inside a header or inside the data of an entry. */
  | 'tar-truncated'
  /** The data of a sparse file does not fit its map. */
  | 'tar-sparse-data'
  /** A path component is longer than 255 bytes. */
  | 'name-too-long'
  /** A parent of the entry is there and is not a directory. */
  | 'parent-not-directory'
  /** A second entry for a file whose data is already in the image. */
  | 'overwrites-data'
  | 'replaces-directory'
  | 'replaces-file-with-directory'
  /** A hard link whose target does not come before it. */
  | 'link-target-missing'
  | 'link-target-directory'
  /** A hard link takes the only name of another file. */
  | 'link-orphans-file'
  /** More than 65,000 links to a file, or subdirectories of a directory. */
  | 'too-many-links'
  /** The extended attributes do not fit the inode and one block. */
  | 'xattrs-too-large'
  /** A file is larger than 128 GiB. */
  | 'file-too-large'
  /** The file system is larger than 128 GiB, or than the caller allows. */
  | 'image-too-large'
  /** Names, inodes and attributes need more memory than the caller allows. */
  | 'metadata-limit'

/** What is wrong with a layer. Failures of the source of the bytes pass through as they are. */
export class LayerError extends Error {
  override readonly name = 'LayerError'

  constructor(
    readonly code: LayerErrorCode,
    message: string,
    options?: ErrorOptions
  ) {
    super(message, options)
  }
}
