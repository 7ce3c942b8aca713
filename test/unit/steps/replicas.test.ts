import { describe, expect, it } from '@jest/globals'
import { replicaName, recordedReplicas, surplusReplicas, wantedReplicas } from '../../../src/steps/replicas.js'
import type { Run } from '../../../src/steps/run.js'

const idOf = (name: string) =>
  `/subscriptions/s/resourceGroups/r/providers/Microsoft.ContainerInstance/containerGroups/${name}`
const runOf = (replicas: number, created: readonly string[]) =>
  ({
    config: { resourceGroup: 'r', containerGroup: { replicas } },
    azure: { subscriptionId: 's' },
    state: { get: () => ({ created: created.map(idOf) }) }
  }) as unknown as Run

describe('names of replicas', () => {
  it('are numbered from 2, and there are none for one group', () => {
    expect(wantedReplicas(runOf(3, []), 'g')).toEqual(['g-2', 'g-3'])
    expect(wantedReplicas(runOf(1, []), 'g')).toEqual([])
  })

  it('are no longer than a container group may be called, and end in the number', () => {
    const name = replicaName('a'.repeat(63), 100)
    expect([name.length, name.endsWith('a-100')]).toEqual([63, true])
    expect(replicaName(`${'a'.repeat(60)}-bc`, 2)).toBe(`${'a'.repeat(60)}-2`)
  })
})

describe('what may be removed', () => {
  it('is what was made here and is not wanted any more', () => {
    expect(surplusReplicas(runOf(2, ['g', 'g-2', 'g-3', 'G-4']), 'g')).toEqual(['g-3', 'g-4'])
  })

  it('is no group that somebody else made, no group of another name and no generation', () => {
    const run = runOf(1, ['g', 'h-2', 'g-12345678', 'g-101', 'g-1'])
    expect(recordedReplicas(run, 'g')).toEqual([])
  })
})
