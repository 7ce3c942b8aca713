import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { main } from '../../src/cli.js'
import { layerTar } from '../../src/image/layer-tar.js'
import { imageFacts, openRegistryImage, pushLayoutImage } from '../../src/image/index.js'
import { Blobs } from '../unit/image/oci-layout.js'
import { startRealRegistry, type RealRegistry } from '../unit/image/real-registry.js'
import { describeWith, temporaryFolder } from '../unit/image/support.js'

/** bcrypt of `p:ss`; docker-registry reads no other form. */
const htpasswd = 'operator:$2b$04$cX/C86dlq0Ts/Oou7eqUNep52/yrbP97L/yXh5BLny6wCIOGklnnC\n'

const root = join(import.meta.dirname, '..', '..')
const checkSchema = new Ajv2020({ strict: false }).compile(
  JSON.parse(readFileSync(join(root, 'schema/output/build-check.schema.json'), 'utf8'))
)

/** The real command in this process, in a folder of its own, with what docker knows of registries. */
function commandIn(folder: string) {
  const run = async (...args: readonly string[]) => {
    const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
    const code = await main({
      argv: [...args, '--state-dir', join(folder, 'state')],
      ...(streams as unknown as Pick<Parameters<typeof main>[0], 'stdin' | 'stdout' | 'stderr'>),
      environment: { PATH: process.env['PATH'], HOME: folder, DOCKER_CONFIG: join(folder, 'docker') },
      signal: new AbortController().signal
    })
    const text = (stream: PassThrough) => String(stream.read() ?? '')
    return { code, stdout: text(streams.stdout), stderr: text(streams.stderr) }
  }
  return {
    run,
    async json(...args: readonly string[]) {
      const { code, stdout } = await run(...args, '--json')

      return { code, document: JSON.parse(stdout) }
    }
  }
}

/** A base of one layer in a registry, by its digest. */
async function publishBase(host: string, content: string, tag: string): Promise<string> {
  const blobs = new Blobs()
  const tar = layerTar([{ path: 'usr/local/bin/node', mode: 0o755, content: Buffer.from(content) }])
  const manifest = blobs.image([{ tar }])
  const reference = `${host}/library/node:${tag}`
  const layout = blobs.writeLayout(temporaryFolder(), [
    { ...manifest, annotations: { 'io.containerd.image.name': reference } }
  ])
  await pushLayoutImage({ layout, reference, fetch })
  return `${reference}@${manifest.digest}`
}

