import { resolve } from 'node:path'
import { parseOciDigest, type OciDigest } from '../base/digest.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { withDigestFile } from './digest-file.js'
import { engineMissing, engineNotRunning, lastWords, type Engine } from './engine.js'
import { ProgramError, runProgram, type ProgramOutput } from './run-program.js'

export interface EngineBuild {
  readonly engine: Engine
  /** The folder that the Dockerfile copies from. */
  readonly context: string
  readonly dockerfile: string
  /** `registry/repository:tag`; it is pushed there. */
  readonly reference: string
  readonly signal?: AbortSignal | undefined
  /** The engine's output, line by line, for progress. */
  readonly onLine?: ((line: string) => void) | undefined
  /** For the build and for the push, each. */
  readonly timeoutMs?: number | undefined
}

const defaultTimeoutMs = 30 * 60_000
const inspectTimeoutMs = 60_000

/**
 * Equal sources should give equal images, as far as the engine can: no times, and no attestations,
 * which are a second manifest that differs from build to build.
 */
const environment = {
  SOURCE_DATE_EPOCH: '0',
  BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
  DOCKER_BUILDKIT: '1',
  BUILDKIT_PROGRESS: 'plain'
}

/**
 * Builds for linux/amd64, pushes, and returns the digest of the manifest that the registry now has:
 * not the image's id, and not a digest that the engine computed before compression.
 */
