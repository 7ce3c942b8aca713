import { getAttestationProvider } from '../azure/attestation.js'
import { getContainerGroup } from '../azure/container-group.js'
import { getDeletedVault, getVault, vaultNameProblem } from '../azure/key-vault.js'
import { getResourceGroup } from '../azure/resource-group.js'
import { unregisteredProviders } from '../azure/resource-providers.js'
import type { AzureSession } from '../azure/session.js'
import { containerUsage, getSubscription } from '../azure/subscription.js'
import type { Config } from '../config/index.js'
import type { DoctorCheck, Finding } from './doctor.js'

export interface AzureAccess {
  readonly config: () => Config
  /** A session that ends with the signal. Throws where there is no cloud to look at. */
  readonly azure: (signal: AbortSignal) => Promise<AzureSession>
  /** Whether a host name exists; rejects if the name service does not say. */
  readonly hostExists: (name: string) => Promise<boolean>
}

/**
 * Regions with confidential container groups, as Microsoft's virtual-nodes project lists them. Azure
 * itself has no answer to this question, so a region that is not here is a warning.
 */
const confidentialRegions: ReadonlySet<string> = new Set(
  `centralindia eastasia eastus eastus2 germanywestcentral italynorth japaneast northeurope southcentralus
  southeastasia switzerlandnorth uaenorth westeurope westus westus2`.split(/\s+/)
)

type Look = (azure: AzureSession, config: Config, access: AzureAccess) => Promise<Finding>

/** What can be asked of Azure before anything is made. */
export function azureChecks(access: AzureAccess): readonly DoctorCheck[] {
  const check = (id: string, title: string, needs: readonly string[], look: Look): DoctorCheck => ({
    id,
    title,
    needs: ['config', ...needs],
    look: async (signal) => look(await access.azure(signal), access.config(), access)
  })
  const visible = ['credential', 'subscription']
  return [
    check('credential', 'credential', [], credential),
    check('subscription', 'subscription', ['credential'], subscription),
    check('providers', 'resource providers', visible, providers),
    check('region', 'region', visible, region),
    check('vault-name', 'key vault name', visible, vaultName),
    check('attestation-name', 'attestation provider name', visible, attestationName),
    check('dns-label', 'DNS label', visible, dnsLabel),
    check('quota', 'quota', visible, quota)
  ]
}

const credential: Look = async (azure) => {
  const { objectId, kind } = await azure.caller()
  return { outcome: 'pass', detail: `${kind === 'User' ? 'user' : 'service principal'} ${objectId}` }
}

const subscription: Look = async (azure) => {
  const { name, state, tenantId } = await getSubscription(azure)
  const { tenantId: ours } = await azure.caller()
  if (state !== 'Enabled') {
    return {
      outcome: 'fail',
      detail: `${name} is ${state}`,
      next: ['az account list -o table', 'set subscription to another one in confrouter.yaml'],
      fault: 'cloud'
    }
  }
  if (tenantId !== undefined && tenantId !== ours) {
    return {
      outcome: 'fail',
      detail: `${name} belongs to tenant ${tenantId}, the login to ${ours}`,
      next: [`az login --tenant ${tenantId}`, `set tenant: ${tenantId} in confrouter.yaml`],
      fault: 'machine'
    }
  }
  return { outcome: 'pass', detail: name === '' ? azure.subscriptionId : `${name} (${azure.subscriptionId})` }
}

const providers: Look = async (azure) => {
  const missing = await unregisteredProviders(azure)
  if (missing.length === 0) return { outcome: 'pass', detail: 'registered' }
  return {
    outcome: 'warn',
    detail: `not registered: ${missing.join(', ')}; \`up\` registers them, which needs */register/action`,
    next: missing.map((namespace) => `az provider register --namespace ${namespace} --wait`)
  }
}

const region: Look = async (azure, { resourceGroup, location, cloud }) => {
  const group = await getResourceGroup(azure, resourceGroup)
  const actual = group?.location.toLowerCase().replaceAll(' ', '')
  if (actual !== undefined && actual !== location) {
    return {
      outcome: 'fail',
      detail: `resource group "${resourceGroup}" is in ${actual}, not in ${location}`,
      next: [`set location: ${actual} in confrouter.yaml`, 'set resourceGroup to another name'],
      fault: 'config'
    }
  }
  if (cloud === 'local') return { outcome: 'pass', detail: `${location}, on loopback` }
  if (confidentialRegions.has(location) && cloud === 'azure') {
    return { outcome: 'pass', detail: `${location} is known to have confidential container groups` }
  }
  return {
    outcome: 'warn',
    detail: `${location} is not known to have confidential container groups; Azure cannot be asked`,
    next: [`set location to one of: ${[...confidentialRegions].join(', ')}`]
  }
}

