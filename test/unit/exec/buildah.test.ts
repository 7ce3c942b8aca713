import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { buildWithEngine, probeEngine } from '../../../src/exec/index.js'
import { openRegistryImage } from '../../../src/image/index.js'
import { startRealRegistry, type RealRegistry } from '../image/real-registry.js'
import { describeWith, temporaryFolder } from '../image/support.js'

describeWith(['buildah', 'docker-registry'], 'buildWithEngine with the real buildah and a real registry', () => {
  let registry: RealRegistry
  const changed = ['CONTAINERS_REGISTRIES_CONF', 'CONTAINERS_STORAGE_CONF', 'BUILDAH_ISOLATION']
  const before = changed.map((name) => [name, process.env[name]] as const)
  const folder = temporaryFolder()

  beforeAll(async () => {
    registry = await startRealRegistry(folder)
    write('registries.conf', `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`)
    write('storage.conf', `[storage]\ndriver = "vfs"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/graph"\n`)
    process.env['CONTAINERS_REGISTRIES_CONF'] = join(folder, 'registries.conf')
    process.env['CONTAINERS_STORAGE_CONF'] = join(folder, 'storage.conf')
    process.env['BUILDAH_ISOLATION'] = 'chroot'
  })

  afterAll(() => {
    registry.stop()
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  it('is ready', async () => {
    expect(await probeEngine('buildah')).toMatchObject({ outcome: 'ready' })
  })

  it('gives the digest under which the registry has the image, and the same one again', async () => {
    write('Dockerfile', 'FROM scratch\nCOPY program /program\nUSER 65532:65532\nENTRYPOINT ["/program"]\n')
    write('program', '#!/bin/true\n')
    const reference = `${registry.host}/owner/router:1`
    const build = { engine: 'buildah', context: folder, dockerfile: join(folder, 'Dockerfile'), reference } as const
    const { digest } = await buildWithEngine(build)
    const image = await openRegistryImage({ reference, fetch })
    expect(image.digest).toBe(digest)
    expect(image.config).toMatchObject({ Entrypoint: ['/program'], User: '65532:65532' })
    expect(await buildWithEngine(build)).toEqual({ digest })
  })

  it('reports a Dockerfile that does not build', async () => {
    write('Dockerfile', 'FROM scratch\nCOPY missing /\n')
    const dockerfile = join(folder, 'Dockerfile')
    const building = buildWithEngine({
      engine: 'buildah',
      context: folder,
      dockerfile,
      reference: `${registry.host}/o/r:1`
    })
    await expect(building).rejects.toMatchObject({ code: 'builder.failed', why: expect.stringContaining('missing') })
  })

  function write(name: string, text: string): void {
    writeFileSync(join(folder, name), text)
  }
})
