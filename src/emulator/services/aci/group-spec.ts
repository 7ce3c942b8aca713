import type { JsonObject } from '../../../base/json.js'
import type { Fields } from '../../body.js'
import { ServiceError } from '../../http.js'
import { readLocation } from '../arm/locations.js'

/** What a PUT of a container group asks for, checked as far as one can without starting anything. */
export interface GroupSpec {
  readonly location: string
  readonly tags: Readonly<Record<string, string>>
  /** Ids of user-assigned identities, as the caller spelled them. */
  readonly identityIds: readonly string[]
  readonly restartPolicy: RestartPolicy
  /** Base64 of the CCE policy, as it came. */
  readonly ccePolicy: string
  readonly containers: readonly ContainerSpec[]
  readonly ipAddress: IpAddressSpec | undefined
}

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never'

export interface ContainerSpec {
  readonly name: string
  readonly image: string
  /** Replaces the image's entrypoint and command; empty keeps them. */
  readonly command: readonly string[]
  readonly ports: readonly PortSpec[]
  readonly environment: readonly VariableSpec[]
  readonly resources: ResourcesSpec
  readonly securityContext: SecurityContextSpec
  /** Members that are stored and returned and change nothing here: probes. */
  readonly unused: JsonObject
}

interface PortSpec {
  readonly port: number
  readonly protocol: string
}

interface VariableSpec {
  readonly name: string
  readonly value: string
  /** A secure value is never returned. */
  readonly secure: boolean
}

interface ResourcesSpec {
  readonly cpu: number
  readonly memoryInGB: number
  readonly limits: { readonly cpu?: number; readonly memoryInGB?: number } | undefined
}

export interface SecurityContextSpec {
  readonly privileged: boolean
  readonly allowPrivilegeEscalation: boolean
  readonly runAsUser: number | undefined
  readonly runAsGroup: number | undefined
}

interface IpAddressSpec {
  readonly type: string
  readonly ports: readonly PortSpec[]
  readonly dnsNameLabel: string | undefined
}

/** Of a confidential group as a whole. */
const maxCpu = 31
const maxMemoryInGB = 180

/** Throws what Azure answers, and 501 for what Azure accepts and the emulator cannot do. */
export function readGroupSpec(groupName: string, body: Fields): GroupSpec {
  requireName('container group', groupName)
  const location = readLocation(body)
  const properties = body.object('properties')
  requireOnlyWhatIsEmulated(body, properties)
  const containers = properties.list('containers').map((container) => readContainer(groupName, container))
  if (containers.length === 0)
    throw invalid('MissingContainers', `The 'containers' of container group '${groupName}' cannot be empty.`)
  if (containers.length > 60)
    throw invalid('TooManyContainers', `The container group '${groupName}' has more than 60 containers.`)
  requireUnique(groupName, containers)
  requireFits(groupName, containers)
  checkRegistryCredentials(groupName, properties)
  return {
    location,
    tags: body.texts('tags'),
    identityIds: readIdentities(body),
    restartPolicy: oneOf(
      properties.optionalString('restartPolicy') ?? 'Always',
      ['Always', 'OnFailure', 'Never'],
      'restartPolicy'
    ),
    ccePolicy: properties.objectOrEmpty('confidentialComputeProperties').optionalString('ccePolicy') ?? '',
    containers,
    ipAddress: readIpAddress(groupName, properties.optionalObject('ipAddress'), containers)
  }
}

/** Throws when an update would change what only a new group can have. */
export function requireUpdatable(groupName: string, before: GroupSpec, after: GroupSpec): void {
  const fixed = (spec: GroupSpec) =>
    JSON.stringify([
      spec.location,
      spec.restartPolicy,
      spec.ccePolicy,
      spec.ipAddress?.type,
      spec.ipAddress?.ports,
      spec.containers.map(({ name, resources, ports }) => [name, resources, ports])
    ])
  if (fixed(before) === fixed(after)) return
  throw invalid(
    'InvalidContainerGroupUpdate',
    `The updates on container group '${groupName}' are invalid. If you are going to update the os type, restart policy, network profile, CPU, memory or GPU resources for a container group, you must delete it first and then create a new one.`
  )
}

function requireOnlyWhatIsEmulated(body: Fields, properties: Fields): void {
  const sku = properties.optionalString('sku') ?? 'Standard'
  const osType = properties.optionalString('osType') ?? ''
  if (osType.toLowerCase() !== 'linux') {
    if (osType.toLowerCase() === 'windows') throw missing('Windows containers')
    throw invalid('InvalidOsType', "The 'osType' of the container group must be 'Linux' or 'Windows'.")
  }
  if (sku.toLowerCase() !== 'confidential')
    throw missing(`container groups with sku ${sku.slice(0, 40)}: only Confidential ones`)
  for (const member of ['volumes', 'initContainers', 'extensions', 'subnetIds']) {
    if (properties.rawList(member).length > 0) throw missing(`${member} of container groups`)
  }
  for (const member of ['diagnostics', 'dnsConfig', 'encryptionProperties']) {
    if (properties.has(member)) throw missing(`${member} of container groups`)
  }
  if (body.rawList('zones').length > 0) throw missing('zones of container groups')
}

