import { randomUUID } from 'node:crypto'
import type { Principal } from '../../access.js'
import { type EmulatorRequest, type EmulatorResponse, ServiceError } from '../../http.js'
import { errorResponse } from '../../server.js'
import type { Collection } from '../../store.js'
import {
  type DeploymentInput,
  type DeploymentPlan,
  planDeployment,
  type PlannedResource,
  readDeployment,
  shownParameters,
  templateHash
} from './deployment-plan.js'
import {
  type DeployedResource,
  deploymentId,
  type DeploymentRecord,
  describe,
  describeOperations
} from './deployment-view.js'
import { errorOf } from './errors.js'
import { requireOperation } from './operation-routes.js'
import { type ArmError, OperationFailure, type Operations } from './operations.js'
import type { ResourceGroups } from './resource-groups.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface DeploymentsOptions {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly deployments: Collection<DeploymentRecord>
  readonly groups: Pick<ResourceGroups, 'require'>
  readonly operations: Operations
  /** Sends a request through Resource Manager as `principal`. */
  readonly invoke: (request: EmulatorRequest, principal: Principal) => Promise<EmulatorResponse>
  readonly origin: () => string
  readonly clock: () => Date
  readonly log?: ((line: string) => void) | undefined
}

const kind = 'deployment'
const seeOperations =
  'At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/arm-deployment-operations for usage details.'

/** Template deployments to a resource group, in mode Incremental. */
export function deploymentRoutes(options: DeploymentsOptions): Route[] {
  const { deployments, operations } = options
  const accepting = new Set<string>()
  operations.define(kind, (key, signal) => deploy(key, signal, options))

  const one = '/subscriptions/{subscription}/resourcegroups/{group}/providers/Microsoft.Resources/deployments/{name}'
  const listOperations = async (request: ArmRequest): Promise<EmulatorResponse> => ({
    status: 200,
    body: { value: describeOperations(require(request, options), options) }
  })
  return [
    {
      method: 'POST',
      pattern: `${one}/validate`,
      action: 'Microsoft.Resources/deployments/validate/action',
      handle: async (request) => validate(request, options)
    },
    {
      method: 'POST',
      pattern: `${one}/whatIf`,
      action: 'Microsoft.Resources/deployments/whatIf/action',
      handle: (request) => whatIf(request, options)
    },
    {
      method: 'PUT',
      pattern: one,
      action: 'Microsoft.Resources/deployments/write',
      handle: (request) => put(request, accepting, options)
    },
    {
      method: 'GET',
      pattern: one,
      action: 'Microsoft.Resources/deployments/read',
      handle: async (request) => ({ status: 200, body: describe(require(request, options), options) })
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/resourcegroups/{group}/providers/Microsoft.Resources/deployments',
      action: 'Microsoft.Resources/deployments/read',
      handle: async (request) => {
        const group = param(request, 'group').toLowerCase()
        const value = deployments.values().filter((deployment) => deployment.group.toLowerCase() === group)
        return { status: 200, body: { value: value.map((deployment) => describe(deployment, options)) } }
      }
    },
    {
      method: 'GET',
      pattern: `${one}/operationStatuses/{operation}`,
      action: 'Microsoft.Resources/deployments/operationstatuses/read',
      handle: async (request) => {
        const { status, error } = requireOperation(operations, param(request, 'operation'))
        return {
          status: 200,
          ...(status === 'InProgress' ? { headers: { 'retry-after': '1' } } : {}),
          body: { status: status === 'InProgress' ? 'Running' : status, ...(error ? { error } : {}) }
        }
      }
    },
    {
      method: 'GET',
      pattern: `${one}/operations`,
      action: 'Microsoft.Resources/deployments/operations/read',
      handle: listOperations
    },
    {
      // The path of an older time, which the SDK still uses.
      method: 'GET',
      pattern: '/subscriptions/{subscription}/resourcegroups/{group}/deployments/{name}/operations',
      action: 'Microsoft.Resources/deployments/operations/read',
      handle: listOperations
    }
  ]
}

