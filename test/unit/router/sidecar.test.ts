import { generateKeyPairSync } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import { utf8 } from '../../../src/base/encoding.js'
import { readCcePolicy } from '../../../src/router/cce-policy.js'
import { readReleasedKey } from '../../../src/router/released-key.js'
import { createSidecar, type Sidecar } from '../../../src/router/sidecar.js'
import { vectorKey } from '../seal/test-keys.js'
import { Cleanup, fakeSidecar, serve } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

function connect(url: string, timeoutMs = 2000): Sidecar {
  const sidecar = createSidecar({ url, maaHost: 'maa.example', vaultHost: 'v.example', keyName: 'default', timeoutMs })
  cleanup.add(() => sidecar.close())
  return sidecar
}

describe('createSidecar', () => {
  it('sends host names, the name of the key and standard base64', async () => {
    const fake = await fakeSidecar(cleanup)
    const sidecar = connect(fake.url)
    const runtimeData = utf8.encode('{"confrouter":"???>>>"}')
    await sidecar.status()
    expect(await sidecar.releaseKey()).toMatchObject({ kty: 'RSA' })
    expect(await sidecar.attest(runtimeData)).toMatch(/^eyJ/)
    expect((await sidecar.collect(runtimeData)).report).toHaveLength(1184)
    const data = Buffer.from(runtimeData).toString('base64')
    expect(data).toMatch(/[+/=]/)
    expect(fake.requests).toEqual([
      { path: '/status', body: {} },
      { path: '/key/release', body: { maa_endpoint: 'maa.example', akv_endpoint: 'v.example', kid: 'default' } },
      { path: '/attest/maa', body: { maa_endpoint: 'maa.example', runtime_data: data } },
      { path: '/attest/combined', body: { runtime_data: data } }
    ])
  })

  it('names itself by the address alone, as a sidecar that browsers must not reach asks for', async () => {
    let seen: IncomingHttpHeaders = {}
    const url = await serve(cleanup, (request, response) => {
      seen = request.headers
      response.end('{"message":"Status OK"}')
    })
    await connect(url).status()
    expect(seen.host).toBe(new URL(url).host)
    expect(seen).not.toHaveProperty('origin')
  })

  it('reads the error of an answer with two documents', async () => {
    const fake = await fakeSidecar(cleanup)
    fake.failures['/attest/maa'] = ['09-maa-runtime-notjson']
    await expect(connect(fake.url).attest(new Uint8Array(1))).rejects.toMatchObject({
      code: 'attest.failed',
      final: true
    })
  })

  it.each([
    ['nothing', 200, '', 'release.failed'],
    ['a page', 502, '<html>', 'release.failed'],
    ['no key', 200, '{"key":7}', 'release.failed'],
    ['a key that is no JSON', 200, '{"key":"MARKER"}', 'release.failed'],
    ['an error with status 200', 200, '{"error":"MARKER","key":"{}"}', 'release.failed'],
    ['too much', 200, `{"key":"${'x'.repeat(1024 ** 2)}"}`, 'sidecar.unreachable']
  ])('fails when the answer is %s, and quotes nothing of it', async (_, status, body, code) => {
    const url = await serve(cleanup, (__, response) => response.writeHead(status).end(body))
    const error = await connect(url)
      .releaseKey()
      .catch((cause: unknown) => cause)
    expect(error).toMatchObject({ name: 'SidecarError', code })
    expect(String(error)).not.toContain('MARKER')
  })

  it.each([
    ['a report of another length', { evidence: 'AAAA', endorsements: 'AAAA', uvm_endorsements: 'AAAA' }],
    ['no endorsements', { evidence: Buffer.alloc(1184).toString('base64') }]
  ])('fails when there is %s', async (_, body) => {
    const url = await serve(cleanup, (__, response) => response.end(JSON.stringify(body)))
    await expect(connect(url).collect(new Uint8Array(1))).rejects.toMatchObject({ code: 'attest.failed' })
  })

  it('fails when there is no token', async () => {
    const url = await serve(cleanup, (__, response) => response.end('{"token":""}'))
    await expect(connect(url).attest(new Uint8Array(1))).rejects.toMatchObject({ code: 'attest.failed' })
  })

  it('does not wait for ever', async () => {
    const url = await serve(cleanup, () => undefined)
    await expect(connect(url, 100).releaseKey()).rejects.toMatchObject({ code: 'sidecar.unreachable', final: false })
  })

  it('says that it is not ready until it is', async () => {
    const url = await serve(cleanup, (_, response) => response.end('{"message":"Status NOT OK"}'))
    await expect(connect(url).status()).rejects.toMatchObject({ code: 'sidecar.not-ready', final: false })
    await expect(connect('http://127.0.0.1:1').status()).rejects.toMatchObject({ code: 'sidecar.unreachable' })
  })
})

describe('readReleasedKey', () => {
  it('gives the thumbprint and the public half', async () => {
    const key = await vectorKey()
    const keys = await readReleasedKey({ ...key.privateKey.export({ format: 'jwk' }), key_ops: ['decrypt'] })
    expect(keys.kid).toBe(key.kid)
    expect(keys.publicJwk).toEqual({ ...key.publicJwk, kid: key.kid })
    expect(keys.hpke.publicKey).toHaveLength(32)
  })

  it('refuses what it could not use, and quotes nothing of it', async () => {
    const good = (await vectorKey()).privateKey.export({ format: 'jwk' })
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ format: 'jwk' })
    const { d: _, ...publicHalf } = good
    const bad = [null, 'x', { kty: 'EC' }, { kty: 'oct', k: 'MARKER' }, { ...good, d: 7 }, publicHalf, small]
    for (const jwk of [...bad, { ...good, n: other.n }]) {
      const error = await readReleasedKey(jwk).catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: 'release.unusable-key', final: true })
      expect(String(error)).not.toContain('MARKER')
    }
  })
})

describe('readCcePolicy', () => {
  it('reads the folder that is named, else the one of the utility VM', async () => {
    const root = await mkdtemp(join(tmpdir(), 'confrouter-'))
    cleanup.add(() => rm(root, { recursive: true }))
    await mkdir(join(root, 'security-context-1234'))
    await mkdir(join(root, 'named'))
    const policy = utf8.encode('package policy\n')
    await writeFile(join(root, 'security-context-1234', 'security-policy-base64'), 'cGFja2FnZSBwb2xpY3kK\n')
    await writeFile(join(root, 'named', 'security-policy-base64'), 'cGFja2FnZSBwb2xpY3kK')
    expect(await readCcePolicy(undefined, root)).toEqual(policy)
    expect(await readCcePolicy(join(root, 'named'), root)).toEqual(policy)
  })

  it('fails when there is none, or it is empty or no base64', async () => {
    const root = await mkdtemp(join(tmpdir(), 'confrouter-'))
    cleanup.add(() => rm(root, { recursive: true }))
    const refused = { code: 'evidence.no-cce-policy', final: true }
    await expect(readCcePolicy(undefined, root)).rejects.toMatchObject(refused)
    await expect(readCcePolicy(join(root, 'missing'), root)).rejects.toMatchObject(refused)
    for (const text of ['', 'a-b_']) {
      await writeFile(join(root, 'security-policy-base64'), text)
      await expect(readCcePolicy(root)).rejects.toMatchObject(refused)
    }
  })
})
