import { describe, expect, it } from '@jest/globals'
import { configPaths, flagOf, isConfigPath, keysAt, scalarAt, variableOf } from '../../../src/config/paths.js'
import { suggest } from '../../../src/config/suggest.js'

describe('paths', () => {
  it('have one variable and one flag each', () => {
    expect(variableOf('containerGroup.port')).toBe('CONFROUTER_CONTAINER_GROUP_PORT')
    expect(variableOf('access.tokensSha256')).toBe('CONFROUTER_ACCESS_TOKENS_SHA256')
    expect(variableOf('containerGroup.memoryGb')).toBe('CONFROUTER_CONTAINER_GROUP_MEMORY_GB')
    expect(flagOf('resourceGroup')).toBe('--resource-group')
    expect(new Set(configPaths.map(variableOf)).size).toBe(configPaths.length)
    expect(new Set(configPaths.map(flagOf)).size).toBe(configPaths.length)
  })

  it('are all scalars and lists of the schema, without the free names of maps', () => {
    expect(configPaths).toEqual(expect.arrayContaining(['name', 'cloud', 'key.size', 'smoke.model', 'emulator.port']))
    expect(configPaths.some((path) => path.startsWith('providers'))).toBe(false)
    expect(isConfigPath('image')).toBe(false)
    expect(scalarAt('key.size').kind).toBe('number')
    expect(scalarAt('access.tokensSha256').kind).toBe('list')
    expect(scalarAt('keyVault.purgeProtection').kind).toBe('boolean')
    expect(scalarAt('cloud').kind).toBe('text')
  })

  it('lead to the keys of a map, through free names too', () => {
    expect(keysAt(['key'])).toEqual(['name', 'size'])
    expect(keysAt(['providers', 'anything', 'apiKey'])).toEqual(['env', 'file'])
    expect(keysAt(['providers'])).toBeUndefined()
    expect(keysAt(['constructor'])).toBeUndefined()
  })
})

describe('suggest', () => {
  const keys = ['name', 'cloud', 'location', 'containerGroup', 'keyVault', 'key']

  it.each([
    ['conatinerGroup', 'containerGroup'],
    ['container_group', 'containerGroup'],
    ['LOCATION', 'location'],
    ['keyvalt', 'keyVault'],
    ['claud', 'cloud'],
    ['nmae', 'name']
  ])('takes %s for %s', (word, expected) => {
    expect(suggest(word, keys)).toBe(expected)
  })

  it.each(['region', 'x', '', 'a'.repeat(100_000)])('has no idea for others', (word) => {
    expect(suggest(word, keys)).toBeUndefined()
  })
})
