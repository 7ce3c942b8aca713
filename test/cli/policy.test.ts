import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { OciDigest } from '../../src/base/digest.js'
import { main } from '../../src/cli.js'
import { type Image, ImageError, openArchiveImage } from '../../src/image/index.js'
import { layerRootHash } from '../../src/layers/index.js'
import { Blobs } from '../unit/image/oci-layout.js'
import { password, RegistryServer, user } from '../unit/image/registry-server.js'
import { tarFile } from '../unit/image/tar-file.js'

/**
 * `confrouter policy` with the arguments of `az confcom acipolicygen`: the real command in this process, on what the
 * real tool was given, held against what the real tool did. The registry is one that has the images of two archives.
 */
const vectors = join(import.meta.dirname, '..', 'vectors')
const cases = join(vectors, 'policy', 'cases')

interface Meta {
  readonly command: string
  readonly stdin: string | null
  readonly exit_code: number
}

const frames = [
  { frame: '0.10.0', infix: '' },
  { frame: '0.11.0', infix: '.2x' }
] as const

/** Cases that are run nowhere, and why. */
const notRun: Readonly<Record<string, string>> = {
  'include-fragments-covering': 'needs oras: what a fragment in a registry covers is not read, so its container stays',
  'validate-sidecar': 'needs docker: compares a sidecar with the one at its registry, and fails there without it'
}

/** Cases where something else is right than what the real tool does; each has a test of its own below. */
const otherwise: Readonly<Record<string, string>> = {
  'tar-tiny-oci-zstd': 'the tool cannot read layers compressed with zstd'
}

/** What the error of a case has to say, where the tool ends with one. */
const errors: Readonly<Record<string, readonly [code: string, text: string]>> = {
  'diff-bad-base64': ['policy.template', 'is not base64'],
  'env-params-eof': ['input.needed', 'OPENAI_API_KEY'],
  'err-faster-hashing-with-tar': ['usage.conflict', '--faster-hashing and --tar'],
  'err-include-fragments-bad-svn': ['policy.fragment', 'minimum_svn'],
  'err-no-docker': ['registry.unreachable', 'no registry'],
  'err-no-group': ['policy.template', 'no container group'],
  'err-no-image': ['policy.template', 'has no image'],
  'err-params-file-unknown': ['policy.template', 'parameter "nope"'],
  'err-svn-and-exclude': ['policy.svn', 'needs the default fragment'],
  'err-tar-digest': ['registry.unreachable', 'tar.json, and there is no registry'],
  'err-tar-wrong-name': ['registry.unreachable', 'tiny-docker.tar, and there is no registry'],
  'existing-policy-approve': ['input.needed', 'overwrite the CCE Policy'],
  'existing-policy-eof': ['input.needed', 'overwrite the CCE Policy']
}

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

describe('policy with the arguments of acipolicygen', () => {
  const names = readdirSync(cases).filter((name) => !(name in notRun) && !(name in otherwise))

  for (const name of names) {
    for (const { frame, infix } of frames) {
      it(`does what the real tool does: ${name}, frame ${frame}`, async () => {
        const meta = JSON.parse(read(name, 'meta.json')) as Meta
        const run = await runCase(name, { frame })
        // As a whole, so that a failure shows what stderr said.
        expect(run).toMatchObject({ code: meta.exit_code, stdout: expectedOutput(name, infix) })
        const pod = [`pod.yaml`, `pod.out${infix}.yaml`].filter((file) => has(name, file)).at(-1)
        if (pod !== undefined) expect(readFileSync(join(run.folder, 'pod.yaml'), 'utf8')).toBe(read(name, pod))
        const written = ['template.in.json', `template.out${infix}.json`].filter((file) => has(name, file)).at(-1)
        if (written !== undefined)
          expect(readFileSync(join(run.folder, 'template.json'), 'utf8')).toBe(read(name, written))
        if (meta.exit_code === 1) {
          const [code, text] = errors[name] ?? ['', '']
          expect(run.stderr).toContain(`[${code}]`)
          expect(run.stderr).toContain(text)
        }
      })
    }
  }

  it('leaves no case out by a name that none has, and knows the error of each that ends with one', () => {
    const all = readdirSync(cases)
    const tables = [notRun, otherwise, errors].flatMap((table) => Object.keys(table))
    expect(tables.filter((name) => !all.includes(name))).toEqual([])
    const failing = names.filter((name) => (JSON.parse(read(name, 'meta.json')) as Meta).exit_code === 1)
    expect(Object.keys(errors).sort()).toEqual(failing.sort())
  })
})

