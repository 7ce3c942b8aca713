import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import { UserError } from '../../../src/base/user-error.js'
import { encodeRelease, parseRelease, publicTemplate, requireComplete } from '../../../src/release/index.js'
import { deployment, releasedDeployment } from './support.js'

let whole: string
let built: string
beforeAll(async () => {
  whole = await (await releasedDeployment({ yaml: 'containerGroup: { dnsLabel: my-router }' })).text()
  const made = await deployment()
  await made.build()
  built = await made.text()
})

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each case puts something wrong somewhere
type Anything = any

/** The problems of a release that is changed in one place, in the order of alphabet that the writer uses. */
function problemsWith(change: (release: Anything) => void, text = whole): readonly string[] {
  const release = JSON.parse(text)
  change(release)
  return problemsOf(sortedText(release))
}

function sortedText(value: unknown): string {
  return encodeRelease(value as Parameters<typeof encodeRelease>[0])
}

function problemsOf(text: string): readonly string[] {
  try {
    parseRelease(text)
    return []
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    expect([error.code, error.exitCode, error.why]).toEqual([
      'release-file.invalid',
      3,
      (error.report['problems'] as string[]).join('\n')
    ])
    return error.report['problems'] as string[]
  }
}

const group = (release: Anything) => release.template.resources[0]
const router = (release: Anything) => group(release).properties.containers[0].properties

