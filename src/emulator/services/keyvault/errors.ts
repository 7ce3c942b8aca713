import { ServiceError } from '../../http.js'

/** The error bodies of the Key Vault data plane, in its own words where they are known. */
export const keyVaultError = {
  badParameter: (message: string): ServiceError => new ServiceError(400, 'BadParameter', message),

  keyNotFound: (name: string): ServiceError =>
    new ServiceError(
      404,
      'KeyNotFound',
      `A key with (name/id) ${name} was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182`
    ),

  deletedKeyNotFound: (name: string): ServiceError =>
    new ServiceError(404, 'KeyNotFound', `Deleted Key not found: ${name}`),

  deletedButRecoverable: (name: string): ServiceError =>
    new ServiceError(
      409,
      'Conflict',
      `Key ${name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.`,
      { innerCode: 'ObjectIsDeletedButRecoverable' }
    ),

  beingDeleted: (name: string): ServiceError =>
    new ServiceError(409, 'Conflict', `Key ${name} is currently being deleted.`, { innerCode: 'ObjectIsBeingDeleted' }),

  forbidden: (message: string, innerCode?: string): ServiceError =>
    new ServiceError(403, 'Forbidden', message, innerCode === undefined ? {} : { innerCode }),

  targetNotVerified: (): ServiceError =>
    keyVaultError.forbidden('Target environment attestation statement cannot be verified.', 'AccessDenied'),

  policyNotMet: (): ServiceError =>
    keyVaultError.forbidden(
      'Target environment attestation does not meet key release policy requirements.',
      'AccessDenied'
    )
} as const
