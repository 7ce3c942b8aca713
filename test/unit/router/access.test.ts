import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { addressGroup, identifyCaller as identify, readCredential } from '../../../src/router/access.js'
import type { Access } from '../../../src/router/settings.js'

const identifyCaller = (headers: IncomingHttpHeaders, address: string, access: Access) =>
  identify(readCredential(headers), address, access)

const open = { mode: 'open' } as const
const token = { mode: 'token', tokenHashes: [sha256Hex('first'), sha256Hex('second')] } as const

describe('identifyCaller', () => {
  it('takes the caller own key from the headers that SDKs use, when access is open', () => {
    const headers = [
      { authorization: 'Bearer sk-1' },
      { authorization: 'bearer  sk-1' },
      { authorization: 'Key sk-1' },
      { 'x-api-key': 'sk-1' },
      { 'api-key': 'sk-1' }
    ]
    for (const header of headers) {
      expect(identifyCaller(header, '1.2.3.4', open)).toEqual({ identity: '1.2.3.4', ownKey: { text: 'sk-1' } })
    }
    expect(identifyCaller({}, '1.2.3.4', open)).toEqual({ identity: '1.2.3.4', ownKey: undefined })
  })

  it('takes a token and never passes it on, when access is by token', () => {
    for (const header of [
      { authorization: 'Bearer first' },
      { authorization: 'Bearer second' },
      { 'x-api-key': 'second' }
    ]) {
      const caller = identifyCaller(header, '1.2.3.4', token)
      expect(caller.ownKey).toBeUndefined()
      expect(caller.identity).toMatch(/^[0-9a-f]{64}$/)
    }
  })

  it('refuses a missing and a wrong token', () => {
    for (const header of [{}, { authorization: 'Bearer third' }, { authorization: `Bearer ${sha256Hex('first')}` }]) {
      expect(() => identifyCaller(header, '1.2.3.4', token)).toThrow(
        expect.objectContaining({ code: 'invalid_access_token', status: 401 })
      )
    }
  })

  it('refuses a credential of another form', () => {
    for (const header of [{ authorization: 'Basic YTpi' }, { authorization: 'Bearer a b' }, { 'x-api-key': 'a b' }]) {
      expect(() => identifyCaller(header, '1.2.3.4', open)).toThrow(
        expect.objectContaining({ code: 'invalid_authorization' })
      )
    }
  })
})

describe('addressGroup', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    [undefined, 'unknown']
  ])('counts %s as %s', (address, expected) => {
    expect(addressGroup(address)).toBe(expected)
  })
})