describe('parseRelease', () => {
  it('reads what policy and what build write', () => {
    expect(problemsOf(whole)).toEqual([])
    expect(problemsOf(built)).toEqual([])
  })

  it.each<[string, (release: Anything) => void, string]>([
    ['another version', (r) => (r.version = 2), 'version must be 1, got 2'],
    [
      'a commit in capitals',
      (r) => (r.source.commit = 'A'.repeat(40)),
      'source.commit must be 40 lower-case hex characters, or null, got'
    ],
    ['a short commit', (r) => (r.source.commit = 'abc'), 'source.commit must be 40'],
    ['a word for dirty', (r) => (r.source.dirty = 'no'), 'source.dirty must be true, false or null, got "no"'],
    [
      'a login in the repository',
      (r) => (r.source.repository = 'https://u:p@github.com/x/y'),
      'source.repository must be without credentials'
    ],
    ['no URL as repository', (r) => (r.source.repository = 'confrouter'), 'source.repository must be a URL'],
    [
      'a version with a space',
      (r) => (r.source.version = '1 2'),
      'source.version must be a version, or null, got "1 2"'
    ],
    [
      'a digest in capitals',
      (r) => (r.image.digest = r.image.digest.toUpperCase()),
      'image.digest must be "sha256:" and 64 lower-case hex characters, got'
    ],
    ['a digest without its prefix', (r) => (r.image.digest = r.image.digest.slice(7)), 'image.digest must be'],
    [
      'a reference by tag',
      (r) => (r.image.reference = 'x/y:1'),
      'image.reference must be an image with its digest, REPOSITORY@sha256:…, got "x/y:1"'
    ],
    [
      'a login in the reference',
      (r) => (r.image.reference = `user:pass@${r.image.reference}`),
      'image.reference must be without credentials'
    ],
    [
      'an unknown builder',
      (r) => (r.image.builder = 'kaniko'),
      'image.builder must be "native" or "docker" or "podman" or "buildah", got "kaniko"'
    ],
    [
      'a short root hash',
      (r) => (r.layers[1].rootHashes[0] = 'ab'),
      'layers[1].rootHashes[0] must be 64 lower-case hex characters, got "ab"'
    ],
    [
      'no root hashes',
      (r) => (r.layers[0].rootHashes = []),
      'layers[0].rootHashes must be a list of 1 to 512 entries, got []'
    ],
    ['a diff id without prefix', (r) => (r.layers[0].diffIds[0] = 'ab'), 'layers[0].diffIds[0] must be "sha256:" and'],
    ['no layers', (r) => (r.layers = []), 'layers must be a list of 1 to 60 entries, got []'],
    ['an unknown engine', (r) => (r.policy.engine = 'auto'), 'policy.engine must be "native" or "az", got "auto"'],
    [
      'an API version of two numbers',
      (r) => (r.policy.api = '0.11'),
      'policy.api must be a version like 0.11.0, got "0.11"'
    ],
    ['a policy text that is none', (r) => (r.policy.text = 1), 'policy.text must be a policy text, got 1'],
    ['host data in base64', (r) => (r.hostData = 'AAAA'), 'hostData must be 64 lower-case hex characters, got "AAAA"'],
    ['an unknown member', (r) => (r.signature = 'x'), 'signature is not a known field'],
    ['an unknown member below', (r) => (r.source.branch = 'main'), 'source.branch is not a known field'],
    ['a missing member', (r) => delete r.image.builder, 'image.builder is missing'],
    [
      'host data without a policy',
      (r) => (r.policy = r.template = null),
      'hostData must be null, as template, policy, hostData are all null or all there'
    ],
    [
      'a policy without host data',
      (r) => (r.hostData = null),
      'hostData must be 64 lower-case hex characters, got null'
    ]
  ])('refuses %s, and says where and what was expected', (_name, change, expected) => {
    const problems = problemsWith(change)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(expected)
  })

  it('lists every problem at once', () => {
    const problems = problemsWith((release) => {
      release.version = 3
      release.image.digest = 'x'
      release.hostData = 'y'
      release.extra = true
    })
    expect(problems).toHaveLength(4)
  })

  it('refuses every missing member of a whole release by its path', () => {
    for (const path of ['version', 'source', 'image', 'layers', 'template', 'policy', 'hostData']) {
      expect([path, problemsWith((release) => delete release[path])]).toEqual([path, [`${path} is missing`]])
    }
  })

  it('refuses members out of order, wherever they are', () => {
    const release = JSON.parse(whole)
    expect(problemsOf(JSON.stringify({ version: release.version, ...release }))).toEqual([
      'the document must have its members in alphabetical order, got "version" where "hostData" stands'
    ])
    const { digest, reference, builder } = release.image
    release.image = { digest, builder, reference }
    expect(problemsOf(JSON.stringify(release))).toEqual([
      'image must have its members in alphabetical order, got "digest" where "builder" stands'
    ])
  })

  it('does not mind white space, which is no part of what is said', () => {
    expect(problemsOf(JSON.stringify(JSON.parse(whole)))).toEqual([])
  })

  it('refuses a member that stands twice', () => {
    expect(problemsOf(whole.replace('{', '{"hostData":"x",'))).toEqual(['it has the member "hostData" twice'])
  })

  it('refuses what is no JSON, and what is too long', () => {
    expect(problemsOf('')).toEqual(['it is not JSON'])
    expect(problemsOf(whole.slice(0, -10))).toEqual(['it is not JSON'])
    expect(problemsOf('null')).toEqual(['the document must be an object, got null'])
    expect(problemsOf(' '.repeat(5 * 1024 * 1024))).toEqual(['it is longer than 4194304 characters'])
  })

  it('says nothing of a login that it refuses', () => {
    const problems = problemsWith((release) => {
      release.source.repository = 'https://user:MARKED@github.com/x/y'
      release.image.reference = `user:MARKED@${release.image.reference}`
    })
    expect(problems).toHaveLength(2)
    expect(problems.join()).not.toContain('MARKED')
  })

  it('shows hostile text in a form that is fit for a terminal', () => {
    const [problem] = problemsWith((release) => (release.source.commit = '\u001b[2J'))
    expect(problem).toContain('\\u001b[2J')
    expect(problem).not.toContain('\u001b')
  })
})

