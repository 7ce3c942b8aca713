import { parseOciDigest, parseSha256Hex, type OciDigest, type Sha256Hex } from '../base/digest.js'
import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { parseReference } from '../image/index.js'
import { printable, shown } from '../verify/check.js'
import { list, object, oneOf, optional, type Reader, text } from '../verify/shape.js'
import { parseStrictJson } from '../verify/strict-json.js'
import {
  builders,
  type BuiltRelease,
  type CompleteRelease,
  type ImageLayers,
  type Release,
  type ReleasedPolicy,
  type ReleaseImage,
  type ReleaseSource
} from './release.js'
import { publicTemplateShape } from './template-shape.js'

/** A policy text is at most 1 MiB, and its escapes double that. */
const maximumLength = 4 * 1024 * 1024

/**
 * Reads the text of a release. Nothing is optional but `diffIds` and `image.base`, and nothing may be added: members that
 * are unknown, repeated or out of alphabetical order are problems.
 *
 * Throws a `UserError` `release-file.invalid` whose `why` has one line for each problem, with its path and
 * what was expected; `report.problems` is the same as a list. What the parts say of each other is for
 * {@link checkRelease}.
 */
export function parseRelease(json: string): Release {
  if (json.length > maximumLength) throw invalid([`it is longer than ${maximumLength} characters`])
  const value = parseJson(json)
  const problems: string[] = []
  const release = releaseShape(value, '', problems)
  orderProblems(value, '', problems)
  if (release === undefined || problems.length > 0) throw invalid(problems)
  return release
}

function parseJson(json: string): unknown {
  try {
    return parseStrictJson(json, 'it')
  } catch (error) {
    throw invalid([error instanceof Error ? error.message : 'it cannot be read'])
  }
}

/** One value has one text: without that, two files that say the same would have two hashes. */
function orderProblems(value: unknown, path: string, problems: string[]): void {
  if (Array.isArray(value)) value.forEach((item, index) => orderProblems(item, `${path}[${index}]`, problems))
  if (!isJsonObject(value)) return
  const names = Object.keys(value)
  const sorted = [...names].sort()
  const first = names.findIndex((name, index) => name !== sorted[index])
  if (first !== -1) {
    const [found, expected] = [names[first], sorted[first]].map((name) => printable(name ?? ''))
    const place = path === '' ? 'the document' : path
    problems.push(`${place} must have its members in alphabetical order, got "${found}" where "${expected}" stands`)
  }
  for (const name of names) orderProblems(value[name], path === '' ? name : `${path}.${name}`, problems)
}

function nullOr<T>(reader: Reader<T>): Reader<T | null> {
  return (value, path, problems) => (value === null ? null : reader(value, path, problems))
}

function matching(expected: string, maximum: number, pattern: RegExp): Reader<string> {
  return text(expected, maximum, (value) => (pattern.test(value) ? value : undefined))
}

function parsedBy<T>(expected: string, maximum: number, parse: (value: string) => T): Reader<T> {
  return text(expected, maximum, (value) => {
    try {
      return parse(value)
    } catch {
      return undefined
    }
  })
}

const sha256: Reader<Sha256Hex> = parsedBy('64 lower-case hex characters', 64, (value) => parseSha256Hex(value, ''))

const digest: Reader<OciDigest> = parsedBy('"sha256:" and 64 lower-case hex characters', 71, (value) =>
  parseOciDigest(value, '')
)

/** For texts that may hold a login, which is not shown when it is refused. */
function withoutLogin(reader: Reader<string>): Reader<string> {
  return (value, path, problems) => {
    if (typeof value !== 'string' || !/@(?!sha256:)/.test(value)) return reader(value, path, problems)
    // An ssh URL names its user, and nothing else before the sign.
    if (/^ssh:\/\/[a-z0-9_-]+@[^@]*$/.test(value)) return reader(value, path, problems)
    problems.push(`${path} must be without credentials`)
    return undefined
  }
}

/** Neither a name nor a digest of this grammar can hold a login. */
const pinnedReference: Reader<string> = withoutLogin(
  parsedBy('an image with its digest, REPOSITORY@sha256:…', 1024, (value) => {
    if (parseReference(value).digest === undefined) throw new TypeError('no digest')
    return value
  })
)

const trueFalseOrNull: Reader<boolean | null> = (value, path, problems) => {
  if (value === null || typeof value === 'boolean') return value
  problems.push(`${path} must be true, false or null, got ${shown(value)}`)
  return undefined
}

const source: Reader<ReleaseSource> = object<ReleaseSource>({
  repository: nullOr(
    withoutLogin(
      parsedBy('a URL without credentials, or null', 2000, (value) => {
        if (publicUrl(value) !== value) throw new TypeError('no such URL')
        return value
      })
    )
  ),
  commit: nullOr(matching('40 lower-case hex characters, or null', 40, commitPattern())),
  dirty: trueFalseOrNull,
  version: nullOr(matching('a version, or null', 128, versionPattern()))
})

const image: Reader<ReleaseImage> = object<ReleaseImage>({
  reference: pinnedReference,
  digest,
  builder: nullOr(oneOf(...builders)),
  base: optional(pinnedReference)
})

const layers: Reader<readonly ImageLayers[]> = list(
  object<ImageLayers>({
    image: pinnedReference,
    diffIds: optional(list(digest, 512)),
    rootHashes: list(sha256, 512)
  }),
  60
)

/** The three members that `confrouter policy` adds: all of them, or none. */
const policyMembers = ['template', 'policy', 'hostData'] as const

const complete = object<CompleteRelease>({
  version: oneOf(1),
  source,
  image,
  layers,
  template: publicTemplateShape,
  policy: object<ReleasedPolicy>({
    api: matching('a version like 0.11.0', 20, /^[0-9]+\.[0-9]+\.[0-9]+$/),
    engine: oneOf('native', 'az'),
    text: text('a policy text', 1_048_576, (value) => value)
  }),
  hostData: sha256
})

const withoutPolicy: Reader<null> = (value, path, problems) => {
  if (value === null) return null
  problems.push(`${path} must be null, as ${policyMembers.join(', ')} are all null or all there`)
  return undefined
}

const built = object<BuiltRelease>({
  version: oneOf(1),
  source,
  image,
  layers,
  template: withoutPolicy,
  policy: withoutPolicy,
  hostData: withoutPolicy
})

const releaseShape: Reader<Release> = (value, path, problems) => {
  const isBuilt = isJsonObject(value) && policyMembers.filter((name) => value[name] === null).length > 1
  return isBuilt ? built(value, path, problems) : complete(value, path, problems)
}

/** Of a commit of SHA-1, which is what nearly all repositories have. */
export function commitPattern(): RegExp {
  return /^[0-9a-f]{40}$/
}

export function versionPattern(): RegExp {
  return /^[0-9A-Za-z][0-9A-Za-z.+_-]*$/
}

/** A URL as it may be published, without the login that it may carry; undefined for what is none. */
export function publicUrl(value: string): string | undefined {
  const written = value.replace(/^git\+/, '')
  if (!URL.canParse(written) || !/^(?:https?|ssh|git):/.test(written)) return undefined
  const url = new URL(written)
  // The user of an ssh URL is part of the address, and its key is elsewhere.
  if (url.protocol !== 'ssh:') url.username = ''
  url.password = ''
  url.search = ''
  url.hash = ''
  return url.href
}

function invalid(problems: readonly string[]): UserError {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
  return new UserError('config', 'release-file.invalid', `the release has ${count}`, {
    why: problems.join('\n'),
    next: ['confrouter policy   (writes release.json)'],
    report: { problems }
  })
}
