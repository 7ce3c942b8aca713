import type { JsonObject } from '../../../base/json.js'
import type { TemplateOutput } from '../../../policy/index.js'
import type { Principal } from '../../access.js'
import type { DeploymentInput } from './deployment-plan.js'
import type { ArmError } from './operations.js'
import { resourceGroupId } from './resource-id.js'

/** A deployment as it is kept. */
export interface DeploymentRecord {
  readonly name: string
  readonly group: string
  readonly state: 'Accepted' | 'Running' | 'Succeeded' | 'Failed'
  readonly startedAt: string
  readonly endedAt?: string
  readonly correlationId: string
  readonly templateHash: string
  readonly parameters: JsonObject
  readonly outputs: Readonly<Record<string, TemplateOutput>>
  readonly resources: readonly DeployedResource[]
  readonly error?: ArmError
  /** In whose name the resources are written. */
  readonly principal: Principal
  /** Kept only while it is needed: it holds the values of secure parameters. */
  readonly input?: DeploymentInput
}

export interface DeployedResource {
  readonly id: string
  readonly type: string
  readonly name: string
  readonly operationId: string
  readonly state: 'Running' | 'Succeeded' | 'Failed'
  readonly timestamp: string
  readonly statusCode: string
  readonly error?: ArmError
}

/** What a description needs besides the record. */
interface Surroundings {
  readonly subscriptionId: string
  readonly clock: () => Date
}

export function deploymentId(
  { group, name }: DeploymentRecord,
  { subscriptionId }: Pick<Surroundings, 'subscriptionId'>
): string {
  return `${resourceGroupId(subscriptionId, group)}/providers/Microsoft.Resources/deployments/${name}`
}

/** As Resource Manager shows it. */
export function describe(record: DeploymentRecord, options: Surroundings) {
  const ended = Date.parse(record.endedAt ?? options.clock().toISOString())
  return {
    id: deploymentId(record, options),
    name: record.name,
    type: 'Microsoft.Resources/deployments',
    properties: {
      templateHash: record.templateHash,
      parameters: record.parameters,
      mode: 'Incremental',
      provisioningState: record.state,
      timestamp: record.endedAt ?? record.startedAt,
      duration: `PT${((ended - Date.parse(record.startedAt)) / 1000).toFixed(3)}S`,
      correlationId: record.correlationId,
      providers: providersOf(record),
      dependencies: [],
      ...(record.state === 'Succeeded'
        ? { outputs: record.outputs, outputResources: record.resources.map(({ id }) => ({ id })) }
        : {}),
      ...(record.error ? { error: record.error } : {})
    }
  }
}

function providersOf({ resources }: DeploymentRecord): unknown[] {
  const namespaces = new Set(resources.map(({ type }) => type.split('/')[0] ?? ''))
  return [...namespaces].map((namespace) => ({
    namespace,
    resourceTypes: resources
      .filter(({ type }) => type.startsWith(`${namespace}/`))
      .map(({ type }) => ({ resourceType: type.slice(namespace.length + 1) }))
  }))
}

/** One operation for each resource that was written. */
export function describeOperations(record: DeploymentRecord, options: Surroundings): unknown[] {
  return record.resources.map((resource) => ({
    id: `${deploymentId(record, options)}/operations/${resource.operationId}`,
    operationId: resource.operationId,
    properties: {
      provisioningOperation: 'Create',
      provisioningState: resource.state,
      timestamp: resource.timestamp,
      statusCode: resource.statusCode,
      targetResource: { id: resource.id, resourceType: resource.type, resourceName: resource.name },
      ...(resource.error ? { statusMessage: { status: resource.state, error: resource.error } } : {})
    }
  }))
}