describe('the template of a release', () => {
  it.each<[string, (release: Anything) => void, string]>([
    [
      'a policy',
      (r) => (group(r).properties.confidentialComputeProperties.ccePolicy = 'cGFja2FnZQ=='),
      'ccePolicy must be ""'
    ],
    [
      'a secure value',
      (r) => (router(r).environmentVariables[0] = { name: 'HOST', secureValue: 'x' }),
      'environmentVariables[0].secureValue is not a known field'
    ],
    [
      'a secure value beside a value',
      (r) => (router(r).environmentVariables[0].secureValue = 'x'),
      'environmentVariables[0].secureValue is not a known field'
    ],
    [
      'a secure parameter',
      (r) => (r.template.parameters.key = { type: 'securestring', defaultValue: 'x' }),
      'template.parameters.key is not a known field'
    ],
    [
      'sealed secrets as a default',
      (r) => (r.template.parameters.sealedSecrets.defaultValue = 'eyJ'),
      'template.parameters.sealedSecrets.defaultValue is not a known field'
    ],
    [
      'sealed secrets in the variable',
      (r) => (router(r).environmentVariables.at(-1).value = 'eyJ'),
      `.value must be "[parameters('sealedSecrets')]", got "eyJ"`
    ],
    [
      'a registry login',
      (r) => (group(r).properties.imageRegistryCredentials = [{ server: 's', password: 'x' }]),
      'imageRegistryCredentials is not a known field'
    ],
    [
      'a volume',
      (r) => (group(r).properties.volumes = [{ name: 'v', secret: { a: 'x' } }]),
      'volumes is not a known field'
    ],
    [
      'a log workspace',
      (r) => (group(r).properties.diagnostics = { logAnalytics: { workspaceKey: 'x' } }),
      'diagnostics is not a known field'
    ],
    [
      'an identity',
      (r) => (group(r).identity.userAssignedIdentities = { '/subscriptions/1': {} }),
      'userAssignedIdentities./subscriptions/1 is not a known field'
    ],
    ['tags', (r) => (group(r).tags = { owner: 'x' }), 'tags is not a known field'],
    ['outputs', (r) => (r.template.outputs = { key: { value: 'x' } }), 'template.outputs is not a known field'],
    ['a variable', (r) => (r.template.variables.key = 'x'), 'template.variables.key is not a known field'],
    [
      'an expression',
      (r) => (router(r).environmentVariables[0].value = "[parameters('name')]"),
      'environmentVariables[0].value must be a text that is no ARM expression'
    ],
    [
      'a second group',
      (r) => r.template.resources.push(group(r)),
      'template.resources must be a list of 1 to 1 entries'
    ],
    [
      'a container without resources',
      (r) => delete router(r).resources,
      'containers[0].properties.resources is missing'
    ],
    ['a cpu of zero', (r) => (router(r).resources.requests.cpu = 0), 'resources.requests.cpu must be a number above 0'],
    [
      'a port that is none',
      (r) => (router(r).ports[0].port = 0),
      'ports[0].port must be a whole number from 1 to 65535, got 0'
    ]
  ])('is refused with %s', (_name, change, expected) => {
    const problems = problemsWith(change)
    expect(problems.join('\n')).toContain(expected)
  })

  it('takes a value that begins with a bracket, doubled as ARM has it', () => {
    expect(problemsWith((release) => (router(release).environmentVariables[0].value = '[[x]'))).toEqual([])
  })

  it('is not made of a template that has a place for secrets', () => {
    const template = JSON.parse(
      readFileSync(join(import.meta.dirname, '../../../templates/container-group.json'), 'utf8')
    )
    expect(publicTemplate(template as JsonObject)).toEqual(template)
    template.resources[0].properties.imageRegistryCredentials = [{ server: 's', username: 'u', password: 'MARKED' }]
    expect(() => publicTemplate(template as JsonObject)).toThrow(
      'template.resources[0].properties.imageRegistryCredentials is not a known field'
    )
  })
})

describe('requireComplete', () => {
  it('passes a whole release and refuses one without a policy', () => {
    expect(requireComplete(parseRelease(whole)).hostData).toMatch(/^[0-9a-f]{64}$/)
    expect(() => requireComplete(parseRelease(built))).toThrow('the release has no policy, so no host data')
  })
})
