import { describe, expect, it } from '@jest/globals'
import { isPrivateHost } from '../../../src/config/private-host.js'
import { isPrivateAddress } from '../../../src/router/private-address.js'

const isPrivate = (host: string) => isPrivateHost(new URL(`https://${host}/`))

/** The first, the last and the neighbours of networks of every size, and what looks like an address. */
const v4 = ['0.0.0.0', '9.255.255.255', '10.0.0.0', '10.255.255.255', '11.0.0.0', '100.63.0.1', '100.64.0.0', '127.1']
const more4 = ['168.63.129.16', '168.63.129.17', '172.15.0.1', '172.16.0.1', '172.31.255.255', '172.32.0.0']
const last4 = ['192.0.0.255', '192.0.1.0', '198.17.0.1', '198.19.255.255', '223.255.255.255', '224.0.0.0', '8.8.8.8']
const v6 = [
  '::',
  '::1',
  '::ffff:8.8.8.8',
  '64:ff9b::1',
  '64:ff9b:1:2::',
  '64:ff9b:2::',
  '2001::1',
  '2001:1::',
  '2001:20::1'
]
const more6 = [
  '2001:2f:ffff::',
  '2001:30::',
  '2002::',
  '2003::',
  'fbff::1',
  'fc00::',
  'fdff::1',
  'fe00::',
  'fe80::1',
  'febf::'
]
const last6 = [
  'ff02::1',
  '3fff:fff::1',
  '3fff:1000::',
  '2606:4700::6812:7c0',
  '1:2:3:4:5:6:7:8',
  '100::1',
  '100:0:0:1::'
]

describe('isPrivateHost', () => {
  it.each([...v4, ...more4, ...last4])('judges %s as the router does', (address) => {
    const { hostname } = new URL(`https://${address}/`)
    expect(isPrivate(address)).toBe(isPrivateAddress(hostname))
  })

  it.each([...v6, ...more6, ...last6])('judges %s as the router does', (address) => {
    expect(isPrivate(`[${address}]`)).toBe(isPrivateAddress(address))
  })

  it('says nothing about names, which the router looks up', () => {
    expect(isPrivate('localhost')).toBe(false)
    expect(isPrivate('api.example')).toBe(false)
  })
})
