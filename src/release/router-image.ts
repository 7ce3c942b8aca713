import { type BuiltImage, buildNativeImage, type NativeImageConfig } from '../image/index.js'

export interface RouterImage {
  /** An OCI layout directory; created if absent. */
  readonly layout: string
  /** `repository:tag`; not part of the digest. */
  readonly reference: string
  /** The router program, one file. */
  readonly program: Uint8Array
  /** Version of the package that the program is from. */
  readonly version: string
}

/** Builds the router's image without any daemon: the same program and version give the same digest everywhere. */
export function buildRouterImage({ layout, reference, program, version }: RouterImage): Promise<BuiltImage> {
  return buildNativeImage({
    layout,
    reference,
    files: [{ path: '/app/router.cjs', mode: 0o444, content: program }],
    config: routerImageConfig(version)
  })
}

/** Nothing in it depends on the machine or the time, so that the digest is the same everywhere. */
export function routerImageConfig(version: string): NativeImageConfig {
  return {
    entrypoint: ['node', '/app/router.cjs'],
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'NODE_ENV=production'],
    workingDir: '/app',
    user: '65532:65532',
    labels: { 'org.opencontainers.image.title': 'confrouter', 'org.opencontainers.image.version': version }
  }
}