describe('policy -a where the real tool is no guide', () => {
  it('reads layers compressed with zstd, which hash to what the same layers in gzip hash to', async () => {
    const run = await runCase('tar-tiny-oci-zstd', { frame: '0.10.0' })
    expect(run).toMatchObject({ code: 0, stdout: read('tar-tiny-oci-gzip', 'stdout.txt') })
  })

  it('writes the current version of the text if none is named', async () => {
    const folder = folderOf({ 'template.json': template([container()]) })
    const run = await confrouter(['-a', join(folder, 'template.json'), '--tar', tiny])
    const written = JSON.parse(readFileSync(join(folder, 'template.json'), 'utf8')) as Template
    const policy = Buffer.from(written.resources[0]!.properties.confidentialComputeProperties.ccePolicy, 'base64')
    expect(policy.toString()).toContain('api_version := "0.11.0"')
    expect(run).toMatchObject({ code: 0, stdout: `${createHash('sha256').update(policy).digest('hex')}\n` })
  })

  it('reads images from an OCI layout and from a map that names one', async () => {
    const folder = folderOf({
      'template.json': template([container()]),
      'map.json': JSON.stringify({ 'localhost/tiny:1': 'layout' })
    })
    execFileSync('mkdir', [join(folder, 'layout')])
    execFileSync('tar', ['-xf', join(vectors, 'images', 'tiny-oci-gzip.tar'), '-C', join(folder, 'layout')])
    const print = (tar: string) => confrouter(['-a', join(folder, 'template.json'), '--tar', tar, '--outraw'])
    const expected = await print(tiny)
    expect(expected.code).toBe(0)
    expect((await print(join(folder, 'layout'))).stdout).toBe(expected.stdout)
    expect((await print(join(folder, 'map.json'))).stdout).toBe(expected.stdout)
  })

  it('reads from its registry what the archive does not hold, and says so', async () => {
    const folder = folderOf({ 'template.json': template([container(), container('mcr.microsoft.com/aci/skr:2.12')]) })
    const args = ['-a', join(folder, 'template.json'), '--tar', tiny, '--outraw']
    const run = await confrouter(args, '', 'published')
    expect(run.code).toBe(0)
    expect(run.stdout).toContain('"id":"mcr.microsoft.com/aci/skr:2.12"')
    expect(run.stderr).toMatch(/mcr\.microsoft\.com\/aci\/skr:2\.12.*reading it from its registry/)
  })

  it('does not go to a registry for an image that the map places in an archive without it', async () => {
    const folder = folderOf({
      'template.json': template([container('localhost/other:1')]),
      'map.json': JSON.stringify({ 'localhost/other:1': tiny })
    })
    const run = await confrouter(
      ['-a', join(folder, 'template.json'), '--tar', join(folder, 'map.json')],
      '',
      'published'
    )
    expect([run.code, run.stdout]).toEqual([1, ''])
    expect(run.stderr).toContain('[image.not-found]')
  })

  it('takes an image pinned by digest from an archive that proves the digest, and from no other', async () => {
    const digest = 'sha256:d18b6da3cbddbc18fb679b4f9b05bb8baa94bb0cea78a0a3ddf9a7a88417e8b2'
    const print = (image: string) => {
      const folder = folderOf({ 'template.json': template([container(image)]) })
      const tar = join(vectors, 'images', 'tiny-oci-gzip.tar')
      return confrouter(['-a', join(folder, 'template.json'), '--tar', tar, '--outraw'])
    }
    expect((await print(`localhost/tiny@${digest}`)).stdout).toContain(`"id":"localhost/tiny@${digest}"`)
    expect((await print(`localhost/tiny@sha256:${'0'.repeat(64)}`)).stderr).toContain('and there is no registry')
  })

  it.each([
    ['[resourceGroup().location]', 'resourceGroup().location'],
    ["[uniqueString('a')]", 'uniqueString']
  ])('refuses %s instead of copying it, names it and leaves the file as it was', async (value, named) => {
    const text = template([container('localhost/tiny:1', [{ name: 'A', value }])])
    const folder = folderOf({ 'template.json': text })
    const run = await confrouter(['-a', join(folder, 'template.json'), '--tar', tiny])
    expect([run.code, run.stdout]).toEqual([1, ''])
    expect(run.stderr).toContain('[policy.expression]')
    expect(run.stderr).toContain(named)
    expect(readFileSync(join(folder, 'template.json'), 'utf8')).toBe(text)
  })

  it('evaluates parameters, variables, concat and format', async () => {
    const variable = { name: 'A', value: "[format('{0}-{1}', concat(parameters('a'), 'b'), variables('c'))]" }
    const document = JSON.parse(template([container('localhost/tiny:1', [variable])])) as object
    const folder = folderOf({
      'template.json': JSON.stringify({ ...document, parameters: { a: { type: 'string' } }, variables: { c: 'd' } }),
      'parameters.json': JSON.stringify({ parameters: { a: { value: 'x' } } })
    })
    const files = ['-a', join(folder, 'template.json'), '-p', join(folder, 'parameters.json')]
    const run = await confrouter([...files, '--tar', tiny, '--outraw'])
    expect(run.stdout).toContain('"pattern":"A=xb-d"')
  })
})

