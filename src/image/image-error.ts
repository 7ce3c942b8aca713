import { UserError, type Fault, type UserErrorDetails } from '../base/user-error.js'

/** Stable codes of everything that can go wrong with an image, and who has to act on each. */
const faults = {
  /** A reference that no registry would accept. */
  'image.reference': 'config',
  /** What the caller asked the native builder to put into an image cannot be put into one. */
  'image.content': 'config',
  /** No image of that name or digest where it was looked for. */
  'image.not-found': 'config',
  /** The image is for another platform, or uses a media type that a confidential container cannot run. */
  'image.unsupported': 'config',
  /** The reference pins a digest, and the place where the image lies cannot prove it. */
  'image.unpinnable': 'config',
  /** JSON or tar that does not follow the image formats. */
  'image.malformed': 'machine',
  /** A layer whose tar no host can mount. */
  'image.layer': 'config',
  /** Bytes that do not hash to the digest they were asked for by. */
  'image.digest-mismatch': 'machine',
  'image.too-large': 'machine',
  /** A file or folder on this machine cannot be read or written. */
  'image.file': 'machine',
  'image.layout-locked': 'machine',
  'registry.not-logged-in': 'machine',
  'registry.docker-config': 'machine',
  /** No answer: name, network, TLS. */
  'registry.unreachable': 'cloud',
  /** It answered, and not with what the distribution specification says. */
  'registry.failed': 'cloud'
} as const satisfies Record<string, Fault>

export type ImageErrorCode = keyof typeof faults

/** A `UserError` whose fault follows from its code. */
export class ImageError extends UserError {
  constructor(code: ImageErrorCode, problem: string, details: UserErrorDetails = {}) {
    super(faults[code], code, problem, details)
  }
}
