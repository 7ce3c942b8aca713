/** Images without a daemon: where they lie, what they say, and one that is built here. */

export { openArchiveImage } from './archive.js'
export { type TextFile, writeTextAtomically, writeTextsAtomically } from './atomic-file.js'
export { type ConfigDocument, parseConfigDocument } from './config-document.js'
export { dockerCredentialSource, type CredentialHelper, type DockerCredentialOptions } from './docker-credentials.js'
export type { ArchiveImage, Image, ImageConfig, ImageContent, ImageLayer } from './image.js'
export { ImageError, type ImageErrorCode } from './image-error.js'
export { imageFacts, type ImageFacts, type ImageFactsOptions } from './image-facts.js'
export { openLayoutImage } from './layout.js'
export type { LayerFile } from './layer-tar.js'
export {
  buildNativeImage,
  type BuiltImage,
  composeNativeImage,
  type ComposedImage,
  type NativeBase,
  type NativeImage,
  type NativeImageConfig,
  type NativeRecipe
} from './native-builder.js'
export { pushLayoutImage, type PushOptions } from './push.js'
export { formatReference, parseReference, type ImageReference } from './reference.js'
export { openRegistryImage, type RegistryImageOptions } from './registry.js'
export type { CredentialSource, RegistryCredentials } from './registry-auth.js'