function readIdentities(body: Fields): string[] {
  const identity = body.optionalObject('identity')
  const type = identity?.optionalString('type') ?? 'None'
  if (!identity || type === 'None') return []
  if (type.replace(/ /g, '') !== 'UserAssigned') throw missing(`identities of type ${type.slice(0, 40)}`)
  return identity.objectOrEmpty('userAssignedIdentities').names()
}

const probes = ['livenessProbe', 'readinessProbe']

function readContainer(groupName: string, container: Fields): ContainerSpec {
  const name = container.string('name')
  requireName('container', name)
  const properties = container.object('properties')
  if (properties.rawList('volumeMounts').length > 0) throw missing('volume mounts of containers')
  if (properties.rawList('environmentVariables').length > 1000) {
    throw invalid('InvalidEnvironmentVariables', `The container '${name}' has too many environment variables.`)
  }
  const image = properties.optionalString('image')
  if (!image) {
    throw invalid('InvalidImage', `The image in container '${name}' of container group '${groupName}' cannot be empty.`)
  }
  return {
    name,
    image,
    command: properties.strings('command'),
    ports: properties.list('ports').map(readPort),
    environment: properties.list('environmentVariables').map((variable) => readVariable(name, variable)),
    resources: readResources(groupName, name, properties),
    securityContext: readSecurityContext(properties.objectOrEmpty('securityContext')),
    unused: Object.fromEntries(
      probes.filter((probe) => properties.has(probe)).map((probe) => [probe, properties.object(probe).toJSON()])
    )
  }
}

function readPort(fields: Fields): PortSpec {
  const port = fields.number('port')
  const protocol = fields.optionalString('protocol') ?? 'TCP'
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw invalid('InvalidPort', `The port '${port}' is invalid. It must be between 1 and 65535.`)
  }
  if (protocol.toUpperCase() !== 'TCP') throw missing(`ports with protocol ${protocol.slice(0, 40)}`)
  return { port, protocol: 'TCP' }
}

function readVariable(container: string, fields: Fields): VariableSpec {
  const name = fields.string('name')
  if (!/^[A-Za-z0-9_]{1,63}$/.test(name)) {
    throw invalid(
      'InvalidEnvironmentVariableName',
      `The environment variable name '${name.slice(0, 80)}' in container '${container}' is invalid. It can contain only letters, numbers and underscores and at most 63 characters.`
    )
  }
  const plain = fields.optionalString('value')
  const secure = fields.optionalString('secureValue')
  return { name, value: plain ?? secure ?? '', secure: plain === undefined && secure !== undefined }
}

function readResources(groupName: string, container: string, properties: Fields): ResourcesSpec {
  const resources = properties.object('resources')
  const requests = resources.object('requests')
  const limits = resources.optionalObject('limits')
  const cpu = requests.number('cpu')
  const memoryInGB = requests.number('memoryInGB')
  if (cpu <= 0 || memoryInGB <= 0) throw invalidRequests(`container '${container}' in `, groupName)
  const cpuLimit = limits?.optionalNumber('cpu')
  const memoryLimit = limits?.optionalNumber('memoryInGB')
  if (cpuLimit !== undefined && cpuLimit > cpu) throw limitTooLarge('Cpu', cpuLimit, cpu, container, groupName)
  if (memoryLimit !== undefined && memoryLimit > memoryInGB) {
    throw limitTooLarge('MemoryInGB', memoryLimit, memoryInGB, container, groupName)
  }
  return {
    cpu,
    memoryInGB,
    limits: limits && {
      ...(cpuLimit === undefined ? {} : { cpu: cpuLimit }),
      ...(memoryLimit === undefined ? {} : { memoryInGB: memoryLimit })
    }
  }
}

function readSecurityContext(fields: Fields): SecurityContextSpec {
  const capabilities = fields.objectOrEmpty('capabilities')
  if (capabilities.rawList('add').length > 0 || capabilities.rawList('drop').length > 0) {
    throw missing('capabilities of containers')
  }
  if (fields.has('seccompProfile')) throw missing('seccomp profiles of containers')
  return {
    privileged: fields.optionalBoolean('privileged') ?? false,
    allowPrivilegeEscalation: fields.optionalBoolean('allowPrivilegeEscalation') ?? true,
    runAsUser: fields.optionalNumber('runAsUser'),
    runAsGroup: fields.optionalNumber('runAsGroup')
  }
}

