import { Fields } from '../../body.js'
import { type EmulatorResponse, jsonBody, ServiceError } from '../../http.js'
import type { ContainerGroups } from '../aci/container-groups.js'
import { readGroupSpec } from '../aci/group-spec.js'
import { describeGroup } from '../aci/group-view.js'
import type { GroupRecord } from '../aci/group-record.js'
import { resourceNotFound } from './errors.js'
import { requireOperation } from './operation-routes.js'
import type { Operation, Operations } from './operations.js'
import { type ResourceType } from './resource-groups.js'
import { resourceKey } from './resource-id.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface ContainerGroupRoutesOptions {
  readonly subscriptionId: string
  readonly groups: ContainerGroups
  readonly operations: Operations
  /** Ids of user-assigned identities that exist. */
  readonly findIdentity: (id: string) => { readonly principalId: string; readonly clientId: string } | undefined
  readonly removeAssignments: (scope: string) => Promise<void>
}

const resourceType = 'Microsoft.ContainerInstance/containerGroups'
/** Operations answer in a version of their own, whatever the request had. */
const operationsApiVersion = '2018-06-01'
const maxTail = 10_000

export function containerGroupType(options: ContainerGroupRoutesOptions): ResourceType {
  const { groups, operations } = options
  return {
    list: () => groups.list().map(({ id, name, spec }) => ({ id, name, type: resourceType, location: spec.location })),
    remove: async (id) => {
      const operation = await groups.remove(id)
      if (operation) await operations.ended(operation.id)
      await options.removeAssignments(id)
    }
  }
}

/** Container groups of Azure Container Instances, sku Confidential. */
export function containerGroupRoutes(options: ContainerGroupRoutesOptions): Route[] {
  const { groups, operations, findIdentity } = options
  const describe = (record: GroupRecord) => describeGroup(record, findIdentity)
  const all = '/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/containerGroups'
  const collection =
    '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerInstance/containerGroups'
  const one = `${collection}/{name}`
  const location = '/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/locations/{location}'

  return [
    { method: 'PUT', pattern: one, action: `${resourceType}/write`, handle: (request) => put(request, options) },
    {
      method: 'GET',
      pattern: one,
      action: `${resourceType}/read`,
      handle: async (request) => ({ status: 200, body: describe(require(request, groups)) })
    },
    {
      method: 'GET',
      pattern: collection,
      action: `${resourceType}/read`,
      handle: async (request) => {
        const prefix = `${resourceKey(request.path)}/`
        const value = groups.list().filter(({ id }) => resourceKey(id).startsWith(prefix))
        return { status: 200, body: { value: value.map(describe) } }
      }
    },
    {
      method: 'GET',
      pattern: all,
      action: `${resourceType}/read`,
      handle: async () => ({ status: 200, body: { value: groups.list().map(describe) } })
    },
    { method: 'DELETE', pattern: one, action: `${resourceType}/delete`, handle: (request) => remove(request, options) },
    {
      method: 'POST',
      pattern: `${one}/start`,
      action: `${resourceType}/start/action`,
      handle: async (request) => {
        const operation = await groups.restart(require(request, groups).id)
        return { status: 202, headers: pollingHeaders(request, require(request, groups), operation, options) }
      }
    },
    {
      method: 'POST',
      pattern: `${one}/restart`,
      action: `${resourceType}/restart/action`,
      handle: async (request) => {
        const operation = await groups.restart(require(request, groups).id)
        return { status: 204, headers: pollingHeaders(request, require(request, groups), operation, options) }
      }
    },
    {
      method: 'POST',
      pattern: `${one}/stop`,
      action: `${resourceType}/stop/action`,
      handle: async (request) => {
        await groups.stop(require(request, groups).id)
        return { status: 204 }
      }
    },
    {
      method: 'GET',
      pattern: `${one}/containers/{container}/logs`,
      action: `${resourceType}/containers/logs/read`,
      handle: (request) => logs(request, groups)
    },
    {
      method: 'GET',
      pattern: `${location}/operations/{operation}`,
      action: undefined,
      handle: async (request) => describeOperation(requireOperation(operations, param(request, 'operation')), groups)
    },
    {
      method: 'GET',
      pattern: `${location}/usages`,
      action: 'Microsoft.ContainerInstance/locations/usages/read',
      handle: async (request) => ({ status: 200, body: { value: usages(param(request, 'location'), groups, options) } })
    },
    {
      method: 'GET',
      pattern: `${location}/capabilities`,
      action: 'Microsoft.ContainerInstance/locations/capabilities/read',
      handle: async (request) => ({ status: 200, body: { value: [capability(param(request, 'location'))] } })
    }
  ]
}

