import { describe, expect, it } from '@jest/globals'
import { mostAddresses, parseAddresses } from '../../../src/client/addresses.js'

const listOf = (...addresses: readonly unknown[]): string => JSON.stringify({ version: 1, addresses })

describe('addresses.json', () => {
  it('names addresses in their order, and what else stands there is passed over', () => {
    const text = listOf(
      { endpoint: 'http://192.0.2.1:8080', tlsEndpoint: 'https://192.0.2.1:8443', hostData: 'aa', later: [1] },
      { endpoint: 'https://router.example' }
    )
    expect(parseAddresses(text)).toEqual([
      { endpoint: 'http://192.0.2.1:8080', tlsEndpoint: 'https://192.0.2.1:8443' },
      { endpoint: 'https://router.example' }
    ])
  })

  it.each([
    ['no JSON', 'x', /is not JSON/],
    ['another version', JSON.stringify({ version: 2, addresses: [] }), /no "addresses" of version 1/],
    ['a list alone', JSON.stringify(['http://192.0.2.1']), /no "addresses" of version 1/],
    ['no address', listOf(), /1 to 256 addresses/],
    [
      'too many',
      listOf(...Array.from({ length: mostAddresses + 1 }, () => ({ endpoint: 'http://192.0.2.1' }))),
      /1 to 256 addresses/
    ],
    ['an address that is a text', listOf('http://192.0.2.1'), /endpoint of addresses\[0\]/],
    ['a path', listOf({ endpoint: 'http://192.0.2.1' }, { endpoint: 'http://192.0.2.1/restart' }), /addresses\[1\]/],
    ['a query', listOf({ endpoint: 'http://192.0.2.1?x' }), /addresses\[0\]/],
    ['credentials', listOf({ endpoint: 'http://a:b@192.0.2.1' }), /addresses\[0\]/],
    ['another scheme', listOf({ endpoint: 'file:///etc' }), /addresses\[0\]/],
    ['another spelling', listOf({ endpoint: 'HTTP://192.0.2.1' }), /addresses\[0\]/],
    ['a number', listOf({ endpoint: 1 }), /addresses\[0\]/],
    [
      'a tlsEndpoint in plain',
      listOf({ endpoint: 'http://192.0.2.1', tlsEndpoint: 'http://192.0.2.1' }),
      /tlsEndpoint/
    ],
    ['a member that stands twice', '{"version":1,"addresses":[],"addresses":[]}', /addresses/],
    ['a text without end', listOf({ endpoint: 'http://192.0.2.1', more: 'x'.repeat(300_000) }), /longer than/]
  ])('is refused with %s', (_, text, problem) => {
    expect(() => parseAddresses(text)).toThrow(problem)
  })
})
