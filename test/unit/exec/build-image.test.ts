import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import {
  buildWithEngine,
  configurationBuiltWithEngine,
  findEngine,
  probeEngine,
  type Engine
} from '../../../src/exec/index.js'
import { useFakePrograms } from './fake-programs.js'

const programs = useFakePrograms()
const digest = `sha256:${'ab'.repeat(32)}`
const other = `sha256:${'cd'.repeat(32)}`
const reference = 'ghcr.io/owner/router:1'
const build = (engine: Engine, more: Partial<Parameters<typeof buildWithEngine>[0]> = {}) =>
  buildWithEngine({ engine, context: 'some/folder', dockerfile: 'some/Dockerfile', reference, ...more })

/** Scripts the three commands of an engine. */
function docker({
  build: built = 'echo built',
  push = `echo "1: digest: ${digest} size: 1234"`,
  inspect = `echo '["ghcr.io/owner/router@${digest}"]'`
}) {
  programs.current.add('docker', `case "$1" in build) ${built};; push) ${push};; image) ${inspect};; esac`)
}

describe('buildWithEngine with docker', () => {
  it('builds for linux/amd64, pushes, and reads the digest back', async () => {
    docker({})
    const lines: string[] = []
    expect(await build('docker', { onLine: (line) => lines.push(line) })).toEqual({ digest })
    expect(programs.current.calls).toEqual([
      [
        'docker',
        'build',
        '--platform',
        'linux/amd64',
        '--file',
        resolve('some/Dockerfile'),
        '--tag',
        reference,
        resolve('some/folder')
      ],
      ['docker', 'push', reference],
      ['docker', 'image', 'inspect', '--format', '{{json .RepoDigests}}', reference]
    ])
    expect(lines).toEqual(['built', `1: digest: ${digest} size: 1234`])
  })

  it('asks for no times and no attestations, which differ from build to build', async () => {
    docker({ build: 'echo "$SOURCE_DATE_EPOCH $BUILDX_NO_DEFAULT_ATTESTATIONS"' })
    const lines: string[] = []
    await build('docker', { onLine: (line) => lines.push(line) })
    expect(lines[0]).toBe('0 1')
  })

  it('takes the digest of this repository, and knows how Docker shortens its own', async () => {
    docker({ inspect: `echo '["elsewhere/router@${other}","owner/router@${digest}"]'` })
    expect(await build('docker', { reference: 'docker.io/owner/router:1' })).toEqual({ digest })
  })

  it('takes the only digest when the push does not print one', async () => {
    docker({ push: 'echo done' })
    expect(await build('docker')).toEqual({ digest })
  })

  it.each([
    ['the two sources differ', { inspect: `echo '["ghcr.io/owner/router@${other}"]'` }],
    ['there is none of this repository', { inspect: `echo '["ghcr.io/other/router@${digest}"]'` }],
    [
      'nothing is printed and there are two',
      { push: 'echo done', inspect: `echo '["ghcr.io/owner/router@${digest}","ghcr.io/owner/router@${other}"]'` }
    ],
    ['the list is empty', { inspect: `echo '[]'` }],
    ['the answer is no JSON', { inspect: 'echo oops' }],
    ['the question fails', { inspect: 'exit 1' }]
  ])('gives no digest when %s', async (_, scripts) => {
    docker(scripts)
    await expect(build('docker')).rejects.toMatchObject({ code: 'builder.no-digest', fault: 'machine' })
  })
})

describe.each(['podman', 'buildah'] as const)('buildWithEngine with %s', (engine) => {
  const write = (text: string) => `case "$1" in push) printf '%s' '${text}' > "$3";; esac`

  it('reads the digest that the push wrote, and removes the file', async () => {
    programs.current.add(engine, write(digest))
    expect(await build(engine)).toEqual({ digest })
    const [first, second] = programs.current.calls
    expect(first?.slice(0, 6)).toEqual([engine, 'build', '--platform', 'linux/amd64', '--timestamp', '0'])
    expect(second).toEqual([engine, 'push', '--digestfile', second?.[3], reference])
    expect(existsSync(second?.[3] ?? '')).toBe(false)
  })

  it('gives no digest when the file has none, or two', async () => {
    for (const text of ['', 'sha256:abc', digest.toUpperCase(), `${digest}\n${other}`, ` ${digest}`]) {
      programs.current.add(engine, write(text))
      await expect(build(engine)).rejects.toMatchObject({ code: 'builder.no-digest' })
    }
  })

  it('removes the file when the push fails', async () => {
    programs.current.add(engine, 'if [ "$1" = push ]; then echo broken >&2; exit 125; fi')
    await expect(build(engine)).rejects.toMatchObject({ code: 'registry.push-failed', why: 'broken' })
    expect(existsSync(programs.current.calls.at(-1)?.[3] ?? '')).toBe(false)
  })
})

