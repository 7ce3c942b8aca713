import { type EmulatorResponse, ServiceError } from '../../http.js'
import type { ArmError } from './operations.js'

/** `type` as `Microsoft.KeyVault/vaults`, in Resource Manager's words. */
export function resourceNotFound(type: string, name: string, group: string): ServiceError {
  return new ServiceError(
    404,
    'ResourceNotFound',
    `The Resource '${type}/${name}' under resource group '${group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix`,
    { headers: { 'x-ms-failure-cause': 'gateway' } }
  )
}

export function badRequest(message: string): ServiceError {
  return new ServiceError(400, 'BadRequest', message)
}

/** An error that a finished operation left behind, as a response of its own. */
export function errorResponseOf(error: ArmError | undefined): EmulatorResponse {
  return {
    status: 409,
    body: { error: error ?? { code: 'InternalServerError', message: 'Encountered an internal server error.' } }
  }
}

/** The error of a response that a handler gave, for use inside another error. */
export function errorOf(response: EmulatorResponse): ArmError | undefined {
  const body = response.body
  if (response.status < 400 || typeof body !== 'object' || body === null || !('error' in body)) return undefined
  return body.error as ArmError
}
