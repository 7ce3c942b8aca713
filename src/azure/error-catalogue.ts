import type { Fault } from '../base/user-error.js'
import type { AzureCause, AzureErrorFacts } from './error-facts.js'

/** What a rule may say more about than its code. */
export interface ErrorContext {
  /** What was being done, for example `key vault "cr-kv"`. */
  readonly what: string
  /** The quoted name in it, or a placeholder that says what belongs there. */
  readonly name: string
  readonly facts: AzureErrorFacts
  /** The cause that the rule matched: the outer error or one below it. */
  readonly cause: AzureCause
}

export interface Remedy {
  readonly code: string
  readonly fault: Fault
  readonly problem: (context: ErrorContext) => string
  /** Azure's own message if left out. */
  readonly why?: string | ((context: ErrorContext) => string)
  readonly next: readonly string[] | ((context: ErrorContext) => readonly string[])
}

export interface Rule {
  /** `error.code`; `*` is any, `none` an entry of `details[]` that has no code. */
  readonly azure: string
  readonly inner?: string
  /** HTTP status, where the code alone means several things; a hundred stands for all of it. */
  readonly status?: number
  /** Only where there is no code, or one that says nothing: then the words are all there is. */
  readonly says?: RegExp
  readonly remedy: Remedy
}

const again = 'run the same command again'
const otherVaultName = 'set keyVault.name to another name in confrouter.yaml'
const otherRegion = 'set location to another region in confrouter.yaml'

const noCapacity: Remedy = {
  code: 'aci.no-capacity',
  fault: 'cloud',
  problem: ({ what }) => `the region has no capacity for ${what}`,
  next: [`${again} later`, 'set containerGroup.cpu and containerGroup.memoryGb to less in confrouter.yaml', otherRegion]
}

const notAvailable = /^The requested resource (with '[^']*' CPU.*)?is not available in the location /

const throttled: Remedy = {
  code: 'azure.throttled',
  fault: 'cloud',
  problem: ({ what }) => `${what}: Azure takes no more requests for now`,
  next: [`${again} in a few minutes`]
}

const templateRefused: Remedy = {
  code: 'aci.template-invalid',
  fault: 'cloud',
  problem: ({ what, facts }) => `the template of ${what} was refused: ${(facts.nested.at(-1) ?? facts).message}`,
  next: ['confrouter policy']
}

const releasePolicyRefused: Remedy = {
  code: 'key.release-policy-refused',
  fault: 'bug',
  problem: ({ what }) => `the vault refused the release policy of ${what}`,
  next: ['confrouter policy', 'report it: https://github.com/confrouter/confrouter/issues']
}

const notLoggedIn: Remedy = {
  code: 'auth.refused',
  fault: 'machine',
  problem: ({ what }) => `${what}: Azure does not accept the token of this login`,
  next: ['az login', 'set tenant in confrouter.yaml, if the subscription is in another one']
}

const busy: Remedy = {
  code: 'azure.busy',
  fault: 'cloud',
  problem: ({ what }) => `${what}: another operation on it has not ended`,
  next: [`${again} when it has ended`]
}

/**
 * Azure's code, where that is not enough with inner code or status, to the product's error. Ordered:
 * the innermost cause is looked up first, and for one cause the first rule that fits counts, so what is
 * most specific stands first. docs/errors.md has an entry for each `code`.
 */
