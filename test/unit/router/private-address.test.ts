import { describe, expect, it } from '@jest/globals'
import { isPrivateAddress } from '../../../src/router/private-address.js'

describe('isPrivateAddress', () => {
  it.each([
    '127.0.0.1',
    '10.0.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '168.63.129.16',
    '100.64.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '::1',
    '::',
    '::ffff:8.8.8.8',
    '::ffff:10.0.0.1',
    '::ffff:0:127.0.0.1',
    '::ffff:0:808:808',
    '5f00::1',
    '3fff:fff::1',
    '2001:20::1',
    '64:ff9b::a00:1',
    '2002:a00:1::',
    'fd00::1',
    'fe80::1',
    'ff02::1',
    'localhost',
    ''
  ])('is true for %s', (address) => {
    expect(isPrivateAddress(address)).toBe(true)
  })

  it.each(['8.8.8.8', '104.18.7.192', '172.32.0.1', '168.63.129.17', '2606:4700::6812:7c0'])(
    'is false for %s',
    (address) => {
      expect(isPrivateAddress(address)).toBe(false)
    }
  )
})
