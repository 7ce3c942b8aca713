import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { openSignedSecrets } from '../../../src/seal/node/secrets.js'
import { parseRsaPublicJwk } from '../../../src/seal/rsa-key.js'
import type { Run } from '../../../src/steps/run.js'
import { currentBundle, makeBundle, planSecrets, requireProviderKeys } from '../../../src/steps/sealed-secrets.js'
import { signedSecrets, testSigner } from '../seal/signed-bundle.js'
import { vectorKey } from '../seal/test-keys.js'
import { secretsKeysOfTests, secretsRun, type SecretsSituation } from './secrets-harness.js'

const keys = await secretsKeysOfTests()
const quiet = () => undefined

/** What a router with this deployment's measurements would read. */
const opened = async (text: string, deployment = 'g') =>
  openSignedSecrets(text, await vectorKey(), { signer: keys.signer.thumbprint, deployment })

const deploy = async (run: Run, deployedText?: string) => {
  const plan = await planSecrets(run, keys, deployedText)
  return plan.isCurrent ? plan.current! : makeBundle(run, keys, plan, quiet)
}

/** The state that a deployment of these values leaves. */
const stateAfter = async (values: Record<string, string>) => {
  const run = secretsRun({ values })
  const { text } = await deploy(run)
  return { state: run.state.get(), text }
}

const problemOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: Error) => ({
      code: Reflect.get(error, 'code'),
      problem: Reflect.get(error, 'problem'),
      next: Reflect.get(error, 'next')
    })
  )

describe('the bundle of a deployment', () => {
  it('holds each needed key, signed, under the time as its version', async () => {
    const { text } = await stateAfter({ openai: 'a', fal: 'b' })
    expect(await opened(text)).toEqual({ version: 1_790_000_000, values: { openai: 'a', fal: 'b' } })
  })

  it('is the same one when nothing changed', async () => {
    const { state, text } = await stateAfter({ openai: 'a' })
    expect((await deploy(secretsRun({ values: { openai: 'a' }, state }))).text).toBe(text)
  })

  it('seals what changed anew, and keeps the rest as it was sealed', async () => {
    const { state, text } = await stateAfter({ openai: 'a', fal: 'b' })
    const next = await deploy(secretsRun({ values: { openai: 'a2', fal: 'b' }, state }))
    const before = await currentBundle(secretsRun({ state }), keys, undefined)
    expect(next.text).not.toBe(text)
    // The clock stands still here, so a version that counted seconds alone would not go up.
    expect(next.version).toBe(1_790_000_001)
    expect(next.secrets.find(({ name }) => name === 'fal')).toEqual(before?.secrets[0])
    expect((await opened(next.text)).values).toEqual({ openai: 'a2', fal: 'b' })
  })

  it('needs no value that is sealed already, and takes out what is not needed any more', async () => {
    const { state, text } = await stateAfter({ openai: 'a', fal: 'b' })
    expect((await deploy(secretsRun({ values: {}, needed: ['openai', 'fal'], state }))).text).toBe(text)
    const fewer = await deploy(secretsRun({ values: {}, needed: ['fal'], state }))
    expect((await opened(fewer.text)).values).toEqual({ fal: 'b' })
  })

  it('is refused when it lacks a name, whatever else is in it', async () => {
    const { state } = await stateAfter({ openai: 'a' })
    const run = secretsRun({ values: {}, needed: ['openai', 'fal', 'groq'], state })
    const problem = await problemOf(planSecrets(run, keys, undefined))
    expect(problem).toMatchObject({
      code: 'provider.key-missing',
      problem: 'a provider key is missing: fal: variable FAL_KEY is not set; groq: variable GROQ_KEY is not set'
    })
    expect(problem?.next).toContain('confrouter secrets set fal --from-file FILE')
  })

  it('is taken from the container group where there is no state', async () => {
    const { text } = await stateAfter({ openai: 'a', fal: 'b' })
    const run = secretsRun({ values: {}, needed: ['openai', 'fal'] })
    expect((await deploy(run, text)).text).toBe(text)
  })

  it.each<[string, () => Promise<string>]>([
    ['is signed by another key', async () => secretsOf({ signer: testSigner('mallory') })],
    ['is of another deployment', async () => secretsOf({ deployment: 'other' })],
    ['nobody signed', async () => 'a.b.c.d.e']
  ])('is not taken from a container group when it %s', async (_, text) => {
    const run = secretsRun({ values: {}, needed: ['openai'] })
    expect(await problemOf(planSecrets(run, keys, await text()))).toMatchObject({ code: 'provider.key-missing' })
  })

  it('is the newest one, so that an older one in the group does not come back', async () => {
    const { state, text } = await stateAfter({ openai: 'a' })
    const newer = await deploy(secretsRun({ values: { openai: 'a2' }, state }))
    const run = secretsRun({ values: { openai: 'a2' }, state: { secrets: { bundle: newer.text, marks: {} } } })
    expect((await currentBundle(run, keys, text))?.version).toBe(newer.version)
  })

  it('is sealed again to a new key, for which every value is needed again', async () => {
    const { state } = await stateAfter({ openai: 'a' })
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const other = {
      ...keys,
      key: { id: 'https://v/keys/k/2', publicKey: parseRsaPublicJwk(publicKey.export({ format: 'jwk' }), 'k') }
    }
    const plan = await planSecrets(secretsRun({ values: { openai: 'a' }, state }), other, undefined)
    expect([plan.isCurrent, plan.fresh]).toEqual([false, { openai: 'a' }])
    const withoutValue = planSecrets(secretsRun({ values: {}, needed: ['openai'], state }), other, undefined)
    expect(await problemOf(withoutValue)).toMatchObject({ code: 'provider.key-missing' })
  })

  it('leaves no value in the state', async () => {
    const { state } = await stateAfter({ openai: 'sk-marker-value' })
    expect(JSON.stringify(state)).not.toContain('sk-marker-value')
  })

  it('names the provider whose value cannot be a key, and not the value', async () => {
    const run = secretsRun({ values: { openai: 'sk marker' } })
    const problem = await problemOf(deploy(run))
    expect(problem?.problem).toContain('"openai"')
    expect(JSON.stringify(problem)).not.toContain('marker')
  })
})