export const catalogue: readonly Rule[] = [
  // Key Vault, data plane.
  rule('Forbidden', {
    inner: 'ForbiddenByRbac',
    code: 'keyvault.forbidden',
    problem: ({ what }) => `no permission on ${what}`,
    why: ({ cause }) =>
      [
        'the role assignment is missing or has not reached the vault yet, which can take up to 10 minutes',
        ...(cause.message.match(/^(Action|Assignment): .*$/gm) ?? []).map((line) => line.trim())
      ].join('; '),
    next: ['confrouter provision', `${again} in a few minutes`]
  }),
  rule('Forbidden', {
    inner: 'ForbiddenByFirewall',
    code: 'keyvault.firewall',
    problem: ({ what }) => `the network rules of the vault refuse this machine: ${what}`,
    next: ({ name }) => [`az keyvault network-rule add --name VAULT --ip-address ADDRESS   (for "${name}")`, again]
  }),
  // Without an inner code it is never a role that is late, so it is never waited for.
  rule('Forbidden', {
    status: 403,
    code: 'keyvault.refused',
    problem: ({ what }) => `the vault refuses this on ${what}`,
    next: [
      'az keyvault show --name VAULT --query properties.sku.name   (only a premium vault has HSM keys)',
      'az keyvault update --name VAULT --set properties.sku.name=premium'
    ]
  }),
  rule('Conflict', {
    inner: 'ObjectIsDeletedButRecoverable',
    code: 'keyvault.key-soft-deleted',
    problem: ({ what }) => `${what} is deleted but still owns its name`,
    next: ({ name }) => [
      'confrouter key --soft-deleted recover',
      `az keyvault key recover --vault-name VAULT --name ${name}`
    ]
  }),
  rule('Conflict', {
    inner: 'ObjectIsBeingDeleted',
    code: 'keyvault.key-being-deleted',
    problem: ({ what }) => `${what} is being deleted`,
    next: [`${again} in a minute`]
  }),
  rule('BadParameter', {
    inner: 'AKV.SKR.1001',
    code: 'keyvault.not-premium',
    fault: 'config',
    problem: ({ what }) => `${what} cannot be exportable: only premium vaults have keys that can be released`,
    next: ['az keyvault update --name VAULT --set properties.sku.name=premium', otherVaultName]
  }),
  rule('BadParameter', { inner: 'AKV.SKR.1004', ...releasePolicyRefused }),
  rule('BadParameter', { inner: 'AKV.SKR.1005', ...releasePolicyRefused }),
  rule('KeyNotFound', {
    code: 'key.not-found',
    problem: ({ what }) => `there is no ${what}`,
    next: ['confrouter key']
  }),
  rule('Throttled', throttled),

  // Key Vault, control plane.
  rule('ConflictError', {
    code: 'keyvault.soft-deleted',
    problem: ({ what }) => `${what} cannot be created`,
    why: 'a deleted vault with this name still owns the name',
    next: ({ name }) => [
      'confrouter provision --soft-deleted recover',
      otherVaultName,
      `az keyvault purge --name ${name}   (cannot be undone)`
    ]
  }),
  rule('VaultAlreadyExists', {
    code: 'keyvault.name-taken',
    problem: ({ what }) => `${what} cannot be created: the name is taken`,
    why: 'vault names are unique in all of Azure',
    next: [otherVaultName]
  }),

  // Attestation, roles, identities.
  rule('DuplicateTenant', {
    code: 'attestation.name-taken',
    problem: ({ what }) => `${what} cannot be created: the name is taken`,
    why: 'attestation provider names are unique in a region, over all subscriptions',
    next: [
      'set attestation.name to another name in confrouter.yaml (3 to 24 letters and digits)',
      'set attestation.endpoint to a shared provider, for example https://sharedeus.eus.attest.azure.net'
    ]
  }),
  rule('PrincipalNotFound', {
    code: 'identity.not-visible-yet',
    problem: ({ what }) => `${what} is not visible to the directory yet`,
    next: [`${again} in two minutes`]
  }),
  rule('RoleAssignmentExists', {
    code: 'role.exists',
    problem: ({ what }) => `${what} exists under another name`,
    next: [again]
  }),
  rule('RoleAssignmentUpdateNotPermitted', {
    code: 'role.different',
    problem: ({ what }) => `${what} exists for another principal`,
    next: ['az role assignment list --scope VAULT_ID -o table', 'az role assignment delete --ids ID', again]
  }),

  // Container groups.
  rule('InvalidCcePolicy', {
    code: 'aci.policy-invalid',
    problem: ({ what }) => `the CCE policy of ${what} was refused`,
    next: ['confrouter policy']
  }),
  rule('InvalidDnsNameLabel', {
    code: 'aci.dns-label-invalid',
    fault: 'config',
    problem: ({ what }) => `the DNS label of ${what} was refused`,
    next: ['set containerGroup.dnsLabel to 5 to 63 lower-case letters, digits and hyphens, a letter first']
  }),
  rule('DnsNameLabelAlreadyInUse', {
    code: 'aci.dns-label-taken',
    problem: ({ what }) => `the DNS label of ${what} is taken`,
    next: ['set containerGroup.dnsLabel to another label in confrouter.yaml']
  }),
  rule('InvalidImageRegistryServer', {
    code: 'aci.registry-invalid',
    fault: 'config',
    problem: ({ what }) => `the registry in ${what} was refused`,
    next: ['set image.repository to HOST/PATH without a protocol, for example ghcr.io/OWNER/confidential-router']
  }),
  rule('InaccessibleImage', {
    code: 'aci.image-inaccessible',
    problem: ({ what }) => `Azure cannot pull an image of ${what}`,
    next: ['make the repository public, or give the container group a login for it', 'confrouter build']
  }),
  rule('InvalidContainerGroupUpdate', {
    code: 'aci.immutable',
    problem: ({ what }) => `${what} has what Azure cannot change in place`,
    next: ({ name }) => [`az container delete -g GROUP -n ${name} --yes`, 'confrouter up']
  }),
  rule('ContainerLimitGreaterThanContainerGroupTotalRequest', {
    code: 'aci.resources',
    fault: 'config',
    problem: ({ what }) => `the resources of ${what} do not fit together`,
    next: ['set containerGroup.cpu, containerGroup.memoryGb, sidecar.cpu and sidecar.memoryGb in confrouter.yaml']
  }),
  rule('ContainerGroupQuotaReached', {
    code: 'aci.quota',
    problem: ({ what }) => `${what} exceeds the quota of the region`,
    next: [
      'az container list-usage --location REGION -o table',
      'az container delete -g GROUP -n UNUSED_GROUP',
      otherRegion
    ]
  }),
  // With 409 it is ACI's word for "no capacity", with 503 any service's for "not now".
  rule('ServiceUnavailable', { status: 409, ...noCapacity }),
  // Inside a failed operation there is no status, and often no code.
  { azure: 'ServiceUnavailable', says: notAvailable, remedy: noCapacity },
  { azure: 'none', says: notAvailable, remedy: noCapacity },
  rule('ContainerGroupTransitioning', busy),

  // Resource Manager.
  rule('MissingSubscriptionRegistration', {
    code: 'azure.provider-not-registered',
    problem: ({ cause }) => `a resource provider is not registered: ${cause.message}`,
    next: ({ cause, facts }) => [
      `az provider register --namespace ${namespaceOf(cause, facts) ?? 'NAMESPACE'} --wait`,
      again
    ]
  }),
  rule('AuthorizationFailed', {
    code: 'azure.forbidden',
    problem: ({ what }) => `no permission for this on ${what}`,
    next: ({ cause }) => [
      `${grantFor(cause.message)}   (by an owner of the subscription)`,
      'az role assignment list --assignee YOU --all -o table'
    ]
  }),
  rule('LocationNotAvailableForResourceType', {
    code: 'azure.region',
    fault: 'config',
    problem: ({ what }) => `the region does not offer ${what}`,
    next: [otherRegion]
  }),
  rule('InvalidResourceGroupLocation', {
    code: 'resource-group.location',
    fault: 'config',
    problem: ({ what }) => `${what} exists in another region`,
    next: ['set location to the region of the resource group in confrouter.yaml', 'set resourceGroup to another name']
  }),
  rule('SubscriptionNotFound', {
    code: 'azure.subscription',
    fault: 'config',
    problem: () => 'the subscription is not one of this login',
    next: ['az account list -o table', 'set subscription and tenant in confrouter.yaml', 'az login --tenant TENANT']
  }),
  rule('RequestDisallowedByPolicy', {
    code: 'azure.policy',
    problem: ({ what }) => `a policy of the organisation forbids ${what}`,
    next: ['ask who keeps the Azure Policy of the subscription for an exemption', otherRegion]
  }),
  rule('ScopeLocked', {
    code: 'azure.locked',
    problem: ({ what }) => `a lock on it, or on its group, forbids to change ${what}`,
    next: ['az lock list -o table']
  }),
  rule('DeploymentActive', busy),
  rule('ResourceGroupBeingDeleted', busy),
  rule('AnotherOperationInProgress', busy),
  rule('InvalidTemplate', templateRefused),
  rule('InvalidTemplateDeployment', templateRefused),
  rule('InvalidAuthenticationToken', notLoggedIn),
  rule('InvalidAuthenticationTokenTenant', notLoggedIn),
  rule('ExpiredAuthenticationToken', notLoggedIn),
  rule('AuthenticationFailed', notLoggedIn),
  rule('ResourceGroupNotFound', gone()),
  rule('ResourceNotFound', gone()),

  // What only a status says. Without a code it is not Azure that answered, and nothing is known of what was asked for.
  rule('Unknown', {
    status: 404,
    code: 'azure.foreign-answer',
    problem: ({ what }) => `${what}: 404 without an error code of Azure`,
    why: 'something in between answered, such as a proxy: whether it is there is not known, so nothing was made in its place',
    next: ['check HTTPS_PROXY, NO_PROXY and the endpoints, then run the same command again']
  }),
  rule('*', { status: 429, ...throttled }),
  rule('*', {
    status: 500,
    code: 'azure.unavailable',
    problem: ({ what, facts }) => `${what}: Azure answered ${facts.code} with status ${facts.status}`,
    next: [`${again} later`, 'https://azure.status.microsoft']
  })
]

