import { generateKeyPairSync } from 'node:crypto'
import { mkdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { RsaPublicJwk } from '../../../src/seal/rsa-key.js'
import { sealSecrets } from '../../../src/seal/secrets.js'
import { expectedOfTests, signedSecrets, testSigner } from '../seal/signed-bundle.js'
import { testKey, vectorKey } from '../seal/test-keys.js'
import { type Answer, Cleanup, fakeSidecar, oneProvider, post, readAll, serve, startRouter, until } from './harness.js'
import { bundleRouter, emptyFolder, startProcess } from './router-process.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

let recipient: RsaPublicJwk
beforeAll(async () => {
  recipient = (await vectorKey()).publicJwk
})

const seal = (version: number, key = `key-${version}`, to = recipient) =>
  signedSecrets({ values: { openai: key }, version, recipient: to })

type Options = Parameters<typeof startRouter>[2]

async function routerWithFile(text: string | undefined, options: Options = {}, environment = {}) {
  const [sidecar, folder] = await Promise.all([fakeSidecar(cleanup), emptyFolder(cleanup)])
  const file = join(folder, 'secrets')
  if (text !== undefined) await writeFile(file, text)
  const router = await startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_SECRETS_FILE: file, ...environment },
    { ...options, pace: { secretsMs: 10, ...options.pace } }
  )
  const key = () => router.context.state.providerKeys.get('openai')
  const lines = (message: string): Answer[] =>
    router
      .logText()
      .split('\n')
      .filter((line) => line.includes(message))
      .map((line) => JSON.parse(line))
  /** Waits for one more refusal; gives its code. */
  const refused = async (act: () => Promise<void>): Promise<string> => {
    const before = lines('secrets not replaced').length
    await act()
    await until(() => lines('secrets not replaced').length > before)
    return lines('secrets not replaced').at(-1).code
  }
  /** As those do it who know that somebody may be reading. */
  const replace = async (content: string) => {
    await writeFile(`${file}.new`, content)
    await rename(`${file}.new`, file)
  }
  return { ...router, sidecar, folder, file, key, lines, refused, replace }
}

