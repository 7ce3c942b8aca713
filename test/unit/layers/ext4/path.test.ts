import { describe, expect, it } from '@jest/globals'
import { asciiBytes } from '../../../../src/layers/byte-string.js'
import { joinPath, pathComponents, splitPath } from '../../../../src/layers/ext4/path.js'

describe('pathComponents', () => {
  for (const [path, components] of Object.entries({
    '': [],
    '/': [],
    '.': [],
    './': [],
    'a/b': ['a', 'b'],
    '/a//b/': ['a', 'b'],
    './a/./b': ['a', 'b'],
    'a/../b': ['b'],
    '../../a': ['a'],
    'a/b/../../..': [],
    '...': ['...'],
    'a\\b': ['a\\b']
  })) {
    it(`of "${path}" are ${JSON.stringify(components)}`, () => {
      expect(pathComponents(asciiBytes(path))).toEqual(components)
    })
  }
})

describe('splitPath', () => {
  it('leaves everything as it is written', () => {
    expect(splitPath(asciiBytes('a/../.wh.b'))).toEqual({ parent: 'a/../', name: '.wh.b' })
    expect(splitPath(asciiBytes('a/'))).toEqual({ parent: 'a/', name: '' })
    expect(splitPath(asciiBytes('a'))).toEqual({ parent: '', name: 'a' })
  })
})

describe('joinPath', () => {
  it('puts slashes between', () => {
    expect(joinPath(['a', 'b'].map(asciiBytes))).toBe('a/b')
    expect(joinPath([])).toBe('')
  })
})