describe('the questions of policy -a', () => {
  const open = (names: readonly string[]) => {
    const variables = names.map((name) => ({ name, value: "[parameters('p')]" }))
    const document = JSON.parse(template([container('localhost/tiny:1', variables)])) as object
    return folderOf({ 'template.json': JSON.stringify({ ...document, parameters: { p: { type: 'string' } } }) })
  }

  it('are asked for each variable, and each has its own answer', async () => {
    const run = await confrouter(['-a', join(open(['A', 'B']), 'template.json'), '--tar', tiny, '--outraw'], 'y\nn\n')
    expect(run.stdout).toContain('environment variable A (y/n): ')
    expect(run.stdout).toContain('"pattern":"A=.*"')
    expect(run.stdout).not.toContain('"pattern":"B=')
  })

  it('are asked again after an answer that is neither yes nor no', async () => {
    const run = await confrouter(['-a', join(open(['A']), 'template.json'), '--tar', tiny, '--outraw'], 'perhaps\ny\n')
    expect(run.stdout.split('environment variable A').length).toBe(3)
    expect(run.stdout).toContain('"pattern":"A=.*"')
  })

  it('are errors with --no-input, whatever stdin holds', async () => {
    const run = await confrouter(['-a', join(open(['A']), 'template.json'), '--tar', tiny, '--no-input'], 'y\n')
    expect([run.code, run.stdout]).toEqual([1, ''])
    expect(run.stderr).toContain('nothing says which values the environment variable A may have')
    expect(run.stderr).toContain('with --no-input nobody is asked')
    expect(run.stderr).toContain('--approve-wildcards: any value at all')
    // Neither was stdin read, nor would it help to write to it.
    expect(run.stderr).not.toContain('stdin')
    const ended = await confrouter(['-a', join(open(['A']), 'template.json'), '--tar', tiny], '')
    expect(ended.stderr).toContain('stdin ended without an answer')
  })

  it('are on stderr with --json, whose stdout is one document', async () => {
    const run = await confrouter(['-a', join(open(['A']), 'template.json'), '--tar', tiny, '--json'], 'y\n')
    expect(run.stderr).toContain('environment variable A (y/n): ')
    expect(JSON.parse(run.stdout)).toMatchObject({
      ok: true,
      command: 'policy',
      differs: false,
      groups: [{ written: true }]
    })
  })

  it('let one group keep its policy while another gets one, and print the hash of that one alone', async () => {
    const folder = folderOf({ 'template.json': template([container()], [container()]) })
    const file = join(folder, 'template.json')
    await confrouter(['-a', file, '--tar', tiny])
    const before = policiesIn(file)
    const run = await confrouter(['-a', file, '--tar', tiny, '--disable-stdio'], 'n\ny\n')
    const after = policiesIn(file)
    expect(after[0]).toBe(before[0])
    expect(after[1]).not.toBe(before[1])
    expect(run.stdout.match(/[0-9a-f]{64}/g)).toEqual([sha256(after[1]!)])
  })

  it('leave the file as it was when the second of two has no answer', async () => {
    const folder = folderOf({ 'template.json': template([container()], [container()]) })
    const file = join(folder, 'template.json')
    await confrouter(['-a', file, '--tar', tiny])
    const before = readFileSync(file, 'utf8')
    const run = await confrouter(['-a', file, '--tar', tiny, '--disable-stdio'], 'y\n')
    expect(run.code).toBe(1)
    expect(readFileSync(file, 'utf8')).toBe(before)
  })
})

