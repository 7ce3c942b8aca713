import { describe, expect, it } from '@jest/globals'
import { decodeTcb, formatTcb, minimumFor, productOfCpuid, productOfName, reachesTcb } from '../../../src/verify/tcb.js'
import { defaultMinimumTcb } from '../../../src/verify/strict-trust-policy.js'

describe('TCB_VERSION', () => {
  const raw = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)

  it('has the layout of its product', () => {
    expect(formatTcb(decodeTcb('milan', raw))).toBe('bootloader 1, tee 2, snp 7, microcode 8')
    expect(formatTcb(decodeTcb('genoa', raw))).toBe('bootloader 1, tee 2, snp 7, microcode 8')
    expect(formatTcb(decodeTcb('turin', raw))).toBe('fmc 1, bootloader 2, tee 3, snp 4, microcode 8')
  })

  it('reaches a minimum only in every component', () => {
    const minimum = minimumFor('milan', defaultMinimumTcb)
    expect(reachesTcb(decodeTcb('milan', Uint8Array.of(3, 0, 0, 0, 0, 0, 8, 115)), minimum)).toBe(true)
    expect(reachesTcb(decodeTcb('milan', Uint8Array.of(2, 255, 0, 0, 0, 0, 255, 255)), minimum)).toBe(false)
  })
})

describe('products', () => {
  it.each([
    [0x19, 0x00, 'milan'],
    [0x19, 0x0f, 'milan'],
    [0x19, 0x10, 'genoa'],
    [0x19, 0x1f, 'genoa'],
    [0x19, 0xa0, 'genoa'],
    [0x19, 0xaf, 'genoa'],
    [0x1a, 0x00, 'turin'],
    [0x1a, 0x11, 'turin'],
    [0x19, 0x20, undefined],
    [0x19, 0x9f, undefined],
    [0x19, 0xb0, undefined],
    [0x1a, 0x12, undefined],
    [0x17, 0x01, undefined],
    [0x00, 0x00, undefined]
  ])('family %i, model %i is %s', (family, model, product) => {
    expect(productOfCpuid({ family, model })).toBe(product)
  })

  it.each([
    ['Milan-B0', 'milan'],
    ['Genoa', 'genoa'],
    ['Siena-A1', 'genoa'],
    ['Turin-B1', 'turin'],
    ['milan', undefined],
    ['MilanX', undefined],
    ['', undefined]
  ])('the VCEK name %j is %s', (name, product) => {
    expect(productOfName(name)).toBe(product)
  })
})
