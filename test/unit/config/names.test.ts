import { describe, expect, it } from '@jest/globals'
import { deriveNames, nameRules } from '../../../src/config/names.js'

type Rule = keyof typeof nameRules

function accepts(rule: Rule, value: string): boolean {
  return value.length <= nameRules[rule].maxLength && nameRules[rule].pattern.test(value)
}

const uuid = '1111111a-2222-3333-4444-555555555555'
const sha = `sha256:${'0a'.repeat(32)}`

describe('name rules', () => {
  it.each<[Rule, string[], string[]]>([
    ['base', ['ab', 'my-router-2'], ['a', 'Router', '2router', '-a', 'a-', 'a--b', 'a_b', 'a'.repeat(41)]],
    ['subscription', [uuid, uuid.toUpperCase()], ['', `${uuid}0`, uuid.replaceAll('-', ''), 'prod']],
    ['tenant', [uuid, 'example.onmicrosoft.com'], ['example', 'a b.com', '.com', 'a..b']],
    ['location', ['eastus', 'westus2'], ['East US', 'east-us', '2east', '']],
    ['resourceGroup', ['a', 'My_group-(1).x'], ['', 'a.', 'a b', 'a/b', 'a'.repeat(91)]],
    ['attestation', ['abc', 'a1b2', 'a'.repeat(24)], ['ab', 'a-b', 'ABC', 'a'.repeat(25)]],
    ['keyVault', ['abc', 'My-vault-1'], ['ab', '1abc', 'a--b', 'abc-', 'a_b', 'a'.repeat(25)]],
    ['identity', ['abc', '1_b-'], ['ab', '_abc', 'a.b', 'a'.repeat(129)]],
    ['key', ['a', 'Key-1'], ['', 'a_b', 'a'.repeat(128)]],
    ['containerGroup', ['a', 'a-1'], ['', 'A', '-a', 'a-', 'a--b', 'a'.repeat(64)]],
    ['dnsLabel', ['abcde', 'a--b-1'], ['abcd', '1abcd', 'abcd-', 'ABCDE', 'a'.repeat(64)]],
    [
      'repository',
      ['ghcr.io/a/b', 'localhost/a', 'localhost:5000/a', 'registry:5000/a__b/c-d', '127.0.0.1:1/a'],
      ['router', 'library/router', 'ghcr.io/A/b', 'ghcr.io/a:tag', `ghcr.io/a@${sha}`, 'ghcr.io/', 'https://ghcr.io/a']
    ],
    [
      'imageReference',
      ['ghcr.io/a/b:1', `ghcr.io/a@${sha}`, `ghcr.io/a:1@${sha}`],
      ['ghcr.io/a', 'a:1', 'ghcr.io/a:', 'ghcr.io/a@sha256:00', `ghcr.io/a@${sha}0`]
    ],
    ['tag', ['v1.0_x-y', 'L'.repeat(128)], ['', '.a', '-a', 'a/b', 'L'.repeat(129)]],
    ['digest', [sha], [sha.toUpperCase(), sha.slice(7), `${sha}0`]],
    ['provider', ['openai', 'my-models-2'], ['', 'OpenAI', '2a', 'a--b', 'a-', 'a.b', 'a'.repeat(33)]],
    ['variable', ['OPENAI_API_KEY', '_a1'], ['', '1a', 'A-B', 'sk-live']],
    ['model', ['openai:gpt-4o-mini', 'fal:fal-ai/flux/dev'], ['', 'a b', 'a\n']]
  ])('for %s', (rule, good, bad) => {
    expect(good.filter((value) => !accepts(rule, value))).toEqual([])
    expect(bad.filter((value) => accepts(rule, value))).toEqual([])
  })

  it('decide quickly on long and hostile texts', () => {
    const started = performance.now()
    for (const text of ['a-'.repeat(5000), 'a.'.repeat(5000), 'a/'.repeat(5000), `g.io/${'a_'.repeat(5000)}!`]) {
      for (const { pattern } of Object.values(nameRules)) pattern.test(text)
    }
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('derived names', () => {
  it.each(['ab', 'confrouter', 'a-b-c-d-e-f-g-h-i-j-k-l', 'abcdefghijklmnopq-rstuvwxyz', 'a'.repeat(40)])(
    'of %s keep within the limits of Azure',
    (name) => {
      const names = deriveNames(name, uuid, undefined)
      for (const rule of ['resourceGroup', 'attestation', 'keyVault', 'identity', 'containerGroup'] as const) {
        expect([rule, names[rule], accepts(rule, names[rule])]).toEqual([rule, names[rule], true])
      }
    }
  )

  it('are the same every time', () => {
    const { keyVault, attestation } = deriveNames('confrouter', uuid, 'group')
    // Azure does not tell the case of ids and group names apart.
    expect(deriveNames('confrouter', uuid.toUpperCase(), 'Group')).toMatchObject({ keyVault, attestation })
  })

  it('differ in another subscription, in another group and for a long name that is cut', () => {
    const vault = (name: string, subscription: string, group: string) => deriveNames(name, subscription, group).keyVault
    const long = 'a'.repeat(30)
    expect(
      new Set([
        vault('confrouter', uuid, 'g'),
        vault('confrouter', uuid.replace('1', '2'), 'g'),
        vault('confrouter', uuid, 'h'),
        vault(`${long}b`, uuid, 'g'),
        vault(`${long}c`, uuid, 'g')
      ]).size
    ).toBe(5)
  })
})