describe('the file with the sealed secrets', () => {
  it('is read at the start, in place of the variable', async () => {
    const router = await routerWithFile(`${await seal(3)}\n`, {}, { OPENAI_API_KEY: 'clear', FAL_KEY: 'fal' })
    expect([...router.context.state.providerKeys]).toEqual([
      ['openai', 'key-3'],
      ['fal', 'fal']
    ])
    expect(router.control.report()).toContainEqual(
      expect.objectContaining({ name: 'confrouter_secrets_version', values: [{ labels: {}, value: 3 }] })
    )
  })

  it('is waited for', async () => {
    const router = await routerWithFile(undefined, { untilReady: false })
    await until(() => router.context.state.difficulty !== undefined)
    expect(router.context.state).toMatchObject({ stage: 'secrets', difficulty: { code: 'secrets.file', final: false } })
    await router.replace(await seal(1))
    await until(() => router.context.state.stage === 'ready')
    expect(router.key()).toBe('key-1')
  })

  it('is read again when it changes, whether it is replaced or written to', async () => {
    const router = await routerWithFile(await seal(1))
    await router.replace(await seal(2))
    await until(() => router.key() === 'key-2')
    await writeFile(router.file, await seal(3))
    await until(() => router.key() === 'key-3')
    expect(router.lines('secrets opened').map(({ version, count }) => [version, count])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1]
    ])
    for (const key of ['key-1', 'key-2', 'key-3']) expect(router.logText()).not.toContain(key)
  })

  it('may be changed as Kubernetes does it, by a link above it', async () => {
    const router = await routerWithFile(await seal(1))
    const { folder, file } = router
    const publish = async (version: number) => {
      await mkdir(join(folder, `..${version}`))
      await writeFile(join(folder, `..${version}`, 'secrets'), await seal(version))
      await symlink(`..${version}`, join(folder, '..data_tmp'))
      await rename(join(folder, '..data_tmp'), join(folder, '..data'))
    }
    await publish(2)
    await unlink(file)
    await symlink(join('..data', 'secrets'), file)
    await until(() => router.key() === 'key-2')
    await publish(3)
    await rm(join(folder, '..2'), { recursive: true })
    await until(() => router.key() === 'key-3')
  })

  it('does not go back to a lower version, nor to other keys of the same one', async () => {
    const router = await routerWithFile(await seal(5))
    const lower = await seal(4)
    const other = await seal(5, 'other')
    expect(await router.refused(() => router.replace(lower))).toBe('secrets.rollback')
    expect(router.lines('secrets not replaced').at(-1).cause).toBe(
      'the sealed secrets have version 4, and version 5 is in use'
    )
    expect(await router.refused(() => router.replace(other))).toBe('secrets.same-version')
    expect(router.key()).toBe('key-5')
    await router.replace(await seal(6))
    await until(() => router.key() === 'key-6')
  })

  it('says nothing of the same secrets sealed again', async () => {
    const router = await routerWithFile(await seal(5))
    await router.replace(await seal(5))
    await router.replace(await seal(6))
    await until(() => router.key() === 'key-6')
    expect(router.lines('secrets not replaced')).toEqual([])
  })

  it.each<[string, string | (() => Promise<string>), string]>([
    ['is no bundle', 'MARKER', 'secrets.unsigned'],
    [
      'is sealed and nobody signed it',
      () => sealSecrets({ values: { openai: 'MARKER' }, version: 2, recipient }),
      'secrets.unsigned'
    ],
    [
      'is signed by another key',
      () => signedSecrets({ values: { openai: 'MARKER' }, version: 2, recipient, signer: testSigner('mallory') }),
      'secrets.foreign-signer'
    ],
    [
      'is for another deployment',
      () => signedSecrets({ values: { openai: 'MARKER' }, version: 2, recipient, deployment: 'staging' }),
      'secrets.other-deployment'
    ],
    ['is empty', '\n', 'secrets.file'],
    ['is too large', 'MARKER'.repeat(30_000), 'secrets.file'],
    ['is cut off', async () => (await seal(2)).slice(0, -10), 'secrets.bad-signature'],
    [
      'is for another key',
      async () =>
        seal(2, 'MARKER', (await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)).publicJwk),
      'secrets.not-opened'
    ]
  ])('keeps what is in use when it %s, and goes on after that', async (_, content, code) => {
    const router = await routerWithFile(await seal(1))
    const text = typeof content === 'string' ? content : await content()
    expect(await router.refused(() => router.replace(text))).toBe(code)
    expect(router.key()).toBe('key-1')
    expect(router.logText()).not.toContain('MARKER')
    await router.replace(await seal(2))
    await until(() => router.key() === 'key-2')
    // Once for each change, and not at every look.
    expect(router.lines('secrets not replaced')).toHaveLength(1)
  })

  it.each([
    ['is not there any more', (file: string) => unlink(file)],
    [
      'is a folder',
      async (file: string) => {
        await unlink(file)
        await mkdir(file)
      }
    ]
  ])('keeps what is in use when it %s', async (_, change) => {
    const router = await routerWithFile(await seal(1))
    expect(await router.refused(() => change(router.file))).toBe('secrets.file')
    expect(router.key()).toBe('key-1')
    expect(router.context.state.stage).toBe('ready')
  })

  it('is opened again with a new version of the key, also when it came before that', async () => {
    const router = await routerWithFile(await seal(1), {}, { KEY_REFRESH_SECONDS: '1' })
    const next = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    const sealed = await seal(2, 'for-the-next', next.publicJwk)
    expect(await router.refused(() => router.replace(sealed))).toBe('secrets.not-opened')
    router.sidecar.key = next.privateKey
    await until(() => router.key() === 'for-the-next')
    expect(router.context.state.active?.keys.kid).toBe(next.kid)
  })
})

