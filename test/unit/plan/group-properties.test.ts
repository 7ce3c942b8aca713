import { describe, expect, it } from '@jest/globals'
import { groupChanges, type ObservedGroup, templateImages } from '../../../src/plan/group-properties.js'

const template = {
  resources: [
    {
      identity: { userAssignedIdentities: { '/Id/A': {} } },
      properties: {
        restartPolicy: 'Always',
        ipAddress: { ports: [{ port: 8443 }, { port: 8080 }] },
        containers: [
          {
            name: 'router',
            properties: {
              image: 'r@sha256:1',
              resources: { requests: { cpu: 2, memoryInGB: 4 } },
              environmentVariables: [
                { name: 'KID', value: 'default' },
                { name: 'PROVIDERS', value: '[[x]' },
                { name: 'CONFROUTER_SECRETS', value: "[parameters('sealedSecrets')]" }
              ]
            }
          }
        ]
      }
    }
  ]
}

const group: ObservedGroup = {
  dnsLabel: undefined,
  ports: [8080, 8443],
  restartPolicy: 'Always',
  identityIds: ['/id/a'],
  containers: [
    {
      name: 'router',
      image: 'r@sha256:1',
      cpu: 2,
      memoryGb: 4,
      environment: { KID: 'default', PROVIDERS: '[x]', CONFROUTER_SECRETS: 'sealed' }
    }
  ]
}

const changes = (observed: ObservedGroup, hostData = 'aa') =>
  groupChanges({ group: observed, hostData }, { template, hostData: 'aa' })

describe('groupChanges', () => {
  it('finds no difference in a group that is as its template, however Azure orders and spells it', () => {
    expect(changes(group)).toEqual([])
  })

  it('never shows the sealed secrets, changed or not', () => {
    const other = {
      ...group.containers[0]!,
      environment: { ...group.containers[0]!.environment, CONFROUTER_SECRETS: 'x' }
    }
    expect(JSON.stringify(changes({ ...group, containers: [other] }))).not.toContain('SECRETS')
  })

  it('shows a variable by its two values, in place', () => {
    const other = { ...group.containers[0]!, environment: { KID: 'old', PROVIDERS: '[x]', EXTRA: '1' } }
    expect(changes({ ...group, containers: [other] })).toEqual([
      { property: 'router.env.KID', from: 'old', to: 'default' },
      { property: 'router.env.EXTRA', from: '1', to: null }
    ])
  })

  it.each([
    ['host data', group, 'bb', 'hostData'],
    ['size', { ...group, containers: [{ ...group.containers[0]!, cpu: 1 }] }, 'aa', 'router.cpu'],
    ['ports', { ...group, ports: [8080] }, 'aa', 'ports'],
    ['identity', { ...group, identityIds: [] }, 'aa', 'identity'],
    ['restart policy', { ...group, restartPolicy: 'Never' }, 'aa', 'restartPolicy']
  ])('says that another %s forces delete and create', (_name, observed, hostData, property) => {
    expect(changes(observed, hostData)).toEqual([expect.objectContaining({ property, forces: 'replace' })])
  })

  it('lists everything for a group that is not there', () => {
    const all = groupChanges(undefined, { template, hostData: 'aa' })
    expect(all.every(({ from }) => from === null)).toBe(true)
    expect(all.map(({ property }) => property)).toContain('router.image')
  })
})

describe('templateImages', () => {
  it('gives each container’s image', () => {
    expect(templateImages(template)).toEqual({ router: 'r@sha256:1' })
  })
})
