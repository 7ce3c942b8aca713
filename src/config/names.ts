import { createHash } from 'node:crypto'

/** A rule for one kind of name: what Azure or OCI accepts, and the same in words. */
export interface NameRule {
  readonly pattern: RegExp
  readonly maxLength: number
  readonly expected: string
}

const repositoryPath = '(?:\\/[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*)+'
const registryHost = '(?:localhost|[a-z0-9-]+(?:\\.[a-z0-9-]+)+|[a-z0-9-]+(?=:))(?::[0-9]{1,5})?'
const tag = '[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}'
const digest = 'sha256:[0-9a-f]{64}'
const uuid = '[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}'

/**
 * Limits of Azure: "Naming rules and restrictions for Azure resources". The registry host is
 * required, because every tool has its own idea of what a reference without one means.
 */
export const nameRules = {
  base: {
    pattern: /^[a-z](?:[a-z0-9]|-(?=[a-z0-9]))+$/,
    maxLength: 40,
    expected: '2 to 40 lower-case letters, digits and single hyphens, beginning with a letter'
  },
  subscription: { pattern: new RegExp(`^${uuid}$`), maxLength: 36, expected: 'a subscription id (a UUID)' },
  tenant: {
    pattern: new RegExp(`^(?:${uuid}|[a-z0-9-]+(?:\\.[a-z0-9-]+)+)$`),
    maxLength: 253,
    expected: 'a tenant id (a UUID) or a domain of the tenant'
  },
  location: {
    pattern: /^[a-z][a-z0-9]+$/,
    maxLength: 40,
    expected: 'an Azure region in its short form, lower-case without spaces, such as eastus'
  },
  resourceGroup: {
    pattern: /^[A-Za-z0-9_().-]*[A-Za-z0-9_()-]$/,
    maxLength: 90,
    expected: '1 to 90 letters, digits, underscores, hyphens, periods and parentheses, not ending in a period'
  },
  attestation: { pattern: /^[a-z0-9]{3,24}$/, maxLength: 24, expected: '3 to 24 lower-case letters and digits' },
  keyVault: {
    pattern: /^(?=.{3})[A-Za-z](?:[A-Za-z0-9]|-(?=[A-Za-z0-9]))*$/,
    maxLength: 24,
    expected: '3 to 24 letters, digits and single hyphens, beginning with a letter and not ending in a hyphen'
  },
  identity: {
    pattern: /^[A-Za-z0-9][A-Za-z0-9_-]{2,}$/,
    maxLength: 128,
    expected: '3 to 128 letters, digits, hyphens and underscores, beginning with a letter or digit'
  },
  key: { pattern: /^[A-Za-z0-9-]+$/, maxLength: 127, expected: '1 to 127 letters, digits and hyphens' },
  containerGroup: {
    pattern: /^[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9]))*$/,
    maxLength: 63,
    expected: '1 to 63 lower-case letters, digits and single hyphens, not beginning or ending with a hyphen'
  },
  dnsLabel: {
    pattern: /^(?=.{5})[a-z](?:[a-z0-9]|-+(?=[a-z0-9]))*$/,
    maxLength: 63,
    expected: '5 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending in a hyphen'
  },
  repository: {
    pattern: new RegExp(`^${registryHost}${repositoryPath}$`),
    maxLength: 255,
    expected:
      'an image repository in lower case with its registry and without a tag, such as ghcr.io/example/confrouter'
  },
  tag: {
    pattern: new RegExp(`^${tag}$`),
    maxLength: 128,
    expected: 'an image tag: up to 128 letters, digits, underscores, periods and hyphens'
  },
  digest: { pattern: new RegExp(`^${digest}$`), maxLength: 71, expected: '"sha256:" and 64 lower-case hex characters' },
  pinnedImage: {
    pattern: new RegExp(`^${registryHost}${repositoryPath}(?::${tag})?@${digest}$`),
    maxLength: 512,
    expected: 'an image with its registry and its digest, such as docker.io/library/node:24-slim@sha256:…'
  },
  imageReference: {
    pattern: new RegExp(`^${registryHost}${repositoryPath}(?:(?::${tag})?@${digest}|:${tag})$`),
    maxLength: 512,
    expected: 'an image with its registry and a tag or digest, such as mcr.microsoft.com/aci/skr:2.12'
  },
  provider: {
    pattern: /^[a-z](?:[a-z0-9]|-(?=[a-z0-9]))*$/,
    maxLength: 32,
    expected: '1 to 32 lower-case letters, digits and single hyphens, beginning with a letter'
  },
  variable: {
    pattern: /^[A-Za-z_][A-Za-z0-9_]*$/,
    maxLength: 128,
    expected: 'the name of an environment variable, such as OPENAI_API_KEY'
  },
  model: { pattern: /^[!-~]+$/, maxLength: 200, expected: 'a model name, such as openai:gpt-4o-mini' }
} as const satisfies Record<string, NameRule>

export interface DerivedNames {
  readonly resourceGroup: string
  readonly attestation: string
  readonly keyVault: string
  readonly identity: string
  readonly containerGroup: string
}

/**
 * The names that follow from the base name when the file gives none. Vaults and attestation
 * providers share one namespace with all other customers, and a deleted vault keeps its name for
 * up to 90 days, so these two carry a suffix that belongs to the subscription and resource group.
 */
export function deriveNames(name: string, subscription: string, givenGroup: string | undefined): DerivedNames {
  const resourceGroup = givenGroup ?? name
  const owner = [subscription.toLowerCase(), resourceGroup.toLowerCase(), name].join('\n')
  const suffix = createHash('sha256').update(owner).digest('hex').slice(0, 6)
  return {
    resourceGroup,
    attestation: name.replaceAll('-', '').slice(0, 24 - suffix.length) + suffix,
    keyVault: `${name.slice(0, 23 - suffix.length).replace(/-$/, '')}-${suffix}`,
    identity: `${name}-identity`,
    containerGroup: name
  }
}
