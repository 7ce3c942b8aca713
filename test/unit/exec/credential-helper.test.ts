import { describe, expect, it } from '@jest/globals'
import { runCredentialHelper } from '../../../src/exec/index.js'
import { useFakePrograms } from './fake-programs.js'

const programs = useFakePrograms()

describe('runCredentialHelper', () => {
  it('gives the server by standard input and returns the login', async () => {
    programs.current.add(
      'docker-credential-fake',
      `read server; echo '{"ServerURL":"'$server'","Username":"me","Secret":"s"}'`
    )
    expect(await runCredentialHelper('fake', 'ghcr.io')).toEqual({ username: 'me', secret: 's' })
    expect(programs.current.calls).toEqual([['docker-credential-fake', 'get']])
  })

  it('returns nothing when the helper has no login', async () => {
    programs.current.add('docker-credential-fake', 'echo "credentials not found in native keychain"; exit 1')
    expect(await runCredentialHelper('fake', 'ghcr.io')).toBeUndefined()
    programs.current.add('docker-credential-fake', `echo '{"Username":"","Secret":""}'`)
    expect(await runCredentialHelper('fake', 'ghcr.io')).toBeUndefined()
  })

  it.each([
    ['fails', 'echo hunter2; echo hunter2 >&2; exit 1'],
    ['answers with other than JSON', 'echo hunter2'],
    ['answers without a login', `echo '{"Secret":"hunter2"}'`],
    ['answers with a list', `echo '["hunter2"]'`]
  ])('refuses a helper that %s, and repeats nothing of what it said', async (_, body) => {
    programs.current.add('docker-credential-fake', body)
    const error: unknown = await runCredentialHelper('fake', 'ghcr.io').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'registry.credential-helper', exitCode: 4 })
    expect(`${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`).not.toContain('hunter2')
  })

  it('says when the helper is missing, and runs nothing with a path in its name', async () => {
    await expect(runCredentialHelper('fake', 'ghcr.io')).rejects.toMatchObject({
      why: 'docker-credential-fake is not installed'
    })
    for (const name of ['../fake', '/bin/fake', '', 'a b', '-x']) {
      await expect(runCredentialHelper(name, 'ghcr.io')).rejects.toMatchObject({ code: 'registry.credential-helper' })
    }
    expect(programs.current.calls).toEqual([])
  })
})