const otherVault = 'set keyVault.name to another name in confrouter.yaml'

const vaultName: Look = async (azure, { keyVault, resourceGroup, location }) => {
  if ((await getVault(azure, resourceGroup, keyVault.name)) !== undefined) {
    return { outcome: 'pass', detail: `"${keyVault.name}" exists in resource group "${resourceGroup}"` }
  }
  const deleted = await getDeletedVault(azure, keyVault.name, location)
  if (deleted !== undefined) {
    const until = deleted.scheduledPurgeDate?.toISOString().slice(0, 10)
    const ours = `/resourceGroups/${resourceGroup}/`.toLowerCase()
    const detail = `a deleted vault (${deleted.vaultId}) owns "${keyVault.name}"${until === undefined ? '' : ` until ${until}`}`
    if (deleted.vaultId.toLowerCase().includes(ours)) {
      return {
        outcome: 'warn',
        detail: `${detail}; \`up\` recovers it`,
        next: ['confrouter up --soft-deleted recover']
      }
    }
    return { outcome: 'fail', detail, next: [otherVault], fault: 'cloud' }
  }
  const problem = await vaultNameProblem(azure, keyVault.name)
  if (problem === undefined) return { outcome: 'pass', detail: `"${keyVault.name}" is free` }
  return { outcome: 'fail', detail: problem, next: [otherVault], fault: 'cloud' }
}

const attestationName: Look = async (azure, { attestation, resourceGroup }) => {
  if (attestation.endpoint !== undefined) {
    return { outcome: 'skipped', detail: `an existing one is used: ${attestation.endpoint}` }
  }
  const provider = await getAttestationProvider(azure, resourceGroup, attestation.name)
  if (provider !== undefined) return { outcome: 'pass', detail: `"${attestation.name}" exists` }
  // There is no such question in the service's interface, so nothing is claimed.
  return { outcome: 'skipped', detail: `Azure says whether "${attestation.name}" is free only when it is created` }
}

const dnsLabel: Look = async (azure, { containerGroup, resourceGroup, location, cloud }, { hostExists }) => {
  const label = containerGroup.dnsLabel
  if (label === undefined) return { outcome: 'skipped', detail: 'containerGroup.dnsLabel is not set' }
  const group = await getContainerGroup(azure, resourceGroup, containerGroup.name)
  if (group?.dnsLabel === label) return { outcome: 'pass', detail: `"${label}" is this deployment's` }
  if (cloud !== 'azure') return { outcome: 'skipped', detail: `nothing to ask for "${label}" on ${cloud}` }
  const host = `${label}.${location}.azurecontainer.io`
  if (!(await hostExists(host))) return { outcome: 'pass', detail: `${host} belongs to nobody` }
  return {
    outcome: 'fail',
    detail: `${host} belongs to somebody`,
    next: ['set containerGroup.dnsLabel to another label in confrouter.yaml'],
    fault: 'cloud'
  }
}

const quota: Look = async (azure, { containerGroup, resourceGroup, sidecar, location }) => {
  if ((await getContainerGroup(azure, resourceGroup, containerGroup.name)) !== undefined) {
    return { outcome: 'pass', detail: `container group "${containerGroup.name}" exists` }
  }
  const usage = await containerUsage(azure, location)
  const wanted: Readonly<Record<string, number>> = {
    ContainerGroups: 1,
    StandardCores: containerGroup.cpu + sidecar.cpu
  }
  const seen = usage.filter(({ name }) => name in wanted)
  if (seen.length === 0) {
    return {
      outcome: 'unknown',
      detail: `Azure shows no quota of container groups for ${location}`,
      next: [`az container list-usage --location ${location} -o table`]
    }
  }
  const full = seen.filter(({ name, current, limit }) => current + (wanted[name] ?? 0) > limit)
  const shown = (list: typeof seen) =>
    list.map(({ name, current, limit }) => `${name} ${current} of ${limit}`).join(', ')
  if (full.length === 0) return { outcome: 'pass', detail: shown(seen) }
  return {
    outcome: 'fail',
    detail: `not enough left: ${shown(full)}`,
    next: [
      `az container list-usage --location ${location} -o table`,
      'set location to another region in confrouter.yaml'
    ],
    fault: 'cloud'
  }
}
