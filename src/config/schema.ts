import { z } from 'zod'
import { nameRules, type NameRule } from './names.js'
import { routerLimits, type RouterNumber, routerNumbers } from './router-numbers.js'

/**
 * The raw form of confrouter.yaml: every key optional, nothing filled in, unknown keys refused.
 * Each leaf carries its expectation in words as the message of all its checks, so that a problem
 * reads the same whatever was wrong with the value.
 */

const clouds = ['azure', 'azure-usgov', 'azure-china', 'local'] as const
export type Cloud = (typeof clouds)[number]

/** Providers whose base URL and authorization scheme the router knows. */
export const builtInProviders = [
  'openai',
  'openrouter',
  'fal',
  'anthropic',
  'gemini',
  'groq',
  'mistral',
  'deepseek',
  'together',
  'qwen'
] as const

/** Values of absent keys. Names are not here, since they follow from the base name. */
export const builtInDefaults = {
  name: 'confrouter',
  cloud: 'azure',
  location: 'eastus',
  builder: 'docker',
  /** The one of the Dockerfile. */
  imageBase:
    'docker.io/library/node:24.21.0-trixie-slim@sha256:8ec5d7557396cfe32d21c3f9c13072355ceab22b584578ca4bb28af31120cffe',
  retentionDays: 90,
  purgeProtection: true,
  keyName: 'default',
  keySize: 2048,
  groupCpu: 2,
  groupMemoryGb: 4,
  groupPort: 8080,
  replicas: 1,
  sidecarImage: 'mcr.microsoft.com/aci/skr:2.12',
  sidecarPort: 8081,
  sidecarCpu: 1,
  sidecarMemoryGb: 1,
  policyEngine: 'auto',
  accessMode: 'open',
  /** Used when anybody may spend the router's own provider keys and no limit was given. */
  openRateLimitPerMinute: 60,
  encryption: 'optional',
  operatorRole: 'administrator',
  tlsOnly: false,
  upgradeStrategy: 'blue-green',
  /** Longer than the minute for which a DNS answer of a container group is kept. */
  upgradeDrainSeconds: 90
} as const

/** As many container groups as a subscription may have in a region unless it asks for more. */
export const maximumReplicas = 100

/** More than Azure has with confidential container groups; each one more makes every upgrade longer. */
const maximumRegions = 20
const regionList = `a list of 1 to ${maximumRegions} Azure regions`

/** More is no longer a fallback: each one may take as long as the call itself. */
const maxFallbacks = 8
const fallbackList = `a list of 1 to ${maxFallbacks} models`

const port = () => whole(1, 65_535, 'a port')
const image = text(nameRules.imageReference)

const providerSchema = section({
  baseUrl: url('the base URL of an API: https, without credentials, query or fragment', isBaseUrl).describe(
    'Where the API is. Not needed for the built-in providers. http is accepted together with allowPrivate.'
  ),
  syncUrl: url('the base URL of an API: https, without credentials, query or fragment', isBaseUrl).describe(
    'Where synchronous calls go, if not to baseUrl. Only fal has two places, and they are built in.'
  ),
  auth: choice(['Bearer', 'Key', 'x-api-key', 'api-key', 'none']).describe('How the key is sent to the provider.'),
  apiKey: section(
    {
      env: text(nameRules.variable).describe('Environment variable that holds the key.'),
      file: line(4096, 'the path of a file').describe('File that holds the key.')
    },
    'either { env: NAME } or { file: path }, which say where the key is; the key itself does not belong here'
  )
    .meta({ oneOf: [{ required: ['env'] }, { required: ['file'] }] })
    .describe('Where the router-owned key is read when it is sealed for the router.'),
  accountAccess: truth().describe(
    'Lets callers without a key of their own use /providers/NAME/* with the router’s: they see and change what the account holds.'
  ),
  allowPrivate: truth().describe('Allows http and addresses that are not public.'),
  default: truth().describe('Takes the calls whose model name has no provider prefix.')
})

