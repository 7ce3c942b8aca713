import { describe, expect, it } from '@jest/globals'
import { deploymentName } from '../../../src/steps/group-deployment.js'
import { groupName } from '../../../src/steps/places.js'

describe('the name of a deployment', () => {
  it('has the name of its group while there is room for it', () => {
    expect(deploymentName('a'.repeat(53))).toBe(`confrouter-${'a'.repeat(53)}`)
  })

  it('is another one for each group beside the first, however long the names are', () => {
    const first = 'a'.repeat(63)
    const names = [
      first,
      ...Array.from({ length: 99 }, (_, index) => groupName({ stem: first, home: 'eastus' }, 'eastus', index + 2))
    ]
    const deployments = names.map(deploymentName)
    expect(new Set(deployments).size).toBe(100)
    expect(Math.max(...deployments.map(({ length }) => length))).toBe(64)
  })

  it('stays the same for the same group, so that what a killed run left going is found', () => {
    expect(deploymentName('b'.repeat(60))).toBe(deploymentName('b'.repeat(60)))
    expect(deploymentName('b'.repeat(60))).toMatch(/^confrouter-b+-[0-9a-f]{8}$/)
  })
})