describe('the flags of policy -a', () => {
  it.each([
    [['-a', 'a.json', '--image', 'b'], 'usage.conflict'],
    [['-a', 'a.json', '--outraw', '--print-policy'], 'usage.conflict'],
    [['-a', 'a.json', '--disable-stdio', '--enable-stdio'], 'usage.conflict'],
    [['-a', 'a.json', '--fragments-json', 'f.json'], 'usage.conflict'],
    [['--image', 'a', '--diff'], 'usage.conflict'],
    [['--image', 'a', '-p', 'p.json'], 'usage.conflict'],
    [['--image', 'a', '--print-existing-policy'], 'usage.conflict'],
    [['-a', '/nowhere/template.json'], 'usage.file-unreadable'],
    [['-a', join(vectors, 'images', 'tiny-docker.tar')], 'policy.file'],
    [['-a', join(cases, 'default', 'template.in.json'), '--tar', '/nowhere/map.json'], 'usage.file-unreadable'],
    [['-a', join(cases, 'default', 'template.in.json'), '--infrastructure-svn', 'x'], 'policy.svn']
  ])('refuses %j', async (args, code) => {
    const run = await confrouter(args)
    expect([run.code, run.stdout]).toEqual([1, ''])
    expect(run.stderr).toContain(`[${code}]`)
  })

  it('may be joined, as those of acipolicygen may, and have nothing to do with --no-input', async () => {
    const file = join(cases, 'default', 'template.in.json')
    const maps = ['--tar', join(folderOf({ 'map.json': '{}' }), 'map.json'), '--outraw', '--no-input']
    const expected = await confrouter(['-a', file, ...maps], '', 'published')
    expect(expected.code).toBe(0)
    for (const args of [[`-a${file}`], [`--template-file=${file}`], ['-ya', file]]) {
      expect((await confrouter([...args, ...maps], '', 'published')).stdout).toBe(expected.stdout)
    }
    const input = await confrouter([
      '-i',
      join(cases, 'input-json', 'input.json'),
      '--tar',
      tiny,
      '--outraw',
      '--no-input'
    ])
    expect([input.code, input.stdout.includes('"working_dir":"/wd"')]).toEqual([0, true])
  })

  it('are those of one form: the flags of the other are not known', async () => {
    for (const args of [
      ['-a', 'template.json', '--config', 'confrouter.yaml'],
      ['-a', 'template.json', '--yes'],
      ['-a', 'template.json', '-v'],
      ['--outraw'],
      ['--approve-wildcards']
    ]) {
      const run = await confrouter(args)
      expect([args, run.code]).toEqual([args, 2])
      expect(run.stderr).toContain('unknown option')
    }
  })

  it('add our own rules and refusals only when they are asked for', async () => {
    const folder = folderOf({ 'template.json': template([container()]) })
    const print = (...more: readonly string[]) =>
      confrouter(['-a', join(folder, 'template.json'), '--tar', tiny, '--outraw', ...more])
    expect((await print()).stdout).not.toContain('IMDS_ENDPOINT')
    expect((await print('--identity-endpoint-rules')).stdout).toContain('"IMDS_ENDPOINT=.+"')
    const plain = await print('--warn-missing-parents', '--refuse-null-command')
    expect(plain).toMatchObject({ code: 0, stdout: (await print()).stdout })
  })

  it('take one subject, and a manifest is one', async () => {
    const run = await confrouter(['-a', 'template.json', '--virtual-node-yaml', 'pod.yaml'])
    expect(run.code).toBe(1)
    expect(run.stderr).toContain('two of -a, --image, -i and --virtual-node-yaml')
  })

  it('ask before the policy of a pod is overwritten, and then keep it or not', async () => {
    const pod = readFileSync(join(cases, 'virtual-node-yaml', 'pod.out.yaml'), 'utf8')
    const folder = folderOf({ 'pod.yaml': pod })
    const args = ['--virtual-node-yaml', join(folder, 'pod.yaml'), '--tar', tiny]
    expect((await confrouter([...args, '--diff'])).stdout).toBe('Existing policy and Template match\n')
    expect((await confrouter(args, 'n\n')).stdout).toContain('pod "p" in the YAML file? (y/n)')
    expect(readFileSync(join(folder, 'pod.yaml'), 'utf8')).toBe(pod)
    expect((await confrouter(args, 'y\n')).code).toBe(0)
    expect(readFileSync(join(folder, 'pod.yaml'), 'utf8')).toBe(
      readFileSync(join(cases, 'virtual-node-yaml', 'pod.out.2x.yaml'), 'utf8')
    )
  })

  it('are told by the help of the other form', async () => {
    expect((await confrouter(['--help'])).stdout).toContain('confrouter policy -a template.json --help')
    expect((await confrouter(['-a', 't', '--help'])).stdout).toContain('-y, --approve-wildcards')
    expect((await confrouter(['--help'])).stdout).toContain('-y, --yes')
  })
})

