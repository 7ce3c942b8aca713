import { describe, expect, it } from '@jest/globals'
import { activeNaming } from '../../../src/steps/generation.js'
import { groupName, recordedGroups, requireInPlace, wantedPlaces } from '../../../src/steps/places.js'
import type { ContainerGroup } from '../../../src/azure/container-group.js'
import type { Run } from '../../../src/steps/run.js'
import type { State } from '../../../src/steps/state.js'

const idOf = (name: string) =>
  `/subscriptions/s/resourceGroups/r/providers/Microsoft.ContainerInstance/containerGroups/${name}`

interface Situation {
  readonly replicas?: number
  readonly regions?: readonly string[]
  readonly dnsLabel?: string
  readonly state?: Partial<State>
  readonly created?: readonly string[]
}

const runOf = ({ replicas = 1, regions = ['eastus'], dnsLabel, state, created = [] }: Situation) =>
  ({
    config: { resourceGroup: 'r', location: 'eastus', containerGroup: { name: 'g', replicas, regions, dnsLabel } },
    azure: { subscriptionId: 's' },
    state: { get: () => ({ created: created.map(idOf), ...state }) }
  }) as unknown as Run

const active = (more: object) => ({ active: { base: 'g', group: 'g', ...more } }) as unknown as Partial<State>
const namesOf = (run: Run) => wantedPlaces(run, activeNaming(run)).map(({ name, location }) => `${name}@${location}`)

describe('the groups that are wanted', () => {
  it('are numbered from 2, and there is one where nothing else is said', () => {
    expect(namesOf(runOf({}))).toEqual(['g@eastus'])
    expect(namesOf(runOf({ replicas: 3 }))).toEqual(['g@eastus', 'g-2@eastus', 'g-3@eastus'])
  })

  it('have their region in their names where it is not the first one', () => {
    expect(namesOf(runOf({ replicas: 2, regions: ['eastus', 'westeurope'] }))).toEqual([
      'g@eastus',
      'g-2@eastus',
      'g-westeurope@westeurope',
      'g-westeurope-2@westeurope'
    ])
  })

  it('have the label once in each region', () => {
    const run = runOf({ replicas: 2, regions: ['eastus', 'westeurope'], dnsLabel: 'x' })
    const labelled = wantedPlaces(run, activeNaming(run)).filter(({ label }) => label === 'x')
    expect(labelled.map(({ name }) => name)).toEqual(['g', 'g-westeurope'])
  })

  it('stay where they are when the order of the regions changes: the order is that of the addresses', () => {
    const state = active({ stem: 'g', home: 'eastus' })
    expect(namesOf(runOf({ regions: ['westeurope', 'eastus'], state }))).toEqual([
      'g-westeurope@westeurope',
      'g@eastus'
    ])
  })

  it('stay where they are when the first region is taken off, also if it is put back elsewhere', () => {
    const state = active({ group: 'g-westeurope', stem: 'g', home: 'eastus' })
    expect(namesOf(runOf({ regions: ['westeurope'], state }))).toEqual(['g-westeurope@westeurope'])
    expect(namesOf(runOf({ regions: ['westeurope', 'eastus'], state }))).toEqual([
      'g-westeurope@westeurope',
      'g@eastus'
    ])
  })

  it('of a deployment that was recorded before there were regions are in its location', () => {
    expect(namesOf(runOf({ regions: ['westus', 'eastus'], state: active({ group: 'g-12345678' }) }))).toEqual([
      'g-12345678-westus@westus',
      'g-12345678@eastus'
    ])
  })

  it('begin anew under another name', () => {
    const state = active({ base: 'h', group: 'h', home: 'westus' })
    expect(namesOf(runOf({ regions: ['westeurope', 'eastus'], state }))).toEqual(['g@westeurope', 'g-eastus@eastus'])
  })
})

describe('the name of a group', () => {
  it('is no longer than Azure takes, and ends in region and number', () => {
    const name = groupName({ stem: 'a'.repeat(63), home: 'eastus' }, 'eastus', 100)
    expect([name.length, name.endsWith('a-100')]).toEqual([63, true])
    expect(groupName({ stem: `${'a'.repeat(60)}-bc`, home: 'eastus' }, 'eastus', 2)).toBe(`${'a'.repeat(60)}-2`)
    const far = groupName({ stem: 'a'.repeat(63), home: 'eastus' }, 'germanywestcentral', 100)
    expect([far.length, far.endsWith('a-germanywestcentral-100')]).toEqual([63, true])
  })
})

describe('what may be removed', () => {
  it('is what was made here, in every region that ever had a group', () => {
    const run = runOf({
      regions: ['westus'],
      created: ['g', 'g-2', 'G-4', 'g-westus', 'g-westeurope', 'g-westeurope-3'],
      state: { regions: ['eastus', 'westeurope'] }
    })
    expect([...recordedGroups(run, 'g')].sort()).toEqual([
      'g',
      'g-2',
      'g-4',
      'g-westeurope',
      'g-westeurope-3',
      'g-westus'
    ])
  })

  it('is no group that somebody else made, no group of another name and no generation', () => {
    const run = runOf({ created: ['h-2', 'g-12345678', 'g-abcdef12', 'g-101', 'g-1', 'g-westeurope', 'g-2-eastus'] })
    expect(recordedGroups(run, 'g')).toEqual([])
  })
})

describe('a group in another region than is wanted', () => {
  const place = { name: 'g', location: 'westeurope', label: undefined }

  it('is refused, and named with the way out', () => {
    const group = { name: 'g', location: 'East US' } as ContainerGroup
    expect(() => requireInPlace(runOf({}), group, place)).toThrow(
      expect.objectContaining({
        code: 'deploy.other-region',
        message: expect.stringContaining(
          'container group "g" is in eastus, and the configuration wants it in westeurope'
        ),
        next: expect.arrayContaining(['put eastus first in containerGroup.regions'])
      })
    )
  })

  it('is not seen in another spelling of the same one', () => {
    const group = { name: 'g', location: 'West Europe' } as ContainerGroup
    expect(() => requireInPlace(runOf({}), group, place)).not.toThrow()
  })
})
