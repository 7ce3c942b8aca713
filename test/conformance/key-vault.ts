import { afterAll, describe, expect, it } from '@jest/globals'
import type { TokenCredential } from '@azure/core-auth'
import { KeyClient } from '@azure/keyvault-keys'
import { call, headersNamed } from './http.js'

export interface KeyVaultTarget {
  /** Of a premium vault without purge protection, in which the caller may manage and purge keys. */
  readonly vaultUri: string
  readonly credential: TokenCredential
  readonly ca: string | undefined
  /** Put before every name of a key; new for each run. */
  readonly prefix: string
  readonly pollMs: number
  /** On loopback the resource of the challenge has another host than the vault. */
  readonly disableChallengeResourceVerification: boolean
}

const authority = 'https://sharedweu.weu.attest.azure.net'
const policy = (hostData: string) => ({
  version: '1.0.0',
  anyOf: [{ authority, allOf: [{ claim: 'x-ms-sevsnpvm-hostdata', equals: hostData }] }]
})
const encoded = (value: unknown) => ({ encodedPolicy: new TextEncoder().encode(JSON.stringify(value)) })

/** What this product relies on in the data plane of a vault. Every key that it makes is purged. */
export function runKeyVaultSuite(name: string, open: () => Promise<KeyVaultTarget>): void {
  describe(`Key Vault: ${name}`, () => {
    let opened: Promise<KeyVaultTarget> | undefined
    const made = new Set<string>()
    const world = async () => {
      const target = await (opened ??= open())
      const tls = target.ca === undefined ? {} : { tlsOptions: { ca: target.ca } }
      const { disableChallengeResourceVerification } = target
      const keys = new KeyClient(target.vaultUri, target.credential, { disableChallengeResourceVerification, ...tls })
      const key = (suffix: string) => {
        made.add(`${target.prefix}${suffix}`)
        return `${target.prefix}${suffix}`
      }
      return { target, keys, key, poll: { intervalInMs: target.pollMs } }
    }
    type World = Awaited<ReturnType<typeof world>>
    const test = (title: string, body: (world: World) => Promise<void>) =>
      it(title, async () => body(await world()), 120_000)
    const exportable = { keySize: 2048, exportable: true, keyOps: ['wrapKey', 'unwrapKey'] }

    afterAll(async () => {
      const { keys, poll } = await world()
      for (const each of made) {
        await keys.beginDeleteKey(each, poll).then((poller) => poller.pollUntilDone(), ignoreAbsence)
        await keys.purgeDeletedKey(each).catch(ignoreAbsence)
      }
    }, 300_000)

    test('challenges a call without a token once, with authority and resource', async ({ target }) => {
      const answer = await call(`${target.vaultUri.replace(/\/$/, '')}/keys?api-version=7.4`, { ca: target.ca })
      const challenges = headersNamed(answer, 'www-authenticate')
      expect([answer.status, challenges.length]).toEqual([401, 1])
      expect(challenges[0]).toMatch(
        /^Bearer authorization="https:\/\/[^"]+\/[0-9a-f-]{36}", resource="https:\/\/[^"]+"$/
      )
      expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'Unauthorized' } })
    })

    test('says that a key is not there', async ({ keys, key }) => {
      await expect(keys.getKey(key('none'))).rejects.toMatchObject({ statusCode: 404, code: 'KeyNotFound' })
    })

    test('refuses an exportable key without a release policy', async ({ keys, key }) => {
      await expect(keys.createKey(key('open'), 'RSA-HSM', exportable)).rejects.toMatchObject({
        statusCode: 400,
        message: expect.stringContaining('AKV.SKR.1004')
      })
    })

    test('refuses a release policy on a key that is not exportable', async ({ keys, key }) => {
      const wrong = keys.createKey(key('kept'), 'RSA-HSM', { keySize: 2048, releasePolicy: encoded(policy('00')) })
      await expect(wrong).rejects.toMatchObject({ statusCode: 400, message: expect.stringContaining('AKV.SKR.1005') })
    })

    test('keeps the release policy of a key as JSON, in whatever spelling', async ({ keys, key }) => {
      const created = await keys.createKey(key('a'), 'RSA-HSM', {
        ...exportable,
        releasePolicy: encoded(policy('11'.repeat(32)))
      })
      expect([created.keyType, created.properties.exportable]).toEqual(['RSA-HSM', true])
      const kept = new TextDecoder().decode((await keys.getKey(key('a'))).properties.releasePolicy?.encodedPolicy)
      expect(JSON.parse(kept)).toEqual(policy('11'.repeat(32)))
    })

    test('makes a new version of a key that is made again', async ({ keys, key }) => {
      const before = await keys.getKey(key('a'))
      const after = await keys.createKey(key('a'), 'RSA-HSM', { ...exportable, releasePolicy: encoded(policy('22')) })
      expect(after.name).toBe(before.name)
      expect(after.properties.version).not.toBe(before.properties.version)
    })

    test('binds a key to another release policy without a new version', async ({ keys, key }) => {
      const before = await keys.getKey(key('a'))
      await keys.updateKeyProperties(key('a'), { releasePolicy: encoded(policy('33')) })
      const after = await keys.getKey(key('a'))
      expect(after.properties.version).toBe(before.properties.version)
      expect(JSON.parse(new TextDecoder().decode(after.properties.releasePolicy?.encodedPolicy))).toEqual(policy('33'))
    })

    test('keeps the name of a deleted key, and brings the same key back', async ({ keys, key, poll }) => {
      const before = await keys.getKey(key('a'))
      await (await keys.beginDeleteKey(key('a'), poll)).pollUntilDone()
      await expect(
        keys.createKey(key('a'), 'RSA-HSM', { ...exportable, releasePolicy: encoded(policy('44')) })
      ).rejects.toMatchObject({
        statusCode: 409,
        details: { error: { code: 'Conflict', innerError: { code: 'ObjectIsDeletedButRecoverable' } } }
      })
      const { properties } = await keys.getDeletedKey(key('a'))
      expect(properties.recoveryLevel).toContain('Purgeable')
      const recovered = await (await keys.beginRecoverDeletedKey(key('a'), poll)).pollUntilDone()
      expect(recovered.properties.version).toBe(before.properties.version)
    })
  })
}

function ignoreAbsence(error: unknown): void {
  if ((error as { statusCode?: unknown }).statusCode !== 404) throw error
}