describe('policy -a with a real registry', () => {
  const tar = tarFile([{ name: 'app', content: 'app' }])
  const blobs = new Blobs()
  const image = blobs.image([{ tar }])
  const index = blobs.index([blobs.image([{ tar }], { architecture: 'arm64' }), image])
  const foreign = blobs.image([{ tar }], { architecture: 'arm64' })
  let registry: RegistryServer
  let environment: Environment
  beforeAll(async () => {
    const tags = { 1: image.digest, list: index.digest, foreign: foreign.digest }
    registry = await RegistryServer.start({ blobs, tags, login: 'basic' })
    const auth = Buffer.from(`${user}:${password}`).toString('base64')
    environment = {
      DOCKER_CONFIG: folderOf({ 'config.json': JSON.stringify({ auths: { [registry.host]: { auth } } }) })
    }
  })
  afterAll(() => registry.close())

  const print = (name: string, variables: Environment) =>
    confrouter(['--image', `${registry.host}/o/a${name}`, '--outraw'], '', variables)

  it('reads by tag, by digest and from an index, with the credentials of docker', async () => {
    const { rootHash } = await layerRootHash(chunks(tar))
    for (const name of [':1', ':list', `@${image.digest}`, `:gone@${image.digest}`]) {
      const run = await print(name, environment)
      expect([run.code, run.stdout.includes(`"layers":["${rootHash}"]`)]).toEqual([0, true])
      expect(run.stdout).toContain(`"id":"${registry.host}/o/a${name}"`)
      expect(run.stdout).toContain('"command":["amd64"]')
    }
  })

  it.each([
    ['without a login', ':1', false, 'registry.not-logged-in'],
    ['for a tag that is not there', ':2', true, 'image.not-found'],
    ['for another platform alone', ':foreign', true, 'image.unsupported']
  ])('prints nothing %s', async (_what, name, isLoggedIn, code) => {
    const run = await print(name, isLoggedIn ? environment : { DOCKER_CONFIG: folderOf({}) })
    expect([run.code, run.stdout]).toEqual([1, ''])
    expect(run.stderr).toContain(`[${code}]`)
  })
})

describe('policy --root-hash', () => {
  const layers = join(vectors, 'layers')
  const known = JSON.parse(readFileSync(join(layers, 'layers.json'), 'utf8')) as readonly {
    readonly file: string
    readonly root_hash?: string
  }[]
  const good = known.filter(({ file, root_hash }) => root_hash !== undefined && existsSync(join(layers, file)))

  it('prints the hash of each layer, one a line', async () => {
    const run = await confrouter(['--root-hash', ...good.map(({ file }) => join(layers, file))])
    expect(good.length).toBeGreaterThan(20)
    expect(run).toMatchObject({ code: 0, stdout: good.map(({ root_hash }) => `${root_hash}\n`).join('') })
  })

  it('is the same for the plain tar, and with --json names the file', async () => {
    const layer = good[0]!
    const file = join(folderOf({}), 'layer.tar')
    writeFileSync(file, gunzipSync(readFileSync(join(layers, layer.file))))
    const run = await confrouter(['--root-hash', file, '--json'])
    expect(JSON.parse(run.stdout)).toMatchObject({ ok: true, layers: [{ file, rootHash: layer.root_hash }] })
  })

  it.each([
    ['/nowhere/layer.tar', 2, 'usage.file-unreadable'],
    [vectors, 2, 'usage.file-unreadable'],
    [join(layers, 'err-bad-checksum.tar.gz'), 3, 'image.layer'],
    [join(layers, 'layers.json'), 3, 'image.layer']
  ])('refuses %s and prints nothing', async (file, code, error) => {
    const layer = good[0]!
    const run = await confrouter(['--root-hash', join(layers, layer.file), file])
    expect([run.code, run.stdout]).toEqual([code, ''])
    expect(run.stderr).toContain(`[${error}]`)
  })
})