export const rawSchema = section({
  name: text(nameRules.base)
    .meta({ default: builtInDefaults.name })
    .describe('Base name; every other name follows from it.'),
  cloud: choice(clouds).meta({ default: builtInDefaults.cloud }).describe('Azure cloud, or the emulator on loopback.'),
  subscription: text(nameRules.subscription).describe('Azure subscription id.'),
  tenant: text(nameRules.tenant).describe('Microsoft Entra tenant, when it is not the one of the credential.'),
  location: text(nameRules.location)
    .meta({ default: builtInDefaults.location })
    .describe('Azure region. Required for the sovereign clouds.'),
  resourceGroup: text(nameRules.resourceGroup).describe('Resource group. Default: the base name.'),
  image: section({
    repository: text(nameRules.repository).describe('Repository that the image is pushed to and pulled from.'),
    builder: choice(['docker', 'podman', 'buildah', 'native'])
      .meta({ default: builtInDefaults.builder })
      .describe('What builds the image.'),
    base: text(nameRules.pinnedImage)
      .meta({ default: builtInDefaults.imageBase })
      .describe('What the native builder puts the router on; it has Node 20 or later as /usr/local/bin/node.'),
    baseFrom: line(4096, 'the path of an OCI layout or archive').describe(
      'OCI layout (a folder) or OCI archive (a file) that has the base. Default: its registry.'
    ),
    digest: text(nameRules.digest).describe('Use this existing image and build nothing.'),
    tag: text(nameRules.tag).describe('Tag that a build pushes besides the digest.')
  }).describe('The router image.'),
  attestation: section(
    {
      name: text(nameRules.attestation).describe('Attestation provider to create or use in the resource group.'),
      endpoint: url('the https URL of an attestation service, without a path', isOrigin).describe(
        'Existing attestation service, such as https://sharedeus.eus.attest.azure.net.'
      )
    },
    'either { name: … } or { endpoint: … }'
  )
    .meta({ oneOf: [{ required: ['name'] }, { required: ['endpoint'] }] })
    .describe('Microsoft Azure Attestation.'),
  keyVault: section({
    name: text(nameRules.keyVault).describe('Vault name, unique in the whole cloud.'),
    retentionDays: whole(7, 90, 'a whole number of days')
      .meta({ default: builtInDefaults.retentionDays })
      .describe('Days for which a deleted vault can be recovered and blocks its name. Cannot be changed later.'),
    purgeProtection: truth()
      .meta({ default: builtInDefaults.purgeProtection })
      .describe('Nobody can purge the vault before the retention ends. Cannot be switched off later.')
  }).describe('The premium key vault.'),
  identity: section({ name: text(nameRules.identity).describe('Name of the identity.') }).describe(
    'The user-assigned identity of the container group.'
  ),
  key: section({
    name: text(nameRules.key).meta({ default: builtInDefaults.keyName }).describe('Name of the key in the vault.'),
    size: z
      .literal([2048, 3072, 4096], { error: 'one of 2048, 3072, 4096' })
      .meta({ default: builtInDefaults.keySize })
      .describe('RSA modulus in bits.')
  }).describe('The released key.'),
  containerGroup: section({
    name: text(nameRules.containerGroup).describe('Container group. Default: the base name.'),
    cpu: amount(0.1, 31).meta({ default: builtInDefaults.groupCpu }).describe('CPU cores of the router.'),
    memoryGb: amount(0.1, 180).meta({ default: builtInDefaults.groupMemoryGb }).describe('Memory of the router in GB.'),
    port: port().meta({ default: builtInDefaults.groupPort }).describe('Public port of the router.'),
    dnsLabel: text(nameRules.dnsLabel).describe(
      'Label of the public DNS name, which survives a redeployment. The first group of each region has it.'
    ),
    replicas: whole(1, maximumReplicas, 'a whole number of groups')
      .meta({ default: builtInDefaults.replicas })
      .describe('How many container groups run side by side in each region, under one policy and with one key.'),
    regions: z
      .array(text(nameRules.location), { error: regionList })
      .min(1, { error: regionList })
      .max(maximumRegions, { error: regionList })
      .describe(
        'Regions that have container groups, the first one first told to callers. Default: location alone, where everything else stays.'
      )
  }).describe('The confidential container group.'),
  sidecar: section({
    image: image.meta({ default: builtInDefaults.sidecarImage }).describe('Image of the key release sidecar.'),
    port: port().meta({ default: builtInDefaults.sidecarPort }).describe('Port inside the group.'),
    cpu: amount(0.1, 31).meta({ default: builtInDefaults.sidecarCpu }).describe('CPU cores of the sidecar.'),
    memoryGb: amount(0.1, 180)
      .meta({ default: builtInDefaults.sidecarMemoryGb })
      .describe('Memory of the sidecar in GB.')
  }).describe('The secure key release sidecar.'),
  policy: section({
    engine: choice(['auto', 'az', 'native', 'both'])
      .meta({ default: builtInDefaults.policyEngine })
      .describe(
        'What makes the CCE policy: the native generator (auto and native) or az confcom, which has to be installed; both makes it twice and fails if they differ.'
      )
  }).describe('The confidential computing enforcement policy.'),
  access: section({
    mode: choice(['open', 'token'])
      .meta({ default: builtInDefaults.accessMode })
      .describe('Who may use the router: anybody, or holders of an access token.'),
    tokensSha256: z
      .array(text({ pattern: /^[0-9a-f]{64}$/, maxLength: 64, expected: '64 lower-case hex characters' }), {
        error: 'a list of SHA-256 digests'
      })
      .max(1000, { error: 'a list of at most 1000 SHA-256 digests' })
      .describe('SHA-256 of each access token in lower-case hex.'),
    rateLimitPerMinute: whole(1, 1_000_000, 'a whole number of requests per minute').describe(
      `Requests per minute of one caller. Default ${builtInDefaults.openRateLimitPerMinute} when mode is open and a provider has a key.`
    )
  }).describe('Who may use the router.'),
  providers: z
    .record(text(nameRules.provider), providerSchema, { error: 'a map of provider names' })
    .describe(`The APIs that the router forwards to. Built in: ${builtInProviders.join(', ')}.`),
  router: section({
    ...numbers(routerNumbers),
    tls: section({
      port: port().describe('Port of the TLS listener. Without it there is none.'),
      only: truth()
        .meta({ default: builtInDefaults.tlsOnly })
        .describe('Publishes the TLS port alone; the plain one then listens inside the container group only.')
    })
      .meta({ required: ['port'] })
      .describe('A listener with TLS, whose key is made in the container and bound by the evidence.'),
    fallbacks: z
      .record(
        text(nameRules.model),
        z
          .array(text(nameRules.model), { error: fallbackList })
          .min(1, { error: fallbackList })
          .max(maxFallbacks, { error: fallbackList }),
        { error: 'a map from models to the models to try after them' }
      )
      .describe('Other models to try, in this order, for a call that fails before its first byte.'),
    metrics: choice(['open', 'token', 'off']).describe(
      'Who may read /metrics: anybody, holders of an access token, nobody. Default: as access.mode.'
    ),
    limits: section(numbers(routerLimits)).describe('What the router takes at most.')
  }).describe('How the router serves.'),
  upgrade: section({
    strategy: choice(['blue-green', 'replace'])
      .meta({ default: builtInDefaults.upgradeStrategy })
      .describe('blue-green starts the new group beside the old one; replace deletes the old one first.'),
    drainSeconds: whole(0, 86_400, 'a whole number of seconds')
      .meta({ default: builtInDefaults.upgradeDrainSeconds })
      .describe('How long the old group goes on after callers were told the new address.')
  }).describe('How a running group gives way to one with other host data.'),
  smoke: section({
    model: text(nameRules.model).describe('Model of the sealed chat call that ends a deployment.')
  }).describe('The smoke test.'),
  encryption: choice(['optional', 'required'])
    .meta({ default: builtInDefaults.encryption })
    .describe('required refuses API calls that are not sealed.'),
  operator: section({
    role: choice(['administrator', 'crypto-officer'])
      .meta({ default: builtInDefaults.operatorRole })
      .describe('Role of the deploying principal on the vault.')
  }).describe('Whoever deploys.'),
  emulator: section({ port: port().describe('Port of the emulator on loopback. Default: any free port.') }).describe(
    'Azure on loopback (cloud: local).'
  )
})

