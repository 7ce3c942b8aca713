import { type EmulatorResponse, ServiceError } from '../../http.js'
import { errorResponseOf } from './errors.js'
import type { Operation, Operations } from './operations.js'
import { type ArmRequest, param, type Route } from './route.js'

/**
 * Where the `Location` of an accepted deletion or purge points: 202 while the work goes on, then the
 * answer that the call itself would have given.
 */
export function operationResultRoutes(operations: Operations): Route[] {
  const handle = async (request: ArmRequest): Promise<EmulatorResponse> => {
    const operation = requireOperation(operations, param(request, 'operation'))
    switch (operation.status) {
      case 'InProgress': {
        const location = `${request.origin}${request.path}?api-version=${request.apiVersion}`
        return { status: 202, headers: { location, 'retry-after': '1' } }
      }
      case 'Succeeded':
        return { status: 200 }
      case 'Failed':
        return errorResponseOf(operation.error)
      default:
        return operation.status satisfies never
    }
  }
  return [
    '/subscriptions/{subscription}/operationresults/{operation}',
    '/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/operationResults/{operation}',
    '/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/locations/{location}/operationResults/{operation}'
  ].map((pattern) => ({ method: 'GET', pattern, action: undefined, handle }))
}

export function requireOperation(operations: Operations, id: string): Operation {
  const operation = operations.get(id)
  if (!operation) throw new ServiceError(404, 'OperationNotFound', `The operation '${id.slice(0, 80)}' was not found.`)
  return operation
}
