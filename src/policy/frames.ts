import type { JsonObject } from '../base/json.js'
import { parseSha256Hex, type Sha256Hex } from '../base/digest.js'

/**
 * Every fixed text, name and number that a policy is made of, as data. Sources: the confcom
 * extension 1.3.1 of the Azure CLI (its template and its internal_config.json) for what policies
 * contain; hcsshim's framework.rego and its version table for what the guest makes of them. When
 * the platform moves, this file changes and no other.
 */

/** A frame is named after the policy API version that it declares. */
export type FrameVersion = '0.10.0' | '0.11.0'

export interface Frame {
  readonly apiVersion: FrameVersion
  /** What the containers are written for; the guest fills in what later versions added. */
  readonly frameworkVersion: '0.2.3'
  /** The enforcement points that the policy hands to the guest's framework, in the order of the text. */
  readonly rules: readonly string[]
}

const rulesOf010 = [
  'mount_device',
  'unmount_device',
  'mount_overlay',
  'unmount_overlay',
  'create_container',
  'exec_in_container',
  'exec_external',
  'shutdown_container',
  'signal_container_process',
  'plan9_mount',
  'plan9_unmount',
  'get_properties',
  'dump_stacks',
  'runtime_logging',
  'load_fragment',
  'scratch_mount',
  'scratch_unmount'
]

export const frames: Readonly<Record<FrameVersion, Frame>> = {
  '0.10.0': { apiVersion: '0.10.0', frameworkVersion: '0.2.3', rules: rulesOf010 },
  '0.11.0': { apiVersion: '0.11.0', frameworkVersion: '0.2.3', rules: [...rulesOf010, 'rw_mount_device'] }
}

export const currentFrame: FrameVersion = '0.11.0'

/** Names of the switches that follow the containers, in the order of the text. */
export const switchNames = [
  'allow_properties_access',
  'allow_dump_stacks',
  'allow_runtime_logging',
  'allow_environment_variable_dropping',
  'allow_unencrypted_scratch',
  'allow_capability_dropping'
] as const

export type PolicySwitches = Readonly<Record<(typeof switchNames)[number], boolean>>

export const defaultSwitches: PolicySwitches = {
  allow_properties_access: true,
  allow_dump_stacks: false,
  allow_runtime_logging: false,
  allow_environment_variable_dropping: true,
  allow_unencrypted_scratch: false,
  allow_capability_dropping: true
}

export const debugSwitches: PolicySwitches = {
  ...defaultSwitches,
  allow_dump_stacks: true,
  allow_runtime_logging: true
}

/** Shells that debug mode lets an operator start in every container. */
export const debugProcesses: readonly (readonly string[])[] = [['/bin/sh'], ['/bin/bash']]

/** A separately signed policy text that the guest may load, so that the platform can update its own containers. */
export interface FragmentImport {
  readonly feed: string
  readonly includes: readonly string[]
  readonly issuer: string
  /** Decimal digits; the guest refuses a fragment with a lower security version. */
  readonly minimum_svn: string
}

export const infrastructureFragment: FragmentImport = {
  feed: 'mcr.microsoft.com/aci/aci-cc-infra-fragment',
  includes: ['containers', 'fragments'],
  issuer: 'did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.3',
  minimum_svn: '4'
}

export interface EnvRule {
  /** `NAME=VALUE`: a whole string for `string`, a pattern that the guest anchors for `re2`. */
  readonly pattern: string
  readonly required: boolean
  readonly strategy: 'string' | 're2'
}

/** A rule that is added to containers which do not set the variable themselves. */
export interface InjectedRule {
  /** Compared literally with the names in use, even where it is a pattern. */
  readonly name: string
  readonly value: string
  readonly strategy: 'string' | 're2'
}

/** Variables that the platform sets: the guest agent, Service Fabric, managed identity, container restart. */
export const injectedRules: readonly InjectedRule[] = [
  { name: 'TERM', value: 'xterm', strategy: 'string' },
  { name: '(?i)(FABRIC)_.+', value: '.+', strategy: 're2' },
  { name: 'HOSTNAME', value: '.+', strategy: 're2' },
  { name: 'T(E)?MP', value: '.+', strategy: 're2' },
  { name: 'FabricPackageFileName', value: '.+', strategy: 're2' },
  { name: 'HostedServiceName', value: '.+', strategy: 're2' },
  { name: 'IDENTITY_API_VERSION', value: '.+', strategy: 're2' },
  { name: 'IDENTITY_HEADER', value: '.+', strategy: 're2' },
  { name: 'IDENTITY_SERVER_THUMBPRINT', value: '.+', strategy: 're2' },
  { name: 'azurecontainerinstance_restarted_by', value: '.+', strategy: 're2' }
]

