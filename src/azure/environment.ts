/**
 * Everything that makes one cloud differ from another, as values. No other code asks which cloud it
 * is on: the emulator is one more `AzureEnvironment`, with its own endpoints, root and credential.
 */
export interface AzureEnvironment {
  /** Azure Resource Manager, an https origin without a trailing slash. */
  readonly armEndpoint: string
  readonly armScope: string
  readonly credential: CredentialSource
  /** PEM of the only TLS roots to accept; undefined means the roots that Node ships. */
  readonly ca: string | undefined
  /** Pause between two looks at a long-running operation, in milliseconds. */
  readonly pollIntervalMs: number
  /** How long to wait for a new role assignment to reach a vault, in seconds. */
  readonly roleWaitSeconds: number
  /** How long to wait for a new identity to be visible to the directory, in seconds. */
  readonly directoryWaitSeconds: number
  /** How long to wait for the name of a new vault to resolve, in seconds. */
  readonly nameWaitSeconds: number
}

/** What `--auth` takes: the Azure CLI, federation, a service principal, a managed identity, or whichever of them is there. */
export const authMethods = ['auto', 'azcli', 'oidc', 'sp', 'msi'] as const
export type AuthMethod = (typeof authMethods)[number]

/** A login by @azure/identity. */
export interface IdentitySource {
  readonly kind: 'identity'
  readonly auth: AuthMethod
  readonly authorityHost: string
  /** As configured; undefined means AZURE_TENANT_ID, or the tenant of the login. */
  readonly tenantId: string | undefined
  /** The environment, where pipelines and platforms say who they are. */
  readonly variables: Readonly<Record<string, string | undefined>>
  /** Whether the authority is one that login.microsoftonline.com vouches for. */
  readonly instanceDiscovery: boolean
}

export type CredentialSource =
  | IdentitySource
  /** RFC 6749 section 4.4 against one authority. */
  | {
      readonly kind: 'client-secret'
      readonly authorityHost: string
      readonly tenantId: string
      readonly clientId: string
      readonly clientSecret: string
    }

export type AzureCloudName = 'azure' | 'azure-usgov' | 'azure-china'

/** Endpoints as in the table of `az cloud list` and in @azure/identity. */
const endpoints: Readonly<Record<AzureCloudName, { arm: string; authority: string }>> = {
  azure: { arm: 'https://management.azure.com', authority: 'https://login.microsoftonline.com' },
  'azure-usgov': { arm: 'https://management.usgovcloudapi.net', authority: 'https://login.microsoftonline.us' },
  'azure-china': { arm: 'https://management.chinacloudapi.cn', authority: 'https://login.chinacloudapi.cn' }
}

/** The endpoints of a cloud with a login: `auth` as in {@link authMethods}, `variables` the environment. */
export function azureEnvironment(
  cloud: AzureCloudName,
  tenantId: string | undefined,
  login: Pick<IdentitySource, 'auth' | 'variables'>
): AzureEnvironment {
  const { arm, authority } = endpoints[cloud]
  return {
    armEndpoint: arm,
    armScope: `${arm}/.default`,
    credential: { kind: 'identity', ...login, authorityHost: authority, tenantId, instanceDiscovery: true },
    ca: undefined,
    pollIntervalMs: 2000,
    // Documented as "up to 10 minutes"; measured by others as usually under 2.
    roleWaitSeconds: 600,
    directoryWaitSeconds: 120,
    nameWaitSeconds: 120
  }
}