describe('CONFROUTER_SECRETS', () => {
  it.each<[string, string, () => Promise<string>, RegExp]>([
    [
      'nobody signed them',
      'secrets.unsigned',
      () => sealSecrets({ values: { openai: 'x' }, version: 1, recipient }),
      /not signed, so anybody can have made them/
    ],
    [
      'another key signed them',
      'secrets.foreign-signer',
      () => signedSecrets({ values: { openai: 'x' }, version: 1, recipient, signer: testSigner('mallory') }),
      new RegExp(`not by ${expectedOfTests.signer}, which was measured`)
    ],
    [
      'they are of another deployment',
      'secrets.other-deployment',
      () => signedSecrets({ values: { openai: 'x' }, version: 1, recipient, deployment: 'staging' }),
      /for the deployment "staging", and this one is "router-test"/
    ],
    [
      'they were altered',
      'secrets.bad-signature',
      async () => `${(await seal(1)).split('.').slice(0, 2).join('.')}.${(await seal(2)).split('.')[2]}`,
      /they were altered/
    ]
  ])('keep the router from starting when %s, and it says so', async (_, code, bundle, cause) => {
    const sidecar = await fakeSidecar(cleanup)
    const environment = { SKR_URL: sidecar.url, CONFROUTER_SECRETS: await bundle(), FAL_KEY: 'clear' }
    const router = await startRouter(cleanup, environment, { untilReady: false, pace: { refusedMs: 5000 } })
    await until(() => router.context.state.difficulty !== undefined)
    const response = await fetch(`${router.url}/readyz`)
    const [status, json] = [response.status, await response.json()]
    expect({ status, stage: json.stage, code: json.code }).toEqual({ status: 503, stage: 'secrets', code })
    expect(json.cause).toMatch(cause)
    expect(router.context.state.providerKeys.size).toBe(0)
  })

  it('is opened again with a new version of the key, and what it had is kept if that fails', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const environment = { SKR_URL: sidecar.url, CONFROUTER_SECRETS: await seal(1), KEY_REFRESH_SECONDS: '1' }
    const router = await startRouter(cleanup, environment)
    sidecar.key = (await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)).privateKey
    await until(() => router.logText().includes('secrets not replaced'))
    expect(router.context.state.providerKeys.get('openai')).toBe('key-1')
  })
})

describe('SIGHUP', () => {
  it.each(['1', '2'])('has the file read at once, by %s process(es)', async (workers) => {
    const keys: unknown[] = []
    const [bundle, sidecar, folder, origin] = await Promise.all([
      bundleRouter(),
      fakeSidecar(cleanup),
      emptyFolder(cleanup),
      serve(cleanup, (request, response) => {
        keys.push(request.headers.authorization)
        void readAll(request).then(() => response.end('{}'))
      })
    ])
    const file = join(folder, 'secrets')
    await writeFile(file, await seal(1))
    const router = await startProcess(cleanup, bundle, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(origin).replace('"test"', '"openai"'),
      CONFROUTER_SECRETS_FILE: file,
      CONFROUTER_WORKERS: workers
    })
    const url = await router.url()
    await until(() => router.output().includes('"msg":"ready"'), 10_000)
    await writeFile(file, await seal(2))
    router.child.kill('SIGHUP')
    const startedAt = performance.now()
    await until(() => router.output().includes('"version":2'))
    // Long before the next look at the file.
    expect(performance.now() - startedAt).toBeLessThan(3000)
    let status = 503
    while (status !== 200) status = (await post(`${url}/v1/chat/completions`, { model: 'm' })).status
    while (keys.at(-1) !== 'Bearer key-2') await post(`${url}/v1/chat/completions`, { model: 'm' })
    expect(router.output()).not.toMatch(/key-1|key-2/)
  })
})
