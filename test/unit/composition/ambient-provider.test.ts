import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { ambientOf, rememberAmbient } from '../../../src/composition/ambient-provider.js'
import { loopbackConfig } from '../../../src/composition/session.js'
import { parseConfig } from '../../../src/config/index.js'
import { openState, recordedAmbient, stateOwner } from '../../../src/steps/state.js'

const emulator = {
  subscriptionId: '11111111-2222-3333-4444-555555555555',
  sidecarImage: 'confrouter.local/skr:1',
  loopbackProvider: 'http://127.0.0.1:9/v1'
}

type Environment = Readonly<Record<string, string>>

/** What one run takes from its environment, after a run that left `recorded`. */
function look(environment: Environment, recorded = nothing, text?: string) {
  const { fixed, defaults } = loopbackConfig(emulator, environment, recorded.kept)
  const flags = { cloud: 'local', ...fixed }
  const parsed = parseConfig({ text, fileName: 'confrouter.yaml', flags, environment, defaults })
  return { providers: parsed.config.providers, ...{ ambient: ambientOf(parsed, environment, recorded) } }
}

const nothing = { kept: [] as readonly string[], isDeployed: false }
const deployed = { kept: [], isDeployed: true }
const keptOne = { kept: ['openai'], isDeployed: true }
const key = { OPENAI_API_KEY: 'sk-x' }

describe('a provider that the environment brings', () => {
  it('is there from the first run on, with nothing to say of it', () => {
    const { providers, ambient } = look(key)
    expect(providers['openai']).toEqual({ apiKey: { env: 'OPENAI_API_KEY' }, default: true })
    expect(ambient).toEqual({ providers: ['openai'], warning: undefined })
  })

  it('stays where its key is sealed and the variable is absent, and that is said', () => {
    const { providers, ambient } = look({}, keptOne)
    expect(providers).toEqual(look(key).providers)
    expect(ambient.providers).toEqual(['openai'])
    expect(ambient.warning).toMatch(/^OPENAI_API_KEY is not set: provider openai stays.*OPENAI_API_KEY= confrouter up/)
  })

  it('goes where the variable is empty, and that is said', () => {
    const { providers, ambient } = look({ OPENAI_API_KEY: '' }, keptOne)
    expect(Object.keys(providers)).toEqual(['loopback'])
    expect(providers['loopback']?.default).toBe(true)
    expect(ambient).toEqual({ providers: [], warning: expect.stringMatching(/^OPENAI_API_KEY is empty: .* out/) })
  })

  it('is said where it comes to a deployment that has none', () => {
    expect(look(key, deployed).ambient.warning).toMatch(/^OPENAI_API_KEY is set: it adds provider openai/)
  })

  it('is not there without the variable, where nothing was sealed for it', () => {
    for (const environment of [{}, { OPENAI_API_KEY: '' }]) {
      const { providers, ambient } = look(environment, deployed)
      expect(Object.keys(providers)).toEqual(['loopback'])
      expect(ambient).toEqual({ providers: [], warning: undefined })
    }
  })

  it('is silent while the variable stays set', () => {
    expect(look(key, keptOne).ambient).toEqual({ providers: ['openai'], warning: undefined })
  })
})

describe('a provider of the file', () => {
  const text = 'providers: { openai: { apiKey: { env: OPENAI_API_KEY } } }\n'

  it.each([
    ['set', key],
    ['absent', {}],
    ['empty', { OPENAI_API_KEY: '' }]
  ])('is not the environment’s business, with the variable %s', (_name, environment) => {
    const { providers, ambient } = look(environment, keptOne, text)
    expect(providers['openai']?.apiKey).toEqual({ env: 'OPENAI_API_KEY' })
    expect(ambient).toEqual({ providers: [], warning: undefined })
  })
})

describe('what is remembered', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ambient-'))
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('counts once the key is sealed, and binds the folder to nobody before', async () => {
    const state = await openState(directory, 'a', 'local')
    await rememberAmbient(state, { providers: ['openai'], warning: undefined })
    expect(await recordedAmbient(directory)).toEqual({ kept: [], isDeployed: false })
    expect(await stateOwner(directory)).toBeUndefined()
    await state.update((before) => ({ ...before, secrets: { bundle: 'b', marks: { openai: 'm', groq: 'n' } } }))
    expect((await recordedAmbient(directory)).kept).toEqual(['openai'])
  })

  it('is forgotten when the environment brings it no more', async () => {
    const state = await openState(directory, 'a', 'local')
    await rememberAmbient(state, { providers: ['openai'], warning: undefined })
    await rememberAmbient(state, { providers: [], warning: undefined })
    expect(state.get()).not.toHaveProperty('ambientProviders')
  })

  it('is nothing in a folder without a state', async () => {
    expect(await recordedAmbient(directory)).toEqual({ kept: [], isDeployed: false })
  })
})