describe('a failing engine', () => {
  it('is named when it is missing, with a way out', async () => {
    await expect(build('podman')).rejects.toMatchObject({
      fault: 'machine',
      code: 'builder.missing',
      next: [expect.stringContaining('install podman'), expect.stringContaining('native')]
    })
  })

  it.each([
    'ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?',
    'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock'
  ])('is said not to run when it says: %s', async (text) => {
    docker({ build: `echo '${text}' >&2; exit 1` })
    await expect(build('docker')).rejects.toMatchObject({ code: 'builder.not-running', fault: 'machine' })
  })

  it('shows the end of a build that failed', async () => {
    docker({ build: 'echo step 1; echo "npm ci failed" >&2; exit 1' })
    await expect(build('docker')).rejects.toMatchObject({
      code: 'builder.failed',
      fault: 'machine',
      why: expect.stringContaining('npm ci failed')
    })
    expect(programs.current.calls).toHaveLength(1)
  })

  it.each([
    'denied: requested access to the resource is denied',
    'unauthorized: authentication required',
    'no basic auth credentials',
    'Error: trying to reuse blob: checking whether a blob exists: requested access to the resource is denied'
  ])('is said not to be logged in when the push says: %s', async (text) => {
    docker({ push: `echo '${text}' >&2; exit 1` })
    await expect(build('docker')).rejects.toMatchObject({
      code: 'registry.not-logged-in',
      fault: 'machine',
      next: ['docker login ghcr.io']
    })
  })

  it('is told apart from a registry that cannot be reached', async () => {
    docker({ push: 'echo "dial tcp: lookup ghcr.io: no such host" >&2; exit 1' })
    await expect(build('docker')).rejects.toMatchObject({ code: 'registry.push-failed', fault: 'cloud' })
  })

  it('is ended when it takes too long, and when the run is aborted', async () => {
    docker({ build: 'exec sleep 60' })
    await expect(build('docker', { timeoutMs: 200 })).rejects.toMatchObject({ code: 'builder.timeout' })
    const reason = new Error('enough')
    const controller = new AbortController()
    setTimeout(() => {
      controller.abort(reason)
    }, 200)
    await expect(build('docker', { signal: controller.signal })).rejects.toBe(reason)
  })

  it('is not given a reference that looks like an option', async () => {
    docker({})
    await expect(build('docker', { reference: '--help' })).rejects.toThrow(TypeError)
    expect(programs.current.calls).toEqual([])
  })
})

describe('configurationBuiltWithEngine', () => {
  const configuration = (engine: Engine) =>
    configurationBuiltWithEngine({ engine, context: 'some/folder', dockerfile: 'some/Dockerfile', reference })
  const config = { Entrypoint: ['/a'], User: '1:1' }
  const shown = { Os: 'linux', Architecture: 'amd64', Config: config, RootFS: { Type: 'layers', Layers: [digest] } }
  const document = { os: 'linux', architecture: 'amd64', config, rootfs: { type: 'layers', diff_ids: [digest] } }

  it.each(['docker', 'podman'] as const)(
    'builds with %s, pushes nothing, and removes what it built',
    async (engine) => {
      programs.current.add(engine, `case "$1-$2" in image-inspect) echo '${JSON.stringify(shown)}';; esac`)
      expect(JSON.parse(await configuration(engine))).toEqual(document)
      expect(programs.current.calls.map(([, ...words]) => words.slice(0, 2).join(' '))).toEqual([
        'build --platform',
        'image inspect',
        'image rm'
      ])
    }
  )

  it('reads what buildah shows', async () => {
    programs.current.add(
      'buildah',
      `case "$1" in inspect) echo '${JSON.stringify({ Type: 'x', OCIv1: document })}';; esac`
    )
    expect(JSON.parse(await configuration('buildah'))).toEqual(document)
    expect(programs.current.calls.map(([, verb]) => verb)).toEqual(['build', 'inspect', 'rmi'])
  })

  it('says so when the engine builds nothing, shows nothing, or something else', async () => {
    for (const [script, why] of [
      ['case "$1" in build) echo no such file; exit 1;; esac', 'no such file'],
      ['case "$1" in image) echo gone; exit 1;; esac', 'gone'],
      ['echo "[]"', 'its answer is not a JSON object'],
      ['echo no JSON', 'its answer is not a JSON object']
    ] as const) {
      programs.current.add('docker', script)
      await expect(configuration('docker')).rejects.toMatchObject({ code: 'builder.failed', why })
    }
  })

  it('does not fail because an image could not be removed', async () => {
    const inspect = `echo '${JSON.stringify(shown)}'`
    programs.current.add('docker', `case "$1-$2" in image-inspect) ${inspect};; image-rm) exit 1;; esac`)
    expect(JSON.parse(await configuration('docker'))).toEqual(document)
  })
})

describe('findEngine', () => {
  it('finds none where none is', async () => {
    expect(await findEngine()).toBeUndefined()
    expect(await probeEngine('docker')).toEqual({ engine: 'docker', outcome: 'missing' })
  })

  it('passes over an engine that does not answer', async () => {
    programs.current.add('docker', 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    programs.current.add('buildah', 'echo "buildah version 1.28.2 (image-spec 1.1.0)"')
    expect(await findEngine()).toBe('buildah')
    expect(await probeEngine('docker')).toEqual({
      engine: 'docker',
      outcome: 'not-running',
      says: 'Cannot connect to the Docker daemon'
    })
    expect(await probeEngine('buildah')).toMatchObject({ outcome: 'ready', version: '1.28.2 (image-spec 1.1.0)' })
  })

  it('prefers docker, and does not wait for ever', async () => {
    for (const engine of ['docker', 'podman']) programs.current.add(engine, 'echo 1.0')
    expect(await findEngine()).toBe('docker')
    programs.current.add('docker', 'exec sleep 60')
    expect(await findEngine({ timeoutMs: 200 })).toBe('podman')
  })
})