describe('a value that was set by hand', () => {
  const afterSet = async () => {
    const { state } = await stateAfter({ openai: 'old', fal: 'b' })
    const run = secretsRun({ values: { openai: 'old', fal: 'b' }, state })
    const current = await currentBundle(run, keys, undefined)
    const kept = current!.secrets.filter(({ name }) => name === 'fal')
    await makeBundle(run, keys, { current, kept, fresh: { openai: 'by-hand' } }, quiet, ['openai'])
    return run.state.get()
  }

  it('stays, also where its source has another one', async () => {
    const state = await afterSet()
    const bundle = await deploy(secretsRun({ values: { openai: 'old', fal: 'b' }, state }))
    expect((await opened(bundle.text)).values).toEqual({ openai: 'by-hand', fal: 'b' })
  })

  it('stays in a rotation of all, and not in one that names it', async () => {
    const state = await afterSet()
    const values = { openai: 'source', fal: 'b' }
    const all = await planSecrets(secretsRun({ values, state }), keys, undefined, 'all')
    expect([all.kept.map(({ name }) => name), all.fresh]).toEqual([['openai'], { fal: 'b' }])
    const named = await planSecrets(secretsRun({ values, state }), keys, undefined, ['openai'])
    expect([named.kept.map(({ name }) => name), named.fresh]).toEqual([['fal'], { openai: 'source' }])
  })
})

describe('what is said before anything is made', () => {
  const check = (situation: SecretsSituation) => problemOf(requireProviderKeys(secretsRun(situation)))

  it('is that a key is missing of which nothing is sealed', async () => {
    expect(await check({ values: { openai: 'a' } })).toBeUndefined()
    expect(await check({ values: { openai: 'a' }, needed: ['openai', 'fal'] })).toMatchObject({
      code: 'provider.key-missing',
      problem: 'a provider key is missing: fal: variable FAL_KEY is not set'
    })
  })

  it('is nothing where it is sealed in the state, or may be in the group', async () => {
    const { state, text } = await stateAfter({ openai: 'a' })
    expect(await check({ values: {}, needed: ['openai'], state })).toBeUndefined()
    const router = { name: 'router', environmentVariables: [{ name: 'CONFROUTER_SECRETS', value: text }] }
    expect(await check({ values: {}, needed: ['openai'], group: { name: 'g', containers: [router] } })).toBeUndefined()
    expect(await check({ values: {}, needed: ['openai'], group: { name: 'g', containers: [] } })).toBeDefined()
    // Of one that the group does not have either.
    expect(await check({ values: {}, needed: ['fal'], group: { name: 'g', containers: [router] } })).toBeDefined()
  })
})

async function secretsOf(change: Partial<Parameters<typeof signedSecrets>[0]>): Promise<string> {
  const { publicJwk } = await vectorKey()
  return signedSecrets({ values: { openai: 'x' }, version: 1, recipient: publicJwk, deployment: 'g', ...change })
}
