import { describe, expect, it } from '@jest/globals'
import { isLoopback, meantUrl, withProposals } from '../../src/commands/router-url.js'
import { UserError } from '../../src/base/user-error.js'

describe('meantUrl', () => {
  it.each([
    ['router.example', 'https://router.example'],
    ['router.example:8443/base/', 'https://router.example:8443/base'],
    ['localhost:18080', 'http://localhost:18080'],
    ['127.0.0.1:18080/v1', 'http://127.0.0.1:18080'],
    ['[::1]:18080', 'http://[::1]:18080'],
    ['https://router.example/v1', 'https://router.example'],
    ['https://router.example/v1/', 'https://router.example'],
    ['https://router.example/base/v1/chat/completions', 'https://router.example/base'],
    // Not this machine, whatever it begins with.
    ['localhost.example', 'https://localhost.example'],
    ['127.0.0.1.example', 'https://127.0.0.1.example']
  ])('%s may have been meant as %s', (given, meant) => {
    expect(meantUrl(given)).toBe(meant)
  })

  it.each([
    'https://router.example',
    'https://router.example/',
    'http://127.0.0.1:1/base',
    'https://r.example/v10',
    '',
    ' '
  ])('has nothing better for %j', (given) => {
    expect(meantUrl(given)).toBeUndefined()
  })
})

describe('isLoopback', () => {
  it.each([
    ['http://127.0.0.1:1', true],
    ['https://localhost/x', true],
    ['http://[::1]:1', true],
    ['https://127.0.0.1.example', false],
    ['https://router.example', false],
    ['no url', false]
  ])('%s: %s', (url, expected) => {
    expect(isLoopback(url)).toBe(expected)
  })
})

describe('withProposals', () => {
  it('puts them before those of the error and changes nothing else of it', () => {
    const error = new UserError('cloud', 'verify.not-checked', 'problem', { why: 'why', next: ['b'], report: { c: 1 } })
    const changed = withProposals(error, ['a'])
    expect(changed).toEqual(
      expect.objectContaining({
        fault: 'cloud',
        code: 'verify.not-checked',
        problem: 'problem',
        why: 'why',
        next: ['a', 'b'],
        report: { c: 1 }
      })
    )
  })

  it('leaves alone what is no error for people, and what nothing is proposed for', () => {
    const bug = new Error('bug')
    expect(withProposals(bug, ['a'])).toBe(bug)
    const error = new UserError('cloud', 'verify.not-checked', 'problem')
    expect(withProposals(error, [])).toBe(error)
  })
})
