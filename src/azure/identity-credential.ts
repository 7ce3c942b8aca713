import type { AccessToken, TokenCredential } from '@azure/core-auth'
import type * as IdentityModule from '@azure/identity'
import { UserError } from '../base/user-error.js'
import type { AuthMethod, IdentitySource } from './environment.js'
import { credentialProblem, type LoginMethod } from './credential-problems.js'
import { federationOf, gitHubIdToken } from './federation.js'

/**
 * The credential of `--auth`: one that is named, or with `auto` the first whose variables are there:
 * federation, service principal, managed identity, and otherwise the logins of this machine. Nothing is
 * tried one after the other that was not asked for, so that a failure is that of one way to log in.
 *
 * Throws a `UserError` if what the method needs is not there; `getToken` rejects with one.
 */
export async function identityCredential(source: IdentitySource, ca: string | undefined): Promise<TokenCredential> {
  const method = source.auth === 'auto' ? chooseMethod(source) : source.auth
  const { credential, assertion } = await makeCredential(method, source, ca)
  return {
    async getToken(scopes, options): Promise<AccessToken | null> {
      try {
        return await credential.getToken(scopes, options)
      } catch (error) {
        // The SDK wraps it and loses what it said.
        if (assertion?.failure !== undefined) throw assertion.failure as Error
        throw credentialProblem(error, { method, assertionSubject: assertion?.subject, variables: source.variables })
      }
    }
  }
}

function chooseMethod({ variables }: IdentitySource): LoginMethod {
  const has = (...names: readonly string[]) => names.every((name) => (variables[name] ?? '') !== '')
  if (federationOf(variables) !== undefined && has('AZURE_CLIENT_ID')) return 'oidc'
  if (has('AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET') || has('AZURE_CLIENT_ID', 'AZURE_CLIENT_CERTIFICATE_PATH'))
    return 'sp'
  if (has('IDENTITY_ENDPOINT') || has('AZURE_POD_IDENTITY_AUTHORITY_HOST')) return 'msi'
  return 'machine'
}

type Identity = typeof IdentityModule

interface Made {
  readonly credential: TokenCredential
  /** What came of asking the identity provider, once it has been asked. */
  readonly assertion?: { subject: string | undefined; failure: UserError | undefined }
}

async function makeCredential(method: LoginMethod, source: IdentitySource, ca: string | undefined): Promise<Made> {
  const identity = await import('@azure/identity')
  const { authorityHost, variables, instanceDiscovery } = source
  const options = {
    authorityHost,
    ...(ca === undefined ? {} : { tlsOptions: { ca } }),
    ...(instanceDiscovery ? {} : { disableInstanceDiscovery: true })
  }
  const tenant = source.tenantId === undefined ? {} : { tenantId: source.tenantId }
  switch (method) {
    case 'azcli':
      return { credential: new identity.AzureCliCredential(tenant) }
    case 'machine':
      return { credential: new identity.DefaultAzureCredential({ ...options, ...tenant }) }
    case 'msi': {
      const clientId = variables['AZURE_CLIENT_ID'] ?? ''
      return {
        credential: new identity.ManagedIdentityCredential(clientId === '' ? options : { ...options, clientId })
      }
    }
    case 'sp': {
      const { tenantId, clientId } = application(method, source)
      const secret = variables['AZURE_CLIENT_SECRET'] ?? ''
      if (secret !== '') {
        return { credential: new identity.ClientSecretCredential(tenantId, clientId, secret, options) }
      }
      const certificatePath = variables['AZURE_CLIENT_CERTIFICATE_PATH'] ?? ''
      if (certificatePath === '') {
        throw missingVariables(method, ['AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH'])
      }
      const certificatePassword = variables['AZURE_CLIENT_CERTIFICATE_PASSWORD']
      const certificate = { certificatePath, ...(certificatePassword === undefined ? {} : { certificatePassword }) }
      return { credential: new identity.ClientCertificateCredential(tenantId, clientId, certificate, options) }
    }
    case 'oidc':
      return federated(identity, options, source)
    default:
      return method satisfies never
  }
}

function federated(identity: Identity, options: { readonly authorityHost: string }, source: IdentitySource): Made {
  const federation = federationOf(source.variables)
  if (federation === undefined) throw noIdToken(source.variables)
  const { tenantId, clientId } = application('oidc', source)
  switch (federation.kind) {
    case 'token-file': {
      const { tokenFilePath } = federation
      return { credential: new identity.WorkloadIdentityCredential({ ...options, tenantId, clientId, tokenFilePath }) }
    }
    case 'github': {
      const assertion: Made['assertion'] = { subject: undefined, failure: undefined }
      const getAssertion = async () => {
        try {
          const { value, subject } = await gitHubIdToken(federation)
          Object.assign(assertion, { subject, failure: undefined })
          return value
        } catch (error) {
          if (error instanceof UserError) assertion.failure = error
          throw error
        }
      }
      return {
        credential: new identity.ClientAssertionCredential(tenantId, clientId, getAssertion, options),
        assertion
      }
    }
    case 'azure-pipelines': {
      const { serviceConnectionId, accessToken } = federation
      return {
        credential: new identity.AzurePipelinesCredential(tenantId, clientId, serviceConnectionId, accessToken, options)
      }
    }
  }
}

function application(
  method: 'sp' | 'oidc',
  { variables, tenantId: configured }: IdentitySource
): { readonly tenantId: string; readonly clientId: string } {
  // The task AzureCLI@2 gives the service connection's own under these names.
  const clientId = variables['AZURE_CLIENT_ID'] || variables['AZURESUBSCRIPTION_CLIENT_ID'] || ''
  const tenantId = configured ?? (variables['AZURE_TENANT_ID'] || variables['AZURESUBSCRIPTION_TENANT_ID'] || '')
  const missing = [...(clientId === '' ? ['AZURE_CLIENT_ID'] : []), ...(tenantId === '' ? ['AZURE_TENANT_ID'] : [])]
  if (missing.length > 0) throw missingVariables(method, missing)
  return { tenantId, clientId }
}

function missingVariables(method: AuthMethod, missing: readonly string[]): UserError {
  return new UserError('machine', 'auth.variables-missing', `--auth ${method} needs ${missing.join(' and ')}`, {
    why: 'these variables say which application logs in; they are empty or not set',
    next: [`set ${missing[0]}`, 'choose another way to log in: --auth azcli']
  })
}

/** Says what this runner lacks, by what it is. */
function noIdToken(variables: IdentitySource['variables']): UserError {
  const [why, next] =
    variables['GITHUB_ACTIONS'] === 'true'
      ? ['this job of GitHub Actions may not ask for an id token', 'permissions: { id-token: write, contents: read }']
      : variables['TF_BUILD'] === 'True'
        ? [
            'Azure Pipelines gives an id token to a step with a service connection and the job’s access token',
            'env: { SYSTEM_ACCESSTOKEN: $(System.AccessToken), AZURESUBSCRIPTION_SERVICE_CONNECTION_ID: ID }'
          ]
        : ['AZURE_FEDERATED_TOKEN_FILE is not set, and this is neither GitHub Actions nor Azure Pipelines', 'az login']
  return new UserError('machine', 'auth.no-id-token', 'there is no id token to log in with', { why, next: [next] })
}
