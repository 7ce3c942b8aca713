import { getAttestationProvider } from '../azure/attestation.js'
import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { getDeletedVault, getVault, vaultNameProblem } from '../azure/key-vault.js'
import { getResourceGroup } from '../azure/resource-group.js'
import { unregisteredProviders } from '../azure/resource-providers.js'
import type { AzureSession } from '../azure/session.js'
import { containerUsage, getSubscription } from '../azure/subscription.js'
import type { Config } from '../config/index.js'
import type { DoctorCheck, Finding } from './doctor.js'
import { rightsFinding } from './doctor-rights.js'
import { firstNaming } from './generation.js'
import { type Place, wantedPlaces } from './places.js'
import { unknownRegions } from './regions.js'

export interface AzureAccess {
  readonly config: () => Config
  /** A session that ends with the signal. Throws where there is no cloud to look at. */
  readonly azure: (signal: AbortSignal) => Promise<AzureSession>
  /** Whether a host name exists; rejects if the name service does not say. */
  readonly hostExists: (name: string) => Promise<boolean>
  /** Role assignments are somebody else's. */
  readonly skipRoles: boolean
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
    check('rights', 'rights', visible, rights),
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

const rights: Look = (azure, config, access) => rightsFinding(azure, config, access)

const region: Look = async (azure, config) => {
  const { resourceGroup, location, cloud, containerGroup } = config
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
  const wrong = await unknownRegions(azure, config)
  if (wrong.length > 0) {
    return {
      outcome: 'fail',
      detail: wrong.map((each) => `Azure has no container groups in "${each.region}"${each.hint}`).join('; '),
      next: ['mend containerGroup.regions in confrouter.yaml'],
      fault: 'config'
    }
  }
  const { regions } = containerGroup
  if (cloud === 'local') return { outcome: 'pass', detail: `${regions.join(', ')}, on loopback` }
  const strange = regions.filter((each) => !confidentialRegions.has(each) || cloud !== 'azure')
  if (strange.length === 0) {
    const verb = regions.length === 1 ? 'is' : 'are'
    return { outcome: 'pass', detail: `${regions.join(', ')} ${verb} known to have confidential container groups` }
  }
  const verb = strange.length === 1 ? 'is' : 'are'
  return {
    outcome: 'warn',
    detail: `${strange.join(', ')} ${verb} not known to have confidential container groups; Azure cannot be asked`,
    next: [
      `set ${regions.length === 1 ? 'location' : 'containerGroup.regions'} to one of: ${[...confidentialRegions].join(', ')}`
    ]
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

const dnsLabel: Look = async (azure, config, { hostExists }) => {
  const { containerGroup, cloud } = config
  const label = containerGroup.dnsLabel
  if (label === undefined) return { outcome: 'skipped', detail: 'containerGroup.dnsLabel is not set' }
  const without = (await firstPlaces(azure, config)).flatMap(({ place, group }) =>
    place.label === undefined || group?.dnsLabel === label ? [] : [place]
  )
  if (without.length === 0) return { outcome: 'pass', detail: `"${label}" is this deployment's` }
  if (cloud !== 'azure') return { outcome: 'skipped', detail: `nothing to ask for "${label}" on ${cloud}` }
  const hosts = without.map(({ location }) => `${label}.${location}.azurecontainer.io`)
  const exists = await Promise.all(hosts.map(hostExists))
  const taken = hosts.filter((_, index) => exists[index])
  const say = (list: readonly string[], whose: string) => ({
    detail: `${list.join(', ')} ${list.length === 1 ? 'belongs' : 'belong'} to ${whose}`
  })
  if (taken.length === 0) return { outcome: 'pass', ...say(hosts, 'nobody') }
  return {
    outcome: 'fail',
    ...say(taken, 'somebody'),
    next: ['set containerGroup.dnsLabel to another label in confrouter.yaml'],
    fault: 'cloud'
  }
}

const quota: Look = async (azure, config) => {
  const { containerGroup } = config
  const missing = (await firstPlaces(azure, config)).flatMap(({ place, group }) => (group === undefined ? [place] : []))
  if (missing.length === 0) {
    const count = containerGroup.regions.length * containerGroup.replicas
    const many = count === 1 ? 'exists' : `and the ${count - 1} beside it exist`
    return { outcome: 'pass', detail: `container group "${containerGroup.name}" ${many}` }
  }
  const regions = [...new Set(missing.map(({ location }) => location))]
  const findings = await Promise.all(
    regions.map((location) =>
      quotaOf(azure, config, { location, count: missing.filter((place) => place.location === location).length })
    )
  )
  if (findings.length === 1 && findings[0] !== undefined) return findings[0]
  const worst = (['fail', 'unknown', 'pass'] as const).find((each) => findings.some(({ outcome }) => outcome === each))
  const of = findings.filter(({ outcome }) => outcome === worst)
  const detail = findings.map((each, index) => `${regions[index] ?? ''}: ${each.detail}`).join('; ')
  const next = of.flatMap((each) => ('next' in each ? each.next : []))
  if (worst === 'fail') return { outcome: worst, detail, next, fault: 'cloud' }
  return worst === 'unknown' ? { outcome: worst, detail, next } : { outcome: 'pass', detail }
}

/** What is left in one region for the groups that are to be made there. */
async function quotaOf(
  azure: AzureSession,
  { containerGroup, sidecar }: Config,
  { location, count }: { readonly location: string; readonly count: number }
): Promise<Finding> {
  const usage = await containerUsage(azure, location)
  const wanted: Readonly<Record<string, number>> = {
    ContainerGroups: count,
    StandardCores: count * (containerGroup.cpu + sidecar.cpu)
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
      containerGroup.regions.length === 1
        ? 'set location to another region in confrouter.yaml'
        : `set containerGroup.regions without ${location} in confrouter.yaml`
    ],
    fault: 'cloud'
  }
}

/** The groups that a first `up` makes. After an upgrade they have other names, and then more is asked for than is needed. */
async function firstPlaces(
  azure: AzureSession,
  config: Config
): Promise<readonly { readonly place: Place; readonly group: ContainerGroup | undefined }[]> {
  const { containerGroup, resourceGroup } = config
  const places = wantedPlaces({ config }, firstNaming({ config }, containerGroup.name))
  return Promise.all(
    places.map(async (place) => ({ place, group: await getContainerGroup(azure, resourceGroup, place.name) }))
  )
}