const tiny = join(vectors, 'images', 'tiny-docker.tar')

interface Template {
  readonly resources: readonly { readonly properties: { confidentialComputeProperties: { ccePolicy: string } } }[]
}

function container(image = 'localhost/tiny:1', environmentVariables: readonly object[] = []): object {
  return { name: image.replace(/\W+/g, '-'), properties: { image, environmentVariables } }
}

function template(...groups: readonly (readonly object[])[]): string {
  const resources = groups.map((containers, index) => ({
    type: 'Microsoft.ContainerInstance/containerGroups',
    name: `group-${index}`,
    properties: { containers, confidentialComputeProperties: { ccePolicy: '' } }
  }))
  return JSON.stringify({ resources })
}

function policiesIn(file: string): readonly string[] {
  const { resources } = JSON.parse(readFileSync(file, 'utf8')) as Template
  return resources.map(({ properties }) => properties.confidentialComputeProperties.ccePolicy)
}

function sha256(base64: string): string {
  return createHash('sha256').update(Buffer.from(base64, 'base64')).digest('hex')
}

function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'confrouter-policy-'))
  folders.push(folder)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

function expectedOutput(name: string, infix: string): string {
  return read(name, has(name, `stdout${infix}.txt`) ? `stdout${infix}.txt` : 'stdout.txt')
}

interface CaseOptions {
  readonly frame: '0.10.0' | '0.11.0'
  readonly more?: readonly string[]
}

/** Runs the command of a case in a copy of its folder that has the images beside it. */
async function runCase(name: string, { frame, more = [] }: CaseOptions) {
  const folder = mkdtempSync(join(tmpdir(), 'confrouter-policy-'))
  folders.push(folder)
  cpSync(join(cases, name), folder, { recursive: true })
  if (has(name, 'template.in.json')) cpSync(join(cases, name, 'template.in.json'), join(folder, 'template.json'))
  symlinkSync(join(vectors, 'images'), join(folder, 'images'))
  const meta = JSON.parse(read(name, 'meta.json')) as Meta
  const args = meta.command
    .replace('az confcom acipolicygen ', '')
    .split(' ')
    .map((argument) => (/\.(?:json|tar|yaml)$/.test(argument) ? join(folder, argument) : argument))
  const hasDocker = name.startsWith('docker-')
  return {
    folder,
    ...(await confrouter(
      [...args, '--policy-api', frame, ...more],
      meta.stdin ?? '',
      hasDocker ? 'published' : 'unreachable'
    ))
  }
}

type Environment = Readonly<Record<string, string>>

/** With an environment registries are called by the real client, which takes docker's credentials from it. */
async function confrouter(
  args: readonly string[],
  stdin = '',
  registries: 'unreachable' | 'published' | Environment = 'unreachable'
) {
  const streams = {
    stdin: Readable.from(stdin === '' ? [] : [stdin]),
    stdout: new PassThrough(),
    stderr: new PassThrough()
  }
  const standIn = { openRegistryImage: registries === 'published' ? openPublished : noRegistry }
  const code = await main({
    argv: ['policy', ...args],
    ...(streams as unknown as Pick<Parameters<typeof main>[0], 'stdin' | 'stdout' | 'stderr'>),
    signal: new AbortController().signal,
    ...(typeof registries === 'object' ? { environment: registries } : { environment: {}, ...standIn })
  })
  return { code, stdout: String(streams.stdout.read() ?? ''), stderr: String(streams.stderr.read() ?? '') }
}

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve()
  yield bytes
}

/** Stands for the registries of two images; the digest that a template pins is not that of the archive. */
async function openPublished(reference: string): Promise<Image> {
  const digest = `sha256:${'ab'.repeat(32)}` as OciDigest
  const image = reference.includes('aci/skr')
    ? await openArchiveImage(join(vectors, 'images', 'skr.tar'), 'mcr.microsoft.com/aci/skr:2.12')
    : await openArchiveImage(join(vectors, 'images', 'router.tar'), 'ghcr.io/example/inference-router:1.4.2')
  return { ...image, reference, digest }
}

function noRegistry(reference: string): Promise<Image> {
  return Promise.reject(new ImageError('registry.unreachable', `there is no registry for ${reference}`))
}

function read(name: string, file: string): string {
  return readFileSync(join(cases, name, file), 'utf8')
}

function has(name: string, file: string): boolean {
  return existsSync(join(cases, name, file))
}
