import { describe, expect, it } from '@jest/globals'
import {
  readDer,
  readDerSeries,
  readObjectIdentifier,
  readSmallInteger
} from '../../../../src/emulator/services/attestation/der-reader.js'

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

describe('the DER reader', () => {
  it('reads an INTEGER with a sign byte, as AMD writes 219', () => {
    expect(readSmallInteger(readDer(bytes('020200db')))).toBe(219)
  })

  it('reads OBJECT IDENTIFIERs of several bytes for an arc', () => {
    expect(readObjectIdentifier(readDer(bytes('060a2b060104019c78010308')))).toBe('1.3.6.1.4.1.3704.1.3.8')
  })

  it('reads values one after the other', () => {
    expect(readDerSeries(bytes('0500020101')).map(({ tag }) => tag)).toEqual([5, 2])
  })

  it.each([
    ['a value that is cut short', '0205aa'],
    ['nothing', ''],
    ['something after the value', '05000500'],
    ['an indefinite length', '30800000'],
    ['a length that is not the shortest', '02810101'],
    ['a tag of several bytes', '1f8101'],
    ['a length without its bytes', '0282']
  ])('refuses %s', (_case, hex) => {
    expect(() => readDer(bytes(hex))).toThrow(TypeError)
  })

  it.each(['0500', '0201ff', '02050100000000', '0200'])('refuses %s for a small number', (hex) => {
    expect(() => readSmallInteger(readDer(bytes(hex)))).toThrow(TypeError)
  })

  it('refuses an OBJECT IDENTIFIER that is another type or endless', () => {
    expect(() => readObjectIdentifier(readDer(bytes('0500')))).toThrow(TypeError)
    expect(() => readObjectIdentifier(readDer(bytes(`060c${'ff'.repeat(12)}`)))).toThrow(TypeError)
    expect(() => readObjectIdentifier(undefined)).toThrow(TypeError)
  })
})