function rule(azure: string, entry: Omit<Rule, 'azure' | 'remedy'> & Omit<Remedy, 'fault'> & { fault?: Fault }): Rule {
  const { inner, status, code, fault = 'cloud', problem, why, next } = entry
  return {
    azure,
    ...(inner === undefined ? {} : { inner }),
    ...(status === undefined ? {} : { status }),
    remedy: { code, fault, problem, next, ...(why === undefined ? {} : { why }) }
  }
}

function gone(): Remedy {
  return {
    code: 'azure.not-found',
    fault: 'cloud',
    problem: ({ what }) => `${what} is not there, or something that it needs`,
    next: ['confrouter status', 'confrouter up']
  }
}

function namespaceOf(cause: AzureCause, { nested }: AzureErrorFacts): string | undefined {
  const targets = [cause, ...nested].map(({ target }) => target)
  return targets.find((target) => target !== undefined && /^Microsoft\.\w+$/.test(target))
}

/** The command with which somebody else can give what is missing; the service's message names who lacks what where. */
function grantFor(message: string): string {
  const who = /object id '([^']+)'/.exec(message)?.[1] ?? 'OBJECT_ID'
  const action = /action '([^']+)'/.exec(message)?.[1] ?? ''
  const scope = /over scope '([^']+)'/.exec(message)?.[1]?.replace(/\/providers\/Microsoft\.Authorization\/.*$/i, '')
  const role = /^Microsoft\.Authorization\//i.test(action) ? 'Role Based Access Control Administrator' : 'Contributor'
  return `az role assignment create --assignee ${who} --role "${role}" --scope ${scope ?? 'SCOPE'}`
}