async function put(request: ArmRequest, options: ContainerGroupRoutesOptions): Promise<EmulatorResponse> {
  const { groups, findIdentity } = options
  const name = param(request, 'name')
  const spec = readGroupSpec(name, Fields.of(jsonBody(request)))
  for (const id of spec.identityIds) if (!findIdentity(id)) throw missingIdentity(request.path, id)
  const { created, operation } = await groups.put(request.path, name, spec)
  const record = require(request, groups)
  return {
    status: created ? 201 : 200,
    headers: pollingHeaders(request, record, operation, options),
    body: describeGroup(record, findIdentity)
  }
}

async function remove(request: ArmRequest, options: ContainerGroupRoutesOptions): Promise<EmulatorResponse> {
  const record = options.groups.get(request.path)
  const operation = await options.groups.remove(request.path)
  if (!record || !operation) return { status: 204 }
  await options.removeAssignments(record.id)
  const base = `${request.origin}/subscriptions/${options.subscriptionId}/providers/Microsoft.ContainerInstance/locations/${record.spec.location}`
  return {
    status: 202,
    headers: {
      location: `${base}/operationResults/${operation.id}?api-version=${operationsApiVersion}`,
      'retry-after': '1'
    }
  }
}

async function logs(request: ArmRequest, groups: ContainerGroups): Promise<EmulatorResponse> {
  const record = require(request, groups)
  const container = record.spec.containers.find(({ name }) => name === param(request, 'container'))
  if (!container) {
    throw new ServiceError(
      404,
      'ContainerNotFound',
      `The container '${param(request, 'container').slice(0, 80)}' is not found in container group '${record.name}'.`
    )
  }
  const tail = request.query.get('tail')
  if (tail !== null && !/^\d{1,9}$/.test(tail)) {
    throw new ServiceError(400, 'InvalidTail', `The value '${tail.slice(0, 40)}' of 'tail' is not a number of lines.`)
  }
  const content = await groups.readLog(record.id, container.name, {
    tail: tail === null ? undefined : Math.min(Number(tail), maxTail),
    timestamps: request.query.get('timestamps')?.toLowerCase() === 'true'
  })
  return { status: 200, body: { content } }
}

function describeOperation(
  { id, target, status, startedAt, error }: Operation,
  groups: ContainerGroups
): EmulatorResponse {
  const record = groups.get(target)
  const events = record ? Object.values(record.containers).flatMap((container) => container.events) : []
  return {
    status: 200,
    ...(status === 'InProgress' ? { headers: { 'retry-after': '1' } } : {}),
    body: {
      id: record?.id ?? id,
      status: status === 'InProgress' ? 'Pending' : status,
      startTime: startedAt,
      properties: { events: [...events, ...(record?.events ?? [])] },
      ...(error ? { error } : {})
    }
  }
}

function pollingHeaders(
  request: ArmRequest,
  record: GroupRecord,
  operation: Operation,
  { subscriptionId }: ContainerGroupRoutesOptions
): Record<string, string> {
  const base = `${request.origin}/subscriptions/${subscriptionId}/providers/Microsoft.ContainerInstance/locations/${record.spec.location}`
  return {
    'azure-asyncoperation': `${base}/operations/${operation.id}?api-version=${operationsApiVersion}`,
    'retry-after': '1'
  }
}

function require(request: ArmRequest, groups: ContainerGroups): GroupRecord {
  const [name, group] = [param(request, 'name'), param(request, 'group')]
  const prefix = `/subscriptions/${param(request, 'subscription')}/resourceGroups/${group}/providers/${resourceType}/${name}`
  const record = groups.get(prefix)
  if (!record) throw resourceNotFound(resourceType, name, group)
  return record
}

function missingIdentity(group: string, identity: string): ServiceError {
  const response = JSON.stringify({ error: { code: 'BadRequest', message: `Resource '${identity}' was not found.` } })
  return new ServiceError(
    400,
    'FailedIdentityOperation',
    `Identity operation for resource '${group}' failed with error 'Failed to perform resource identity operation. Status: 'BadRequest'. Response: '${response}'.'.`
  )
}

/** Quotas of a new subscription. */
function usages(location: string, groups: ContainerGroups, { subscriptionId }: ContainerGroupRoutesOptions): unknown[] {
  const here = groups.list().filter(({ spec }) => spec.location === location.toLowerCase())
  const cores = here.flatMap(({ spec }) => spec.containers).reduce((sum, { resources }) => sum + resources.cpu, 0)
  const usage = (value: string, localizedValue: string, currentValue: number, limit: number) => ({
    id: `/subscriptions/${subscriptionId}/providers/Microsoft.ContainerInstance/locations/${location}/usages/${value}`,
    unit: 'Count',
    currentValue,
    limit,
    name: { value, localizedValue }
  })
  return [
    usage('ContainerGroups', 'Container Groups', here.length, 100),
    usage('StandardCores', 'Standard Cores', cores, 100)
  ]
}

function capability(location: string): unknown {
  return {
    resourceType: 'containerGroups',
    osType: 'Linux',
    location,
    ipAddressType: 'Public',
    gpu: 'None',
    capabilities: { maxMemoryInGB: 180, maxCpu: 31, maxGpuCount: 0 }
  }
}
