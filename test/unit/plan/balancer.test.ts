import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import { balancerTemplate, type BalancerKind, type Origin, type Routing } from '../../../src/plan/balancer.js'

const east: Origin = { host: 'my-router.eastus.azurecontainer.io', port: 8080, scheme: 'http', region: 'eastus' }
const west: Origin = { host: '192.0.2.7', port: 8080, scheme: 'http', region: 'westeurope' }
const template = (kind: BalancerKind, origins: readonly Origin[], routing: Routing = 'performance') =>
  balancerTemplate(kind, { name: 'cr', origins, routing })
/** By type and, where there are several, in their order. */
const resources = (of: JsonObject, type: string) =>
  (of['resources'] as JsonObject[]).filter((each) => each['type'] === type)

/** Every `[parameters('x')]` has its parameter, and every resource that one depends on is in the template. */
function danglingReferences(of: JsonObject): readonly string[] {
  const text = JSON.stringify(of['resources']) + JSON.stringify(of['outputs'])
  const used = [...text.matchAll(/parameters\('([^']+)'\)/g)].map(([, name]) => name ?? '')
  const parameters = Object.keys(of['parameters'] as JsonObject)
  const list = of['resources'] as JsonObject[]
  const ids = list.map(({ type, name }) => {
    const path = (name as string)
      .slice(1, -1)
      .replace(/^concat\((.*)\)$/, '$1')
      .replaceAll(", '/', ", ', ')
    return `[resourceId('${type as string}', ${path})]`
  })
  const needed = list.flatMap(({ dependsOn }) => (dependsOn ?? []) as string[])
  return [
    ...used.filter((name) => !parameters.includes(name)),
    ...parameters.filter((name) => !used.includes(name)),
    ...needed.filter((id) => !ids.includes(id))
  ]
}

describe('the template of a Front Door', () => {
  it('is complete, and every reference in it leads somewhere', () => {
    const written = template('front-door', [east, west])
    expect(written['$schema']).toBe('https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#')
    expect((written['resources'] as JsonObject[]).map(({ type }) => type)).toEqual([
      'Microsoft.Cdn/profiles',
      'Microsoft.Cdn/profiles/afdEndpoints',
      'Microsoft.Cdn/profiles/originGroups',
      'Microsoft.Cdn/profiles/originGroups/origins',
      'Microsoft.Cdn/profiles/originGroups/origins',
      'Microsoft.Cdn/profiles/afdEndpoints/routes'
    ])
    expect(danglingReferences(written)).toEqual([])
    const depth = (written['resources'] as JsonObject[]).map(({ type, name }) => [
      (type as string).split('/').length - 1,
      (name as string).startsWith('[concat') ? (name as string).split("'/'").length : 1
    ])
    expect(depth.filter(([ofType, ofName]) => ofType !== ofName)).toEqual([])
  })

  it('is of the Standard tier and waits for a silent model as long as Azure does', () => {
    const [profile] = resources(template('front-door', [east]), 'Microsoft.Cdn/profiles')
    expect(profile).toMatchObject({ sku: { name: 'Standard_AzureFrontDoor' }, location: 'global' })
    const { parameters } = template('front-door', [east]) as { parameters: JsonObject }
    expect(parameters['originResponseTimeoutSeconds']).toMatchObject({ defaultValue: 240, minValue: 16, maxValue: 240 })
  })

  it('has one origin for each router, by its host and port, and the host in the header', () => {
    const origins = resources(
      template('front-door', [east, { ...west, port: 80 }]),
      'Microsoft.Cdn/profiles/originGroups/origins'
    )
    expect(origins.map(({ name, properties }) => [name, properties])).toEqual([
      [
        "[concat(parameters('profileName'), '/', 'routers', '/', 'router-1')]",
        {
          hostName: east.host,
          httpPort: 8080,
          originHostHeader: east.host,
          priority: 1,
          weight: 1000,
          enabledState: 'Enabled'
        }
      ],
      [
        "[concat(parameters('profileName'), '/', 'routers', '/', 'router-2')]",
        {
          hostName: west.host,
          httpPort: 80,
          originHostHeader: west.host,
          priority: 1,
          weight: 1000,
          enabledState: 'Enabled'
        }
      ]
    ])
  })

  it('asks /readyz over HTTP, takes HTTPS only, caches nothing, and waits with the route for all origins', () => {
    const written = template('front-door', [east, west])
    const [group] = resources(written, 'Microsoft.Cdn/profiles/originGroups')
    expect(group?.['properties']).toMatchObject({
      healthProbeSettings: { probePath: '/readyz', probeRequestType: 'GET', probeProtocol: 'Http' },
      sessionAffinityState: 'Disabled'
    })
    const [route] = resources(written, 'Microsoft.Cdn/profiles/afdEndpoints/routes')
    expect(route?.['properties']).toEqual({
      originGroup: {
        id: "[resourceId('Microsoft.Cdn/profiles/originGroups', parameters('profileName'), 'routers')]"
      },
      supportedProtocols: ['Https'],
      patternsToMatch: ['/*'],
      forwardingProtocol: 'HttpOnly',
      httpsRedirect: 'Disabled',
      linkToDefaultDomain: 'Enabled',
      enabledState: 'Enabled'
    })
    expect((route?.['dependsOn'] as string[]).filter((id) => id.includes('/origins'))).toHaveLength(2)
  })

  it('is refused for a router that has a port with TLS only: no authority signs its certificate', () => {
    const tls: Origin = { ...east, scheme: 'https', port: 8443 }
    expect(() => template('front-door', [west, tls])).toThrow(
      expect.objectContaining({
        code: 'balancer.tls-only',
        message: expect.stringContaining(`https://${east.host}:8443`)
      })
    )
  })
})

describe('the template of a Traffic Manager', () => {
  it('is one profile that asks /readyz of each router and takes 200 alone', () => {
    const written = template('traffic-manager', [east, west])
    expect(danglingReferences(written)).toEqual([])
    expect(written['resources']).toEqual([
      {
        type: 'Microsoft.Network/trafficManagerProfiles',
        apiVersion: '2022-04-01',
        name: "[parameters('profileName')]",
        location: 'global',
        properties: {
          profileStatus: 'Enabled',
          trafficRoutingMethod: 'Performance',
          dnsConfig: { relativeName: "[parameters('dnsName')]", ttl: "[parameters('ttl')]" },
          monitorConfig: {
            protocol: 'HTTP',
            port: 8080,
            path: '/readyz',
            intervalInSeconds: 10,
            timeoutInSeconds: 5,
            toleratedNumberOfFailures: 2,
            expectedStatusCodeRanges: [{ min: 200, max: 200 }]
          },
          endpoints: [
            {
              type: 'Microsoft.Network/trafficManagerProfiles/externalEndpoints',
              name: 'router-1',
              properties: {
                target: east.host,
                endpointStatus: 'Enabled',
                weight: 1,
                priority: 1,
                endpointLocation: 'eastus'
              }
            },
            {
              type: 'Microsoft.Network/trafficManagerProfiles/externalEndpoints',
              name: 'router-2',
              properties: {
                target: west.host,
                endpointStatus: 'Enabled',
                weight: 1,
                priority: 2,
                endpointLocation: 'westeurope'
              }
            }
          ]
        }
      }
    ])
  })

  it.each([
    ['weighted', 'Weighted'],
    ['priority', 'Priority']
  ] as const)('routes %s as Azure calls it, also where no region is recorded', (routing, method) => {
    const [profile] = template('traffic-manager', [{ ...east, region: undefined }], routing)[
      'resources'
    ] as JsonObject[]
    expect(profile?.['properties']).toMatchObject({ trafficRoutingMethod: method })
  })

  it('asks over TLS where there is no other port: its certificate is looked at by the caller, not here', () => {
    const tls: Origin = { ...east, scheme: 'https', port: 8443 }
    const written = template('traffic-manager', [tls])
    const [profile] = written['resources'] as JsonObject[]
    expect(profile?.['properties']).toMatchObject({ monitorConfig: { protocol: 'HTTPS', port: 8443 } })
    expect(JSON.stringify(written['outputs'])).toMatch(/https:\/\/.*:8443/)
  })

  it('is refused where the routers have several ports, and performance routing where a region is unknown', () => {
    expect(() => template('traffic-manager', [east, { ...west, port: 9090 }])).toThrow(
      expect.objectContaining({
        code: 'balancer.ports-differ',
        message: expect.stringMatching(/http 8080 and http 9090/)
      })
    )
    expect(() => template('traffic-manager', [east, { ...west, region: undefined }])).toThrow(
      expect.objectContaining({ code: 'balancer.no-region', message: expect.stringContaining(west.host) })
    )
  })
})

describe('both templates', () => {
  it.each(['front-door', 'traffic-manager'] as const)('of %s have the same bytes for the same origins', (kind) => {
    const bytes = () => JSON.stringify(template(kind, [east, west]))
    expect(bytes()).toBe(bytes())
    expect(JSON.stringify(template(kind, [west, east]))).not.toBe(bytes())
  })
})