export type RawConfig = z.infer<typeof rawSchema>

/** A map with these keys, all optional, and no others. */
function section<Shape extends Record<string, z.ZodType>>(shape: Shape, expected = 'a map of keys and values') {
  const optional = Object.fromEntries(Object.entries(shape).map(([key, value]) => [key, value.optional()]))
  return z.strictObject(optional as { [Key in keyof Shape]: z.ZodOptional<Shape[Key]> }, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? undefined : expected)
  })
}

function text({ pattern, maxLength, expected }: NameRule) {
  return z.string({ error: expected }).max(maxLength, { error: expected }).regex(pattern, { error: expected })
}

function line(maxLength: number, expected: string) {
  return text({ pattern: /^[^\p{Cc}]+$/u, maxLength, expected })
}

function url(expected: string, accepts: (value: string) => boolean) {
  return z.string({ error: expected }).max(2048, { error: expected }).refine(accepts, { error: expected })
}

function choice<const Values extends readonly string[]>(values: Values) {
  return z.enum(values, { error: `one of ${values.join(', ')}` })
}

/** A key for each of these numbers. */
function numbers<Numbers extends Readonly<Record<string, RouterNumber>>>(table: Numbers) {
  const schemas = Object.entries(table).map(([key, { min, max, unset, what, says }]) => {
    const schema = whole(min, max, what)
    return [key, (unset === undefined ? schema : schema.meta({ default: unset })).describe(says)] as const
  })
  return Object.fromEntries(schemas) as { [Key in keyof Numbers]: z.ZodInt }
}

function whole(min: number, max: number, what: string) {
  const expected = `${what} from ${min} to ${max}`
  return z.int({ error: expected }).min(min, { error: expected }).max(max, { error: expected })
}

function amount(min: number, max: number) {
  const expected = `a number from ${min} to ${max}`
  return z.number({ error: expected }).min(min, { error: expected }).max(max, { error: expected })
}

function truth() {
  return z.boolean({ error: 'true or false' })
}

function isOrigin(value: string): boolean {
  const parsed = parseUrl(value)
  return parsed?.protocol === 'https:' && parsed.pathname === '/'
}

function isBaseUrl(value: string): boolean {
  const parsed = parseUrl(value)
  return parsed?.protocol === 'https:' || parsed?.protocol === 'http:'
}

/** Undefined for what is no plain URL: credentials, queries and fragments have no place in these. */
function parseUrl(value: string): URL | undefined {
  if (/[\s\\@?#]/.test(value) || !URL.canParse(value)) return undefined
  return new URL(value)
}
