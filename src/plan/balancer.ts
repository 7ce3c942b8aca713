import type { Json, JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'

/** What may stand in front of the groups of one deployment. */
export type BalancerKind = 'front-door' | 'traffic-manager'

/** How Traffic Manager chooses: the nearest region, in equal parts, or the first one that answers. */
export type Routing = 'performance' | 'weighted' | 'priority'

/** One router as callers reach it. */
export interface Origin {
  /** Host name or IPv4 address. */
  readonly host: string
  readonly port: number
  readonly scheme: 'http' | 'https'
  /** Azure region in its short form; undefined if it is not recorded. */
  readonly region: string | undefined
}

export interface BalancerValues {
  /** Base name of the deployment; the profile's default name follows from it. */
  readonly name: string
  /** The best first. Not empty. */
  readonly origins: readonly Origin[]
  readonly routing: Routing
}

const schema = 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
/** 200 only when the key is released and the provider keys are open. */
const probePath = '/readyz'

/**
 * A complete ARM template for a resource group. The same origins give the same bytes. Their order is kept, and each has
 * a name by its number, so that a deployment with other addresses changes them in place.
 *
 * @throws UserError `balancer.tls-only`, `balancer.ports-differ` or `balancer.no-region`: what this balancer cannot do
 */
export function balancerTemplate(kind: BalancerKind, values: BalancerValues): JsonObject {
  return kind === 'front-door' ? frontDoor(values) : trafficManager(values)
}

const frontDoorApi = '2024-02-01'

/**
 * Standard tier. It ends TLS and speaks HTTP to the routers: it takes no certificate from an origin that no authority
 * has signed, and the router's own is signed by none but named in the evidence. Without `cacheConfiguration` nothing is
 * cached.
 */
function frontDoor({ name, origins }: BalancerValues): JsonObject {
  requirePlain(origins)
  const profile = "parameters('profileName')"
  const endpoint = "parameters('endpointName')"
  const group = "'routers'"
  const resource = (type: string, path: readonly string[], more: JsonObject): JsonObject => ({
    type: `Microsoft.Cdn/profiles${type}`,
    apiVersion: frontDoorApi,
    name: path.length === 1 ? `[${path.join()}]` : `[concat(${path.join(", '/', ")})]`,
    ...more
  })
  const idOf = (type: string, path: readonly string[]) =>
    `[resourceId('Microsoft.Cdn/profiles${type}', ${path.join(', ')})]`
  const originNames = origins.map((_, index) => `'${originName(index)}'`)
  return {
    $schema: schema,
    contentVersion: '1.0.0.0',
    parameters: {
      profileName: { type: 'string', defaultValue: `${name}-front-door` },
      endpointName: {
        type: 'string',
        defaultValue: name,
        metadata: { description: 'Azure adds a hash to it: the outputs have the host name.' }
      },
      originResponseTimeoutSeconds: {
        type: 'int',
        defaultValue: 240,
        minValue: 16,
        maxValue: 240,
        metadata: { description: 'A model may be silent for long before its first word. Azure takes no more than 240.' }
      }
    },
    resources: [
      resource('', [profile], {
        location: 'global',
        sku: { name: 'Standard_AzureFrontDoor' },
        properties: { originResponseTimeoutSeconds: "[parameters('originResponseTimeoutSeconds')]" }
      }),
      resource('/afdEndpoints', [profile, endpoint], {
        location: 'global',
        dependsOn: [idOf('', [profile])],
        properties: { enabledState: 'Enabled' }
      }),
      resource('/originGroups', [profile, group], {
        dependsOn: [idOf('', [profile])],
        properties: {
          loadBalancingSettings: { sampleSize: 4, successfulSamplesRequired: 3, additionalLatencyInMilliseconds: 50 },
          healthProbeSettings: {
            probePath,
            probeRequestType: 'GET',
            probeProtocol: 'Http',
            probeIntervalInSeconds: 30
          },
          sessionAffinityState: 'Disabled'
        }
      }),
      ...origins.map(({ host, port }, index) =>
        resource('/originGroups/origins', [profile, group, originNames[index] ?? ''], {
          dependsOn: [idOf('/originGroups', [profile, group])],
          properties: {
            hostName: host,
            httpPort: port,
            originHostHeader: host,
            priority: 1,
            weight: 1000,
            enabledState: 'Enabled'
          }
        })
      ),
      resource('/afdEndpoints/routes', [profile, endpoint, "'all'"], {
        dependsOn: [
          idOf('/afdEndpoints', [profile, endpoint]),
          // A route to a group that has no origin yet is refused.
          ...originNames.map((origin) => idOf('/originGroups/origins', [profile, group, origin]))
        ],
        properties: {
          originGroup: { id: idOf('/originGroups', [profile, group]) },
          supportedProtocols: ['Https'],
          patternsToMatch: ['/*'],
          forwardingProtocol: 'HttpOnly',
          httpsRedirect: 'Disabled',
          linkToDefaultDomain: 'Enabled',
          enabledState: 'Enabled'
        }
      })
    ],
    outputs: {
      endpoint: {
        type: 'string',
        value: `[concat('https://', reference(resourceId('Microsoft.Cdn/profiles/afdEndpoints', ${profile}, ${endpoint})).hostName)]`
      }
    }
  }
}

const trafficManagerApi = '2022-04-01'
const routingMethods: Readonly<Record<Routing, string>> = {
  performance: 'Performance',
  weighted: 'Weighted',
  priority: 'Priority'
}

/** It answers questions for a name and sees no call. One port is probed for all endpoints, and callers use that one. */
function trafficManager({ name, origins, routing }: BalancerValues): JsonObject {
  const { port, scheme } = requireSamePort(origins)
  if (routing === 'performance') requireRegions(origins)
  return {
    $schema: schema,
    contentVersion: '1.0.0.0',
    parameters: {
      profileName: { type: 'string', defaultValue: `${name}-traffic-manager` },
      dnsName: {
        type: 'string',
        defaultValue: `[concat('${name}-', uniqueString(resourceGroup().id))]`,
        metadata: { description: 'First label of the public name, unique in the whole cloud.' }
      },
      ttl: {
        type: 'int',
        defaultValue: 30,
        minValue: 0,
        metadata: { description: 'How long resolvers keep an answer, in seconds.' }
      }
    },
    resources: [
      {
        type: 'Microsoft.Network/trafficManagerProfiles',
        apiVersion: trafficManagerApi,
        name: "[parameters('profileName')]",
        location: 'global',
        properties: {
          profileStatus: 'Enabled',
          trafficRoutingMethod: routingMethods[routing],
          dnsConfig: { relativeName: "[parameters('dnsName')]", ttl: "[parameters('ttl')]" },
          monitorConfig: {
            protocol: scheme.toUpperCase(),
            port,
            path: probePath,
            intervalInSeconds: 10,
            timeoutInSeconds: 5,
            toleratedNumberOfFailures: 2,
            expectedStatusCodeRanges: [{ min: 200, max: 200 }]
          },
          endpoints: origins.map(({ host, region }, index): Json => ({
            type: 'Microsoft.Network/trafficManagerProfiles/externalEndpoints',
            name: originName(index),
            properties: {
              target: host,
              endpointStatus: 'Enabled',
              weight: 1,
              priority: index + 1,
              ...(region === undefined ? {} : { endpointLocation: region })
            }
          }))
        }
      }
    ],
    outputs: {
      endpoint: {
        type: 'string',
        value: `[concat('${scheme}://', reference(resourceId('Microsoft.Network/trafficManagerProfiles', parameters('profileName'))).dnsConfig.fqdn, ':${port}')]`
      }
    }
  }
}

function originName(index: number): string {
  return `router-${index + 1}`
}

function requirePlain(origins: readonly Origin[]): void {
  const sealed = origins.find(({ scheme }) => scheme === 'https')
  if (sealed === undefined) return
  throw new UserError('config', 'balancer.tls-only', `Front Door cannot go to https://${sealed.host}:${sealed.port}`, {
    why: 'the router’s certificate is signed by no authority, which Front Door insists on, and router.tls.only leaves no other port',
    next: ['set router.tls.only: false in confrouter.yaml', 'confrouter balancer traffic-manager']
  })
}

function requireSamePort(origins: readonly Origin[]): Pick<Origin, 'port' | 'scheme'> {
  const [first] = origins
  if (first === undefined) throw new TypeError('there is an origin')
  const other = origins.find(({ port, scheme }) => port !== first.port || scheme !== first.scheme)
  if (other === undefined) return first
  throw new UserError(
    'config',
    'balancer.ports-differ',
    `Traffic Manager asks one port of all endpoints, and they have ${first.scheme} ${first.port} and ${other.scheme} ${other.port}`,
    {
      why: 'an upgrade that changes the port goes on, or was left unfinished',
      next: ['confrouter status', 'confrouter up']
    }
  )
}

function requireRegions(origins: readonly Origin[]): void {
  const without = origins.filter(({ region }) => region === undefined)
  if (without.length === 0) return
  throw new UserError(
    'config',
    'balancer.no-region',
    `performance routing needs the region of each endpoint, and none is recorded for ${without.map(({ host }) => host).join(', ')}`,
    {
      why: 'the addresses were written by a version that did not record it',
      next: ['confrouter balancer traffic-manager --routing weighted', 'confrouter up   (after the next change)']
    }
  )
}