/** Forgets the history of a resource group that has been deleted. */
export async function removeDeployments(deployments: Collection<DeploymentRecord>, group: string): Promise<void> {
  for (const [key, deployment] of deployments.entries()) {
    if (deployment.group.toLowerCase() === group.toLowerCase()) await deployments.delete(key)
  }
}

function validate(request: ArmRequest, options: DeploymentsOptions): EmulatorResponse {
  const input = readDeployment(request)
  const planned = planFor(param(request, 'group'), input, options)
  const record = newRecord(request, input, planned, options)
  const described = describe({ ...record, state: 'Succeeded' }, options)
  return {
    status: 200,
    body: {
      ...described,
      properties: { ...described.properties, validatedResources: planned.resources.map(({ id }) => ({ id })) }
    }
  }
}

/**
 * Answers at once, which the API allows. A resource that exists is `Deploy`: what of it would change is said by no
 * resource type here.
 */
async function whatIf(request: ArmRequest, options: DeploymentsOptions): Promise<EmulatorResponse> {
  const planned = planFor(param(request, 'group'), readDeployment(request), options)
  const changes = await Promise.all(
    planned.resources.map(async (resource) => {
      const before = await options.invoke(readOf(resource, request), request.principal).catch(absent)
      const after = { id: resource.id, type: resource.type, name: resource.name, ...resource.body }
      return before === undefined
        ? { resourceId: resource.id, changeType: 'Create', after }
        : { resourceId: resource.id, changeType: 'Deploy', before: before.body, after }
    })
  )
  return { status: 200, body: { status: 'Succeeded', properties: { changes } } }
}

const readOf = ({ id, apiVersion }: PlannedResource, request: ArmRequest): EmulatorRequest => ({
  ...request,
  method: 'GET',
  path: id,
  query: new URLSearchParams({ 'api-version': apiVersion }),
  body: new Uint8Array()
})

function absent(error: unknown): undefined {
  if (!(error instanceof ServiceError && error.status === 404)) throw error
}

async function put(
  request: ArmRequest,
  /** Deployments that are accepted and not yet recorded. */
  accepting: Set<string>,
  options: DeploymentsOptions
): Promise<EmulatorResponse> {
  const { deployments, operations } = options
  const name = param(request, 'name')
  if (!/^[-\w._()]{1,64}$/.test(name)) {
    throw new ServiceError(400, 'InvalidDeployment', `The provided deployment name '${name.slice(0, 80)}' is invalid.`)
  }
  const key = keyOf(param(request, 'group'), name)
  const known = deployments.get(key)
  if (known?.state === 'Accepted' || known?.state === 'Running' || accepting.has(key)) {
    throw deploymentActive(known?.name ?? name, known?.startedAt ?? options.clock().toISOString())
  }
  const input = readDeployment(request)
  const record = { ...newRecord(request, input, planFor(param(request, 'group'), input, options), options), input }
  accepting.add(key)
  try {
    const operation = await operations.start(kind, key, () => deployments.set(key, record))
    const url = `${request.origin}${deploymentId(record, options)}/operationStatuses/${operation.id}?api-version=${request.apiVersion}`
    return {
      status: known ? 200 : 201,
      headers: { 'azure-asyncoperation': url, 'retry-after': '1' },
      body: describe(record, options)
    }
  } finally {
    accepting.delete(key)
  }
}

function deploymentActive(name: string, since: string): ServiceError {
  return new ServiceError(
    409,
    'DeploymentActive',
    `Unable to edit or replace deployment '${name}': previous deployment from '${since}' is still active. Please see https://aka.ms/arm-deploy for usage details.`
  )
}

/** Writes the resources one after the other. A deployment that a kill cut short is begun anew: each PUT is repeatable. */
async function deploy(key: string, signal: AbortSignal, options: DeploymentsOptions): Promise<void> {
  const { deployments, clock } = options
  const accepted = deployments.get(key)
  if (!accepted?.input) throw new TypeError('the deployment has no template')
  const { resources } = planFor(accepted.group, accepted.input, options)
  const deployed: DeployedResource[] = []
  for (const resource of resources) {
    signal.throwIfAborted()
    await deployments.set(key, { ...accepted, state: 'Running', resources: [...deployed] })
    const error = await writeResource(resource, accepted.principal, signal, options)
    deployed.push(deployedResource(resource, error, clock()))
    if (!error) continue
    const failure: ArmError = {
      code: 'DeploymentFailed',
      target: deploymentId(accepted, options),
      message: seeOperations,
      details: [error]
    }
    await deployments.set(key, ended(accepted, { state: 'Failed', resources: deployed, error: failure }, clock()))
    throw new OperationFailure(failure)
  }
  await deployments.set(key, ended(accepted, { state: 'Succeeded', resources: deployed }, clock()))
}

