import { describe, expect, it } from '@jest/globals'
import { findMembers } from '../../../src/router/json-members.js'
import { chooseByModel, modelAt, withModel } from '../../../src/router/model.js'
import { parseProviders } from '../../../src/router/providers.js'

const providers = parseProviders('{"openai":{},"openrouter":{},"fal":{}}')

function choose(text: string, among = providers): { provider: string; body: string } {
  const body = Buffer.from(text)
  const span = findMembers(body, new Set(['model'])).get('model')
  const { provider, model } = chooseByModel(modelAt(body, span), among)
  return { provider: provider.name, body: withModel(body, span, model).toString() }
}

describe('chooseByModel', () => {
  it.each([
    ['openai:gpt-4o-mini', 'openai', 'gpt-4o-mini'],
    ['openai/gpt-4o-mini', 'openai', 'gpt-4o-mini'],
    ['openrouter:anthropic/claude-sonnet', 'openrouter', 'anthropic/claude-sonnet'],
    ['openrouter/deepseek/deepseek-r1:free', 'openrouter', 'deepseek/deepseek-r1:free'],
    ['openai:ft:gpt-4o:org', 'openai', 'ft:gpt-4o:org'],
    ['gpt-4o-mini', 'openai', 'gpt-4o-mini'],
    ['ft:gpt-4o-mini:org::id', 'openai', 'ft:gpt-4o-mini:org::id']
  ])('sends %s to %s as %s', (model, provider, inner) => {
    expect(choose(`{"model":"${model}","n":1}`)).toEqual({ provider, body: `{"model":"${inner}","n":1}` })
  })

  it('leaves every other byte as it was', () => {
    expect(choose('{ "seed": 12345678901234567890,\n "model" : "openrouter:x", "t": 1.0 }').body).toBe(
      '{ "seed": 12345678901234567890,\n "model" : "x", "t": 1.0 }'
    )
  })

  it('sends a body without a model to the default provider', () => {
    expect(choose('{"input":"x"}')).toEqual({ provider: 'openai', body: '{"input":"x"}' })
  })

  it('refuses an unknown provider and quotes the model', () => {
    for (const model of ['nosuch-4711:x', 'nosuch-4711/x']) {
      expect(() => choose(JSON.stringify({ model }))).toThrow(
        expect.objectContaining({ code: 'unknown_provider', message: expect.stringContaining(`"${model}"`) })
      )
    }
  })

  it('takes a slash for a part of the name where the default provider has such names, and a colon never', () => {
    for (const settings of [
      '{"openrouter":{},"openai":{}}',
      '{"vllm":{"baseUrl":"https://models.example"},"openai":{}}'
    ]) {
      const among = parseProviders(settings)
      const [first] = among.enabled.keys()
      expect(choose('{"model":"meta-llama/llama-4:free"}', among)).toEqual({
        provider: first,
        body: '{"model":"meta-llama/llama-4:free"}'
      })
      expect(choose('{"model":"openai/gpt-4o"}', among)).toEqual({ provider: 'openai', body: '{"model":"gpt-4o"}' })
      expect(() => choose('{"model":"meta-llama:x"}', among)).toThrow(
        expect.objectContaining({ code: 'unknown_provider' })
      )
    }
  })

  it.each([
    ['{"model":7}', '1 to 256 characters'],
    ['{"model":""}', '1 to 256 characters'],
    [`{"model":"${'x'.repeat(257)}"}`, '1 to 256 characters'],
    ['{"model":"openai:"}', 'no name behind its provider'],
    ['{"model":nul}', 'JSON']
  ])('refuses %s', (text, message) => {
    expect(() => choose(text)).toThrow(message)
  })
})
