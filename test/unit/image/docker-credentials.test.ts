import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { dockerCredentialSource, type CredentialHelper } from '../../../src/image/index.js'
import { temporaryFolder } from './support.js'

const base64 = (text: string) => Buffer.from(text).toString('base64')

function source(config: unknown, runHelper?: CredentialHelper) {
  const configFile = join(temporaryFolder(), 'config.json')
  writeFileSync(configFile, typeof config === 'string' ? config : JSON.stringify(config))
  return dockerCredentialSource({ configFile, ...(runHelper === undefined ? {} : { runHelper }) })
}

describe('dockerCredentialSource', () => {
  it('finds the login of a registry, with a colon in the password', async () => {
    const find = source({ auths: { 'ghcr.io': { auth: base64('me:pa:ss') }, 'other.io': { auth: base64('x:y') } } })
    expect(await find('ghcr.io')).toEqual({ kind: 'password', username: 'me', password: 'pa:ss' })
    expect(await find('quay.io')).toBeUndefined()
  })

  it('finds Docker Hub under its old name, and a registry under a URL', async () => {
    const find = source({
      auths: {
        'https://index.docker.io/v1/': { auth: base64('hub:1') },
        'https://localhost:5000/v2/': { auth: base64('local:1') }
      }
    })
    expect(await find('docker.io')).toMatchObject({ username: 'hub' })
    expect(await find('localhost:5000')).toMatchObject({ username: 'local' })
  })

  it('prefers the identity token that stands beside a password', async () => {
    const find = source({ auths: { 'x.azurecr.io': { auth: base64('0000:'), identitytoken: 'refresh' } } })
    expect(await find('x.azurecr.io')).toEqual({ kind: 'identity-token', token: 'refresh' })
  })

  it('asks the helper of the registry, then the one for all, then the file', async () => {
    const asked: string[] = []
    const find = source(
      {
        credHelpers: { 'ghcr.io': 'own' },
        credsStore: 'desktop',
        auths: { 'quay.io': { auth: base64('file:1') } }
      },
      async (helper, server) => {
        asked.push(`${helper} ${server}`)
        if (server === 'quay.io') return undefined
        return server === 'ghcr.io' ? { username: 'me', secret: 's' } : { username: '<token>', secret: 't' }
      }
    )
    expect(await find('ghcr.io')).toEqual({ kind: 'password', username: 'me', password: 's' })
    expect(await find('docker.io')).toEqual({ kind: 'identity-token', token: 't' })
    expect(await find('quay.io')).toMatchObject({ username: 'file' })
    expect(asked).toEqual(['own ghcr.io', 'desktop https://index.docker.io/v1/', 'desktop quay.io'])
  })

  it('is anonymous without a file, a login or a helper to run', async () => {
    expect(await dockerCredentialSource({ configFile: join(temporaryFolder(), 'none') })('ghcr.io')).toBeUndefined()
    for (const config of [{}, { auths: null }, { auths: { 'ghcr.io': {} } }, { credsStore: 'desktop' }]) {
      expect(await source(config)('ghcr.io')).toBeUndefined()
    }
  })

  it.each([
    ['a file that is no JSON', '{"auths":{"ghcr.io":{"auth":"hunter2'],
    ['a file that is a list', '["hunter2"]'],
    ['a login that is no base64', { auths: { 'ghcr.io': { auth: 'hunter2!' } } }],
    ['a login without a colon', { auths: { 'ghcr.io': { auth: base64('hunter2') } } }],
    ['a login without a user', { auths: { 'ghcr.io': { auth: base64(':hunter2') } } }]
  ])('refuses %s without repeating it', async (_, config) => {
    const error: unknown = await source(config)('ghcr.io').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'registry.docker-config', exitCode: 4 })
    const said = `${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`
    expect(said).not.toContain('hunter2')
    expect(said).not.toContain(base64('hunter2').slice(0, 8))
  })
})
