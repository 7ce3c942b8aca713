import type { ContainerGroup } from '@azure/arm-containerinstance'
import { buildNativeImage, imageFacts, openLayoutImage } from '../../../../src/image/index.js'
import { generatePolicies, type GroupPolicy, type PolicyOptions } from '../../../../src/policy/index.js'

interface TestContainer {
  readonly name: string
  readonly image: string
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly port?: number
}

export interface TestGroup {
  readonly containers: readonly TestContainer[]
  readonly identityIds?: readonly string[]
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  readonly policy?: PolicyOptions
  /** DNS label of a group with ports; `my-router` if left out. */
  readonly label?: string
}

/** An image of one script, by its pinned reference. */
export async function buildScriptImage(layout: string, name: string, script: string): Promise<string> {
  const { digest } = await buildNativeImage({
    layout,
    reference: `registry.test/${name}:1`,
    files: [{ path: '/app/main.cjs', mode: 0o644, content: Buffer.from(script) }],
    config: {
      entrypoint: ['node', '/app/main.cjs'],
      env: ['FROM_IMAGE=image', 'OVERRIDDEN=image'],
      workingDir: '/app'
    }
  })
  return `registry.test/${name}@${digest}`
}

/** A template with one confidential container group, without its policy. */
export function groupTemplate({
  containers,
  identityIds = [],
  restartPolicy = 'Always',
  label = 'my-router'
}: TestGroup) {
  return {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
    contentVersion: '1.0.0.0',
    resources: [
      {
        type: 'Microsoft.ContainerInstance/containerGroups',
        apiVersion: '2023-05-01',
        name: 'group',
        location: 'westeurope',
        ...(identityIds.length > 0
          ? {
              identity: {
                type: 'UserAssigned',
                userAssignedIdentities: Object.fromEntries(identityIds.map((id) => [id, {}]))
              }
            }
          : {}),
        properties: {
          sku: 'Confidential',
          osType: 'Linux',
          restartPolicy,
          confidentialComputeProperties: { ccePolicy: '' },
          containers: containers.map(({ name, image, command, environment = {}, port }) => ({
            name,
            properties: {
              image,
              ...(command ? { command: [...command] } : {}),
              ports: port === undefined ? [] : [{ port, protocol: 'TCP' }],
              environmentVariables: Object.entries(environment).map(([variable, value]) => ({ name: variable, value })),
              resources: { requests: { cpu: 1, memoryInGB: 1 } }
            }
          })),
          ...(containers.some(({ port }) => port !== undefined)
            ? {
                ipAddress: {
                  type: 'Public',
                  dnsNameLabel: label,
                  ports: containers.flatMap(({ port }) => (port === undefined ? [] : [{ port, protocol: 'TCP' }]))
                }
              }
            : {})
        }
      }
    ]
  }
}

export async function policyOf(layout: string, group: TestGroup): Promise<GroupPolicy> {
  const images = new Map(
    await Promise.all(
      group.containers.map(
        async ({ image }) => [image, await imageFacts(await openLayoutImage(layout, image))] as const
      )
    )
  )
  const [policy] = generatePolicies({ template: groupTemplate(group), images, options: group.policy ?? {} })
  if (!policy) throw new Error('no policy was made')
  return policy
}

/** The template with a policy in it: its own, or any text. */
export function withPolicy(template: ReturnType<typeof groupTemplate>, ccePolicy: string) {
  const copy = structuredClone(template)
  for (const { properties } of copy.resources) properties.confidentialComputeProperties.ccePolicy = ccePolicy
  return copy
}

/** The same group in the flattened form of the SDK. */
export function sdkGroup(template: ReturnType<typeof groupTemplate>): ContainerGroup {
  const [resource] = template.resources
  if (!resource) throw new Error('the template has no group')
  const { properties, location } = resource
  return {
    location,
    ...('identity' in resource ? { identity: resource.identity as NonNullable<ContainerGroup['identity']> } : {}),
    sku: properties.sku,
    osType: properties.osType,
    restartPolicy: properties.restartPolicy,
    confidentialComputeProperties: properties.confidentialComputeProperties,
    containers: properties.containers.map(({ name, properties: container }) => ({ name, ...container })),
    ...('ipAddress' in properties ? { ipAddress: properties.ipAddress } : {})
  }
}