/**
 * What the platform sets since September 2026 in groups with a managed identity, and confcom does
 * not list (Azure/azure-cli-extensions#10310). Without a rule the guest drops the variables, and
 * the key release sidecar finds no token endpoint.
 */
export const platformIdentityRules: readonly InjectedRule[] = [
  { name: 'APP_IDENTITY_ENDPOINT', value: '.+', strategy: 're2' },
  { name: 'IDENTITY_ENDPOINT', value: '.+', strategy: 're2' },
  { name: 'IMDS_ENDPOINT', value: '.+', strategy: 're2' }
]

/** What a virtual node sets for the services of its cluster. */
export const virtualNodeRules: readonly InjectedRule[] = [
  '[A-Z0-9_]+_SERVICE_HOST',
  '[A-Z0-9_]+_SERVICE_PORT',
  '[A-Z0-9_]+_SERVICE_PORT_[A-Z0-9_]+',
  '[A-Z0-9_]+_PORT',
  '[A-Z0-9_]+_PORT_[0-9]+_TCP',
  '[A-Z0-9_]+_PORT_[0-9]+_TCP_PROTO',
  '[A-Z0-9_]+_PORT_[0-9]+_TCP_PORT',
  '[A-Z0-9_]+_PORT_[0-9]+_TCP_ADDR'
].map((name) => ({ name, value: '.+', strategy: 're2' }))

/** The platform replaces this value at start, so the policy allows any. */
export const thimPlaceholder = { name: 'THIM_ENDPOINT', value: '===CONFIDENTIAL.THIM.ENDPOINT===' } as const

/** Images of the platform itself: no injected rules, nothing taken from the image's configuration. */
const sidecarRepositories: ReadonlySet<string> = new Set([
  'mcr.microsoft.com/aci/msi-atlas-adapter',
  'mcr.microsoft.com/aci/atlas-mount-azure-file-volume',
  'mcr.microsoft.com/aci/atlas-mount-secrets-volume',
  'mcr.microsoft.com/aci/atlas-netstats',
  'mcr.microsoft.com/aci/atlas-mount-resolv-conf',
  'mcr.microsoft.com/aci/atlas-mount-gitrepo-volume',
  'mcr.microsoft.com/aci/sc-proxy',
  'mcr.microsoft.com/aci/vk-metrics-sidecar',
  'mcr.microsoft.com/aci/configmaps-adapter-linux',
  'k8s.gcr.io/pause'
])

/** The name ends at the first colon, as confcom has it: a registry with a port is never a sidecar. */
export function isSidecarImage(image: string): boolean {
  return sidecarRepositories.has(image.split(':', 1)[0] ?? '')
}

/** Where the platform mounts each kind of volume; the member name of the template is the key. */
export const mountSources: ReadonlyMap<string, string> = new Map([
  ['azureFile', 'sandbox:///tmp/atlas/azureFileVolume/.+'],
  ['secret', 'sandbox:///tmp/atlas/secretsVolume/.+'],
  ['emptyDir', 'sandbox:///tmp/atlas/emptydir/.+'],
  ['gitRepo', 'sandbox:///tmp/atlas/gitRepoVolume/.+'],
  ['secretsSource', 'plan9://']
])

/** What the platform mounts into every container of a group. */
export const resolvConfMount = {
  path: '/etc/resolv.conf',
  source: 'sandbox:///tmp/atlas/resolvconf/.+',
  readOnly: false
} as const

const emptyDir = 'sandbox:///tmp/atlas/emptydir/.+'