export async function buildWithEngine(build: EngineBuild): Promise<{ digest: OciDigest }> {
  if (!/^[A-Za-z0-9[]/.test(build.reference)) throw new TypeError('an image reference begins with a letter or digit')
  await buildImage(build)
  const digest = build.engine === 'docker' ? await pushWithDocker(build) : await pushWithDigestFile(build)
  return { digest }
}

/**
 * Builds for linux/amd64, pushes nothing and keeps nothing: returns the image's configuration document (OCI
 * image-spec config.md) as the engine shows it. There is no digest in it, because that of an image that was
 * not pushed is of no use: registries get layers that are compressed on the way.
 */
export async function configurationBuiltWithEngine(build: EngineBuild): Promise<string> {
  await buildImage(build)
  try {
    return await inspectConfiguration(build)
  } finally {
    // An image that stays is untidy and no reason to fail.
    await run({ ...build, signal: undefined }, removals[build.engine](build.reference), inspectTimeoutMs).catch(
      () => undefined
    )
  }
}

const removals = {
  docker: (reference: string) => ['image', 'rm', reference],
  podman: (reference: string) => ['image', 'rm', reference],
  buildah: (reference: string) => ['rmi', reference]
} as const satisfies Record<Engine, (reference: string) => readonly string[]>

async function inspectConfiguration(build: EngineBuild): Promise<string> {
  const { engine, reference } = build
  const command =
    engine === 'buildah'
      ? // Without a format: the versions of current distributions have no `json` in their templates.
        ['inspect', '--type', 'image', reference]
      : ['image', 'inspect', '--format', '{{json .}}', reference]
  let stdout: string
  try {
    ;({ stdout } = await run(build, command, inspectTimeoutMs))
  } catch (error) {
    throw translate(error, build, (cause) => notShown(build, lastWords(cause), cause))
  }
  const shown = parseObject(stdout)
  if (shown === undefined) throw notShown(build, 'its answer is not a JSON object')
  if (engine === 'buildah') return JSON.stringify(shown['OCIv1'] ?? {})
  // Docker and Podman show the members of the document under names of their own.
  const { Os: os, Architecture: architecture, Config: config, RootFS: rootFs } = shown
  const layers = isJsonObject(rootFs) ? rootFs['Layers'] : undefined
  return JSON.stringify({ os, architecture, config, rootfs: { type: 'layers', diff_ids: layers } })
}

function parseObject(json: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function notShown({ engine, reference }: EngineBuild, why: string, cause?: unknown): UserError {
  return new UserError('machine', 'builder.failed', `${engine} built ${reference} and does not show what it is`, {
    why,
    cause
  })
}

async function buildImage(build: EngineBuild): Promise<void> {
  const { engine, reference } = build
  // Podman and Buildah do not read SOURCE_DATE_EPOCH in the versions of current distributions.
  const times = engine === 'docker' ? [] : ['--timestamp', '0']
  const files = ['--file', resolve(build.dockerfile), '--tag', reference, resolve(build.context)]
  try {
    await run(build, ['build', '--platform', 'linux/amd64', ...times, ...files])
  } catch (error) {
    throw translate(error, build, (cause) => {
      const problem = `${engine} could not build ${reference}`
      return new UserError('machine', 'builder.failed', problem, { why: lastWords(cause), cause })
    })
  }
}

/** Docker prints the digest after a push and keeps it with the image; both have to agree. */
async function pushWithDocker(build: EngineBuild): Promise<OciDigest> {
  const { stdout } = await push(build, ['push', build.reference])
  const printed = /\bdigest: (sha256:[0-9a-f]{64})\b/.exec(stdout)?.[1]
  const inspected = await repoDigests(build)
  const [only] = inspected
  const digest = printed ?? (inspected.length === 1 ? only : undefined)
  if (digest === undefined || !inspected.includes(digest)) throw noDigest(build)
  return parseOciDigest(digest, 'the digest that docker pushed')
}

async function repoDigests(build: EngineBuild): Promise<readonly string[]> {
  let stdout: string
  try {
    const inspect = ['image', 'inspect', '--format', '{{json .RepoDigests}}', build.reference]
    ;({ stdout } = await run(build, inspect, inspectTimeoutMs))
  } catch (error) {
    throw translate(error, build, (cause) => noDigest(build, cause))
  }
  const repository = withoutDefaults(build.reference.replace(/:[^:/]*$/, ''))
  return parseTexts(stdout)
    .map((text) => text.split('@'))
    .filter(([name = '']) => withoutDefaults(name) === repository)
    .map(([, digest = '']) => digest)
}

function parseTexts(json: string): readonly string[] {
  try {
    const value: unknown = JSON.parse(json)
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
  } catch {
    // Without the list no digest is found, and that is the error.
    return []
  }
}

/** Docker shows `docker.io/library/x` as `x`, and `docker.io/a/x` as `a/x`. */
function withoutDefaults(repository: string): string {
  return repository.replace(/^(?:index\.)?docker\.io\//, '').replace(/^library\//, '')
}

async function pushWithDigestFile(build: EngineBuild): Promise<OciDigest> {
  const text = await withDigestFile((file) => push(build, ['push', '--digestfile', file, build.reference]))
  const digest = /^(sha256:[0-9a-f]{64})\n?$/.exec(text)?.[1]
  if (digest === undefined) throw noDigest(build)
  return parseOciDigest(digest, `the digest that ${build.engine} pushed`)
}

async function push(build: EngineBuild, command: readonly string[]): Promise<ProgramOutput> {
  try {
    return await run(build, command)
  } catch (error) {
    throw translate(error, build, (cause) => pushFailed(build, cause))
  }
}

function pushFailed({ engine, reference }: EngineBuild, cause: ProgramError): UserError {
  const registry = reference.includes('/') ? reference.slice(0, reference.indexOf('/')) : 'docker.io'
  const why = lastWords(cause)
  // No engine has an exit code for it; these are the words of their libraries and of the registries.
  if (/unauthorized|authentication required|no basic auth credentials|denied|forbidden/i.test(cause.tail.join('\n'))) {
    return new UserError('machine', 'registry.not-logged-in', `${registry} does not let ${engine} push ${reference}`, {
      why,
      next: [`${engine} login ${registry}`],
      cause
    })
  }
  return new UserError('cloud', 'registry.push-failed', `${engine} could not push ${reference}`, { why, cause })
}

function run(build: EngineBuild, command: readonly string[], timeoutMs?: number): Promise<ProgramOutput> {
  return runProgram(build.engine, {
    arguments: command,
    env: environment,
    timeoutMs: timeoutMs ?? build.timeoutMs ?? defaultTimeoutMs,
    signal: build.signal,
    onLine: timeoutMs === undefined ? build.onLine : undefined
  })
}

/** What every command of an engine can fail with; `otherwise` is for what only this one can. */
function translate(error: unknown, { engine }: EngineBuild, otherwise: (cause: ProgramError) => UserError): unknown {
  if (!(error instanceof ProgramError)) return error
  if (error.failure === 'missing') return engineMissing(engine, error)
  if (error.failure === 'timed-out') {
    return new UserError('machine', 'builder.timeout', `${engine} took too long`, {
      why: lastWords(error),
      cause: error
    })
  }
  const silent =
    /cannot connect to the docker daemon|is the docker daemon running|cannot connect to podman|docker\.sock/i
  return silent.test(error.tail.join('\n')) ? engineNotRunning(engine, error) : otherwise(error)
}

function noDigest({ engine, reference }: EngineBuild, cause?: unknown): UserError {
  return new UserError(
    'machine',
    'builder.no-digest',
    `${engine} pushed ${reference} and does not say which digest it has`,
    {
      next: ['set image.digest to the digest that the registry shows'],
      cause
    }
  )
}