function deployedResource(resource: PlannedResource, error: ArmError | undefined, now: Date): DeployedResource {
  const { id, type, name } = resource
  return {
    id,
    type,
    name,
    operationId: randomUUID().replaceAll('-', '').slice(0, 16).toUpperCase(),
    state: error ? 'Failed' : 'Succeeded',
    timestamp: now.toISOString(),
    statusCode: error ? (error.code ?? 'Conflict') : 'OK',
    ...(error ? { error } : {})
  }
}

function ended(
  { input: _, ...record }: DeploymentRecord,
  outcome: Pick<DeploymentRecord, 'state' | 'resources' | 'error'>,
  now: Date
): DeploymentRecord {
  return { ...record, ...outcome, endedAt: now.toISOString() }
}

/** Undefined when the resource was written and its own long-running operation has succeeded. */
async function writeResource(
  resource: PlannedResource,
  principal: Principal,
  signal: AbortSignal,
  { invoke, operations, origin, log }: DeploymentsOptions
): Promise<ArmError | undefined> {
  const request: EmulatorRequest = {
    method: 'PUT',
    path: resource.id,
    query: new URLSearchParams({ 'api-version': resource.apiVersion }),
    headers: {},
    body: new TextEncoder().encode(JSON.stringify(resource.body)),
    origin: origin(),
    signal
  }
  const response = await invoke(request, principal).catch((failure: unknown) => errorResponse(failure, log))
  const error = errorOf(response)
  if (error) return refused(response)
  const operationId = /\/operations\/([0-9a-f-]+)/i.exec(response.headers?.['azure-asyncoperation'] ?? '')?.[1]
  if (operationId === undefined) return undefined
  const operation = await operations.ended(operationId)
  if (operation.status === 'Succeeded') return undefined
  return {
    code: 'ResourceDeploymentFailure',
    target: resource.id,
    message:
      "The resource write operation failed to complete successfully, because it reached terminal provisioning state 'Failed'.",
    ...(operation.error?.details ? { details: operation.error.details } : {})
  }
}

const statusNames: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  501: 'NotImplemented'
}

/** What a resource provider answered reaches the user as JSON inside a message. */
function refused(response: EmulatorResponse): ArmError {
  return {
    code: statusNames[response.status] ?? 'InternalServerError',
    message: JSON.stringify(response.body, null, 2).replaceAll('\n', '\r\n')
  }
}

function planFor(group: string, input: DeploymentInput, options: DeploymentsOptions): DeploymentPlan {
  const { name, location } = options.groups.require(group)
  const { subscriptionId, tenantId } = options
  return planDeployment(input, { subscriptionId, tenantId, resourceGroup: { name, location } })
}

function newRecord(
  request: ArmRequest,
  input: DeploymentInput,
  { outputs }: DeploymentPlan,
  { groups, clock }: DeploymentsOptions
): DeploymentRecord {
  return {
    name: param(request, 'name'),
    group: groups.require(param(request, 'group')).name,
    state: 'Accepted',
    startedAt: clock().toISOString(),
    correlationId: randomUUID(),
    templateHash: templateHash(input.template),
    parameters: shownParameters(input),
    outputs,
    resources: [],
    principal: request.principal
  }
}

function require(request: ArmRequest, { deployments }: DeploymentsOptions): DeploymentRecord {
  const name = param(request, 'name')
  const record = deployments.get(keyOf(param(request, 'group'), name))
  if (record) return record
  throw new ServiceError(404, 'DeploymentNotFound', `Deployment '${name.slice(0, 80)}' could not be found.`)
}

function keyOf(group: string, name: string): string {
  return `${group}/${name}`.toLowerCase()
}
