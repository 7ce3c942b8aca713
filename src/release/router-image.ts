import type { NativeBase, NativeImageConfig, NativeRecipe } from '../image/index.js'
import type { ReleaseSource } from './release.js'

export interface RouterImage {
  /** `repository:tag`; not part of the digest. */
  readonly reference: string
  /** The router program, one file. */
  readonly program: Uint8Array
  /** What the image says of where it comes from. */
  readonly labels: RouterLabels
  /** What the program is put on; absent for an image that is the program alone. */
  readonly base?: NativeBase | undefined
}

export interface RouterLabels {
  /** Of the package that the program is from. */
  readonly version: string
  /** URL of the source, without credentials. */
  readonly source?: string | undefined
  /** Commit of the source: only of a tree that is that commit's. */
  readonly revision?: string | undefined
}

/** The router's image for the native builder: the same program, labels and base give the same digest everywhere. */
export function routerImage({ reference, program, labels, base }: RouterImage): NativeRecipe {
  return {
    reference,
    files: [{ path: '/app/router.cjs', mode: 0o444, content: program }],
    config: routerConfig(labels, base !== undefined),
    base
  }
}

export function routerConfig(labels: RouterLabels, hasBase: boolean): NativeImageConfig {
  return hasBase ? onBaseConfig(labels) : aloneConfig(labels)
}

/** Says of a changed tree only what holds for it: a label with its commit would name something else. */
export function routerLabels(version: string, { repository, commit, dirty }: ReleaseSource): RouterLabels {
  return {
    version,
    ...(repository === null ? {} : { source: repository }),
    ...(commit === null || dirty !== false ? {} : { revision: commit })
  }
}

/** As the last stage of the Dockerfile has it; what it does not say is the base's. */
function onBaseConfig(labels: RouterLabels): NativeImageConfig {
  return {
    ...shared(labels),
    entrypoint: ['/usr/local/bin/node', '/app/router.cjs'],
    env: ['NODE_ENV=production'],
    exposedPorts: ['8080/tcp'],
    stopSignal: 'SIGTERM'
  }
}

/** Without a Node of its own, so the name has to find one. */
function aloneConfig(labels: RouterLabels): NativeImageConfig {
  return {
    ...shared(labels),
    entrypoint: ['node', '/app/router.cjs'],
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'NODE_ENV=production']
  }
}

/** Nothing in it depends on the machine or the time, so that the digest is the same everywhere. */
function shared({ version, source, revision }: RouterLabels) {
  return {
    workingDir: '/app',
    user: '65532:65532',
    labels: {
      'org.opencontainers.image.title': 'confrouter',
      'org.opencontainers.image.version': version,
      ...(source === undefined ? {} : { 'org.opencontainers.image.source': source }),
      ...(revision === undefined ? {} : { 'org.opencontainers.image.revision': revision })
    }
  }
}