describeWith(['docker-registry', 'skopeo'], 'confrouter build with the native builder for Azure', () => {
  const folder = temporaryFolder()
  const command = commandIn(folder)
  const { run } = command
  const json = (...args: readonly string[]) => command.json(...args)
  const configFile = join(folder, 'confrouter.yaml')
  let registry: RealRegistry
  let base: string
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  let built: { code: number; document: any }

  const configure = (image: string) =>
    writeFileSync(
      configFile,
      `subscription: 11111111-2222-3333-4444-555555555555\nimage: { repository: "${registry.host}/o/router", builder: native, ${image} }\n`
    )

  beforeAll(async () => {
    registry = await startRealRegistry(temporaryFolder())
    base = await publishBase(registry.host, 'node of the base\n', '24')
    configure(`base: "${base}"`)
  })
  afterAll(() => registry.stop())

  it('cannot check what was never built', async () => {
    const { code, document } = await json('build', '--check', '--config', configFile)
    expect([code, document.error.code]).toEqual([3, 'builder.nothing-recorded'])
  })

  it('puts the program on the base and pushes it, without docker', async () => {
    built = await json('build', '--yes', '--config', configFile)
    expect([built.code, built.document.changed]).toEqual([0, true])
    const inspected = JSON.parse(
      execFileSync('skopeo', ['inspect', '--tls-verify=false', `docker://${built.document.image as string}`]).toString()
    )
    expect(inspected).toMatchObject({
      Digest: built.document.imageDigest,
      Layers: { length: 2 },
      Labels: {
        'org.opencontainers.image.base.name': base.slice(0, base.indexOf('@')),
        'org.opencontainers.image.base.digest': base.slice(base.indexOf('@') + 1),
        'org.opencontainers.image.source': expect.stringContaining('confrouter')
      }
    })
    const image = await openRegistryImage({ reference: built.document.image as string, fetch })
    expect(image.config).toMatchObject({
      Entrypoint: ['/usr/local/bin/node', '/app/router.cjs'],
      User: '65532:65532',
      WorkingDir: '/app'
    })
    expect((await imageFacts(image)).warnings).toEqual([])
    expect(JSON.parse(readFileSync(join(folder, 'state/policy/release.json'), 'utf8')).image).toEqual({
      reference: built.document.image,
      digest: built.document.imageDigest,
      builder: 'native',
      base
    })
  }, 60_000)

  it('does nothing the second time', async () => {
    const { code, document } = await json('build', '--yes', '--config', configFile)
    expect([code, document.changed, document.image]).toEqual([0, false, built.document.image])
  }, 60_000)

  it('--check finds the same image again, and release.json in agreement', async () => {
    const { code, document } = await json('build', '--check', '--config', configFile)
    expect(document).toMatchObject({
      check: { recorded: built.document.image, digest: built.document.imageDigest, same: true, warnings: [] }
    })
    expect(code).toBe(0)
    expect(checkSchema(document)).toBe(true)
    const compared = document.check.comparisons.map(({ what }: { what: string }) => what)
    expect(compared).toEqual(
      expect.arrayContaining(['image.digest', 'layers[1]', 'config.User', 'release.json: image.digest'])
    )
    const { stdout } = await run('build', '--check', '--config', configFile)
    expect(stdout).toContain(`the same: ${built.document.image as string}`)
  }, 60_000)

  it('--check shows what differs, and exits with 10', async () => {
    const other = await publishBase(registry.host, 'another node\n', '25')
    configure(`base: "${other}"`)
    const { code, document } = await json('build', '--check', '--config', configFile)
    expect(code).toBe(10)
    expect(checkSchema(document)).toBe(true)
    const wrong = document.check.comparisons.filter(({ same }: { same: boolean }) => !same)
    expect(wrong.map(({ what }: { what: string }) => what)).toEqual([
      'image.digest',
      'layers[0]',
      'label org.opencontainers.image.base.digest',
      'label org.opencontainers.image.base.name',
      'release.json: image.digest',
      'release.json: layers[0].diffIds'
    ])
    const { stdout, code: again } = await run('build', '--check', '--config', configFile)
    expect(again).toBe(10)
    expect(stdout).toMatch(/layers\[0\]\n {4}recorded {2}sha256:[0-9a-f]{64}\n {4}built {5}sha256:/)
    expect(stdout).toContain('different: ')
    configure(`base: "${base}"`)
  }, 60_000)

  it('says when the base is not there, and records nothing', async () => {
    const state = readFileSync(join(folder, 'state/state.json'), 'utf8')
    configure(`base: "${base.slice(0, -64)}${'0'.repeat(64)}"`)
    const { code, document } = await json('build', '--yes', '--config', configFile)
    expect([code, document.error.code]).toEqual([3, 'image.not-found'])
    expect(readFileSync(join(folder, 'state/state.json'), 'utf8')).toBe(state)
    configure(`base: "${base}"`)
  }, 60_000)

  it('takes the base from a layout or an archive beside the configuration, to the same digest', async () => {
    execFileSync('skopeo', [
      'copy',
      '--quiet',
      '--src-tls-verify=false',
      '--preserve-digests',
      `docker://${base.replace(/:24@/, '@')}`,
      `oci:${folder}/node:24`
    ])
    execFileSync('tar', ['--create', '--file', join(folder, 'node.tar'), '--directory', join(folder, 'node'), '.'])
    for (const from of ['./node', 'node.tar']) {
      configure(`base: "${base}", baseFrom: "${from}"`)
      const { code, document } = await json('build', '--check', '--config', configFile)
      expect([from, code, document.check?.digest]).toEqual([from, 0, built.document.imageDigest])
    }
    configure(`base: "${base}", baseFrom: ./nowhere`)
    const { code, document } = await json('build', '--check', '--config', configFile)
    expect([code, document.error.code]).toEqual([3, 'image.not-found'])
    configure(`base: "${base}"`)
  }, 60_000)
})

describeWith(['docker-registry'], 'confrouter build and a registry that wants a login', () => {
  const folder = temporaryFolder()
  const command = commandIn(folder)
  const json = (...args: readonly string[]) => command.json(...args)
  let registry: RealRegistry
  let open: RealRegistry
  const configFile = join(folder, 'confrouter.yaml')

  beforeAll(async () => {
    const data = temporaryFolder()
    writeFileSync(join(data, 'htpasswd'), htpasswd)
    registry = await startRealRegistry(data, { htpasswd: { realm: 'test', path: join(data, 'htpasswd') } })
    open = await startRealRegistry(temporaryFolder())
    const base = await publishBase(open.host, 'node\n', '24')
    writeFileSync(
      configFile,
      `subscription: 11111111-2222-3333-4444-555555555555\nimage: { repository: "${registry.host}/o/router", builder: native, base: "${base}" }\n`
    )
    mkdirSync(join(folder, 'docker'))
  })
  afterAll(() => {
    registry.stop()
    open.stop()
  })

  const logIn = (login: string) =>
    writeFileSync(
      join(folder, 'docker/config.json'),
      JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from(login).toString('base64') } } })
    )

  it('is told to log in, and shows no password, when there is none or a wrong one', async () => {
    for (const login of [undefined, 'operator:wrong-password']) {
      if (login !== undefined) logIn(login)
      const { code, document } = await json('build', '--yes', '--config', configFile)
      expect([code, document.error.code]).toEqual([4, 'registry.not-logged-in'])
      expect(document.error.next).toEqual([`docker login ${registry.host}`])
      expect(JSON.stringify(document)).not.toContain('wrong-password')
    }
  }, 60_000)

  it('pushes and reads with the login that docker has', async () => {
    logIn('operator:p:ss')
    const { code, document } = await json('build', '--yes', '--config', configFile)
    expect([code, document.changed]).toEqual([0, true])
    expect((await json('build', '--check', '--config', configFile)).document.check.same).toBe(true)
  }, 60_000)
})
