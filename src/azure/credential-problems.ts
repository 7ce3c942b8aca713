import { type Fault, UserError } from '../base/user-error.js'
import type { AuthMethod } from './environment.js'

/** A way to log in; `machine` is whichever login of this machine gives a token. */
export type LoginMethod = Exclude<AuthMethod, 'auto'> | 'machine'

export interface LoginContext {
  readonly method: LoginMethod
  /** Claim `sub` of the assertion that was shown to Entra. */
  readonly assertionSubject: string | undefined
  readonly variables: Readonly<Record<string, string | undefined>>
}

interface Remedy {
  readonly code: string
  readonly fault: Fault
  readonly problem: string
  readonly why: string
  readonly next: readonly string[]
}

/**
 * What a failed login means and what to do. Entra's errors are told apart by their AADSTS number, those
 * of this machine by the way of logging in; no other text is looked at, and no token or secret quoted.
 */
export function credentialProblem(error: unknown, context: LoginContext): unknown {
  if (error instanceof UserError) return error
  if (!(error instanceof Error) || !credentialErrors.includes(error.name)) return error
  const number = /AADSTS(\d+)|(endpoints_resolution_error)/.exec(error.message)?.slice(1).find(Boolean)
  const { code, fault, problem, why, next } =
    (number === undefined ? undefined : byNumber(number, context)) ?? byMethod(number, context)
  return new UserError(fault, code, problem, { why, next, cause: error })
}

const credentialErrors: readonly string[] = [
  'AggregateAuthenticationError',
  'CredentialUnavailableError',
  'AuthenticationRequiredError',
  'AuthenticationError'
]

/** learn.microsoft.com, "Microsoft Entra authentication and authorization error codes". */
function byNumber(number: string, { method, assertionSubject, variables }: LoginContext): Remedy | undefined {
  const clientId = variables['AZURE_CLIENT_ID'] || variables['AZURESUBSCRIPTION_CLIENT_ID'] || 'CLIENT-ID'
  switch (number) {
    case '700016':
      return {
        code: 'auth.unknown-application',
        fault: 'machine',
        problem: `the tenant has no application ${clientId} (AADSTS${number})`,
        why: 'AZURE_CLIENT_ID or AZURE_TENANT_ID is another one than it should be',
        next: ['az ad app show --id ' + clientId, 'set tenant in confrouter.yaml']
      }
    case '90002':
    case '900021':
    case '900023':
    // What the SDK makes of it when it asks for the endpoints of a tenant that is none.
    case 'endpoints_resolution_error':
      return {
        code: 'auth.unknown-tenant',
        fault: 'machine',
        problem: `there is no such tenant in this cloud (${number.startsWith('e') ? number : `AADSTS${number}`})`,
        why: 'the tenant is misspelled, or of another cloud than --cloud says, or Entra cannot be reached',
        next: ['az account show --query tenantId --output tsv', 'set tenant in confrouter.yaml']
      }
    case '7000215':
    case '7000222':
      return {
        code: 'auth.secret-refused',
        fault: 'machine',
        problem: `the secret of application ${clientId} was refused (AADSTS${number})`,
        why: number === '7000222' ? 'it has expired' : 'AZURE_CLIENT_SECRET is wrong, or is the id of the secret',
        next: [`az ad app credential reset --id ${clientId} --append`, '--auth oidc needs no secret']
      }
    case '70021':
    case '700211':
    case '700212':
    case '700213':
    case '700024':
    case '700027':
    case '50027': {
      if (method === 'sp') return certificateRefused(number, clientId)
      const subject = assertionSubject ?? 'SUBJECT'
      return {
        code: 'auth.federation-refused',
        fault: 'machine',
        problem: `application ${clientId} does not believe this id token (AADSTS${number})`,
        why: `issuer, subject and audience of a federated credential have to be those of the token${assertionSubject === undefined ? '' : `, whose subject is ${assertionSubject}`}`,
        next: [
          `az ad app federated-credential create --id ${clientId} --parameters '{"name":"confrouter","issuer":"https://token.actions.githubusercontent.com","subject":"${subject}","audiences":["api://AzureADTokenExchange"]}'`,
          `az ad app federated-credential list --id ${clientId} -o table`
        ]
      }
    }
    default:
      return undefined
  }
}

/** The same numbers as for a federated token: both are assertions that Entra verifies. */
function certificateRefused(number: string, clientId: string): Remedy {
  return {
    code: 'auth.certificate-refused',
    fault: 'machine',
    problem: `the certificate of application ${clientId} was refused (AADSTS${number})`,
    why: 'AZURE_CLIENT_CERTIFICATE_PATH is not one that the application has, it has expired, or this clock is wrong',
    next: [
      `az ad app credential list --id ${clientId} --cert --output table`,
      `az ad app credential reset --id ${clientId} --cert @certificate.pem --append`
    ]
  }
}

function byMethod(number: string | undefined, { method }: LoginContext): Remedy {
  const suffix = number === undefined ? '' : ` (AADSTS${number})`
  switch (method) {
    case 'azcli':
      return {
        code: 'auth.not-logged-in',
        fault: 'machine',
        problem: `the Azure CLI gave no token${suffix}`,
        why: 'az is not installed, or nobody is logged in with it',
        next: ['az login', 'az account show']
      }
    case 'msi':
      return {
        code: 'auth.no-managed-identity',
        fault: 'machine',
        problem: `no managed identity gave a token${suffix}`,
        why: 'this machine has none, or AZURE_CLIENT_ID is not one of those that it has',
        next: [
          'az vm identity show --resource-group GROUP --name VM',
          'unset AZURE_CLIENT_ID for the machine’s own identity'
        ]
      }
    case 'sp':
    case 'oidc':
      return {
        code: 'auth.refused',
        fault: 'machine',
        problem: `Entra gave no token for --auth ${method}${suffix}`,
        why: 'what was shown to it was refused; its own words are the cause',
        next: ['confrouter status --verbose', 'check AZURE_TENANT_ID, AZURE_CLIENT_ID and --cloud']
      }
    case 'machine':
      return {
        code: 'auth.not-logged-in',
        fault: 'machine',
        problem: `no credential for Azure was found${suffix}`,
        why: 'neither the environment nor the Azure CLI nor another source gave a token',
        next: ['az login', 'set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET']
      }
    default:
      return method satisfies never
  }
}
