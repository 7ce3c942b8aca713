import { describe, expect, it } from '@jest/globals'
import type { Run } from '../../../src/steps/run.js'
import { requireSecretNames } from '../../../src/steps/secrets.js'

const run = {
  config: {
    providers: {
      openai: { apiKey: { env: 'OPENAI_API_KEY' } },
      groq: { apiKey: { file: 'groq.key' } },
      mine: { baseUrl: 'https://models.example.com/v1' }
    }
  }
} as unknown as Run

describe('requireSecretNames', () => {
  it('takes providers that have a key of the router’s own, and no name at all', () => {
    expect(() => requireSecretNames(run, ['openai', 'groq'])).not.toThrow()
    expect(() => requireSecretNames(run, [])).not.toThrow()
  })

  it.each([
    ['openia', '"openia" is no provider with apiKey in the configuration, did you mean openai?'],
    ['OPENAI_API_KEY', '"OPENAI_API_KEY" is no provider with apiKey in the configuration, did you mean openai?'],
    ['nothing-like-it', '"nothing-like-it" is no provider with apiKey in the configuration'],
    ['mine', '"mine" is no provider with apiKey in the configuration']
  ])('refuses %s, and asks whether another one was meant', (name, problem) => {
    expect(() => requireSecretNames(run, ['groq', name])).toThrow(
      expect.objectContaining({ code: 'secrets.unknown-name', problem, why: 'those with apiKey: openai, groq' })
    )
  })

  it('says that no provider has a key', () => {
    const none = { config: { providers: {} } } as unknown as Run
    expect(() => requireSecretNames(none, ['openai'])).toThrow(
      expect.objectContaining({ why: 'no provider has apiKey' })
    )
  })
})