/** What a virtual node mounts into every container of a pod, each from a folder of its own. */
export const virtualNodeMounts = [
  { path: '/etc/resolv.conf', source: emptyDir, readOnly: false },
  { path: '/var/run/secrets/kubernetes.io/serviceaccount', source: emptyDir, readOnly: true },
  { path: '/etc/hosts', source: emptyDir, readOnly: false },
  { path: '/dev/termination-log', source: emptyDir, readOnly: false },
  { path: '/etc/hostname', source: emptyDir, readOnly: false }
] as const
export const configMapMount = { path: '/mnt/configmap', kind: 'emptyDir' } as const

export const capabilitySets = ['ambient', 'bounding', 'effective', 'inheritable', 'permitted'] as const

/** Docker's default capabilities in the order in which the pause container lists them. */
export const defaultCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE'
]

/** Every capability of Linux 5.9 and later. */
export const privilegedCapabilities: readonly string[] = [
  ...defaultCapabilities,
  'CAP_AUDIT_CONTROL',
  'CAP_AUDIT_READ',
  'CAP_BLOCK_SUSPEND',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
  'CAP_DAC_READ_SEARCH',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_LEASE',
  'CAP_LINUX_IMMUTABLE',
  'CAP_MAC_ADMIN',
  'CAP_MAC_OVERRIDE',
  'CAP_NET_ADMIN',
  'CAP_NET_BROADCAST',
  'CAP_PERFMON',
  'CAP_SYSLOG',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_MODULE',
  'CAP_SYS_NICE',
  'CAP_SYS_PACCT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_WAKE_ALARM'
]

/** Linux signal numbers on amd64, with the older names. */
export const signalNumbers: ReadonlyMap<string, number> = new Map([
  ['SIGHUP', 1],
  ['SIGINT', 2],
  ['SIGQUIT', 3],
  ['SIGILL', 4],
  ['SIGTRAP', 5],
  ['SIGABRT', 6],
  ['SIGIOT', 6],
  ['SIGBUS', 7],
  ['SIGFPE', 8],
  ['SIGKILL', 9],
  ['SIGUSR1', 10],
  ['SIGSEGV', 11],
  ['SIGUSR2', 12],
  ['SIGPIPE', 13],
  ['SIGALRM', 14],
  ['SIGTERM', 15],
  ['SIGSTKFLT', 16],
  ['SIGCHLD', 17],
  ['SIGCONT', 18],
  ['SIGSTOP', 19],
  ['SIGTSTP', 20],
  ['SIGTTIN', 21],
  ['SIGTTOU', 22],
  ['SIGURG', 23],
  ['SIGXCPU', 24],
  ['SIGXFSZ', 25],
  ['SIGVTALRM', 26],
  ['SIGPROF', 27],
  ['SIGWINCH', 28],
  ['SIGIO', 29],
  ['SIGPWR', 30],
  ['SIGSYS', 31],
  ['SIGUNUSED', 31]
])

export const anyUser = {
  group_idnames: [{ pattern: '', strategy: 'any' }],
  umask: '0022',
  user_idname: { pattern: '', strategy: 'any' }
} as const

/** The container that holds the namespaces of the group. Microsoft publishes its root hash with confcom. */
export function pauseContainer(allowStdioAccess: boolean): JsonObject {
  return {
    allow_elevated: false,
    allow_stdio_access: allowStdioAccess,
    capabilities: {
      ambient: [],
      bounding: defaultCapabilities,
      effective: defaultCapabilities,
      inheritable: [],
      permitted: defaultCapabilities
    },
    command: ['/pause'],
    env_rules: [
      {
        pattern: 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        required: true,
        strategy: 'string'
      },
      { pattern: 'TERM=xterm', required: false, strategy: 'string' }
    ],
    exec_processes: [],
    layers: ['16b514057a06ad665f92c02863aca074fd5976c755d26bff16365299169e8415'],
    mounts: [],
    name: 'pause-container',
    no_new_privileges: false,
    seccomp_profile_sha256: '',
    signals: [],
    user: anyUser,
    working_dir: '/'
  }
}

/**
 * Host data of policies that allow everything: the text that the platform fills in when none is
 * given, and two test policies met in published reports (`4f44…` and `cadd…`). A key bound to one
 * of these is bound to nothing.
 */
export const openDoorHostData: ReadonlySet<Sha256Hex> = new Set(
  [
    '73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20',
    '4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10',
    'cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c'
  ].map((text) => parseSha256Hex(text, 'open-door host data'))
)