function readIpAddress(
  groupName: string,
  fields: Fields | undefined,
  containers: readonly ContainerSpec[]
): IpAddressSpec | undefined {
  if (!fields) return undefined
  const ports = fields.list('ports').map(readPort)
  if (ports.length === 0) {
    throw invalid(
      'MissingIpAddressPorts',
      `The ports in the 'ipAddress' of container group '${groupName}' cannot be empty.`
    )
  }
  if (ports.length > 5) throw invalid('TooManyPorts', `The container group '${groupName}' exposes more than 5 ports.`)
  const exposed = containers.flatMap((container) => container.ports)
  const absent = ports.find(({ port }) => !exposed.some((each) => each.port === port))
  if (absent) {
    throw invalid(
      'InvalidIpAddressPorts',
      `The port '${absent.port}' in the 'ipAddress' of container group '${groupName}' is not exposed by any container.`
    )
  }
  const dnsNameLabel = fields.optionalString('dnsNameLabel')
  if (dnsNameLabel !== undefined && !/^[a-z][a-z0-9-]{3,61}[a-z0-9]$/.test(dnsNameLabel)) {
    throw invalid(
      'InvalidDnsNameLabel',
      `The DNS name label '${dnsNameLabel.slice(0, 80)}' in container group '${groupName}' is invalid. It can contain only lowercase letters, numbers and hyphens. The first character must be a letter. The last character must be a letter or number. The value must be between 5 and 63 characters long.`
    )
  }
  return {
    type: oneOf(fields.optionalString('type') ?? 'Public', ['Public', 'Private'], 'ipAddress.type'),
    ports,
    dnsNameLabel
  }
}

function checkRegistryCredentials(groupName: string, properties: Fields): void {
  for (const credential of properties.list('imageRegistryCredentials')) {
    const server = credential.string('server')
    if (/^[a-z0-9.-]+(:\d+)?$/i.test(server)) continue
    throw invalid(
      'InvalidImageRegistryServer',
      `The server '${server.slice(0, 80)}' in the 'imageRegistryCredentials' of container group '${groupName}' is invalid. It should be a valid host name without protocol.`
    )
  }
}

function requireUnique(groupName: string, containers: readonly ContainerSpec[]): void {
  const names = containers.map(({ name }) => name)
  const name = names.find((each, index) => names.indexOf(each) !== index)
  if (name !== undefined) {
    throw invalid(
      'DuplicateContainerNames',
      `Duplicate container name '${name}' found in container group '${groupName}'.`
    )
  }
  const ports = containers.flatMap((container) => container.ports.map(({ port }) => port))
  const port = ports.find((each, index) => ports.indexOf(each) !== index)
  if (port !== undefined) {
    throw invalid(
      'DuplicateContainerPorts',
      `Duplicate port '${port}' found in container group '${groupName}': the containers of a group share one network.`
    )
  }
}

/** What the containers ask for counts together: they share one utility VM. */
function requireFits(groupName: string, containers: readonly ContainerSpec[]): void {
  const total = (of: (resources: ResourcesSpec) => number) =>
    containers.reduce((sum, { resources }) => sum + of(resources), 0)
  const fits = total(({ cpu }) => cpu) <= maxCpu && total(({ memoryInGB }) => memoryInGB) <= maxMemoryInGB
  if (!fits) throw invalidRequests('', groupName)
}

function invalidRequests(container: string, group: string): ServiceError {
  return invalid(
    'InvalidResourceRequests',
    `The resource requests of ${container}container group '${group}' are invalid. A confidential container group can have up to ${maxCpu} CPU and ${maxMemoryInGB} GB memory.`
  )
}

function requireName(what: string, name: string): void {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return
  throw invalid(
    'InvalidContainerName',
    `The ${what} name '${name.slice(0, 80)}' is invalid. It can contain only lowercase letters, numbers and hyphens, begins and ends with a letter or number and has at most 63 characters.`
  )
}

function oneOf<T extends string>(value: string, allowed: readonly T[], member: string): T {
  const found = allowed.find((each) => each.toLowerCase() === value.toLowerCase())
  if (found) return found
  throw invalid(
    'InvalidRequestContent',
    `The value '${value.slice(0, 40)}' of '${member}' must be one of ${allowed.join(', ')}.`
  )
}

function limitTooLarge(
  resource: string,
  limit: number,
  request: number,
  container: string,
  group: string
): ServiceError {
  return invalid(
    'ContainerLimitGreaterThanContainerGroupTotalRequest',
    `The '${resource}' limit '${limit}' in container '${container}' is greater than the total request '${request}' of container group '${group}'.`
  )
}

function invalid(code: string, message: string): ServiceError {
  return new ServiceError(400, code, message)
}

function missing(what: string): ServiceError {
  return new ServiceError(501, 'NotImplemented', `not implemented: ${what}`)
}
