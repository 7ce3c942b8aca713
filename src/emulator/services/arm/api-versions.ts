import { ServiceError } from '../../http.js'

/**
 * Versions that Azure documents for what is emulated, by namespace and first type (Azure REST API
 * specifications, "resource-manager"). Those without confidential container groups are left out: they
 * would drop the members that make a group confidential.
 */
const documented: Readonly<Record<string, readonly string[]>> = {
  'microsoft.attestation': ['2020-10-01', '2021-06-01', '2021-06-01-preview'],
  'microsoft.authorization/permissions': ['2015-07-01', '2018-01-01-preview', '2022-04-01', '2022-05-01-preview'],
  'microsoft.authorization/roleassignments': [
    '2015-07-01',
    '2018-01-01-preview',
    '2018-09-01-preview',
    '2020-03-01-preview',
    '2020-04-01-preview',
    '2020-08-01-preview',
    '2020-10-01-preview',
    '2021-04-01-preview',
    '2022-01-01-preview',
    '2022-04-01'
  ],
  'microsoft.authorization/roledefinitions': [
    '2015-07-01',
    '2018-01-01-preview',
    '2022-04-01',
    '2022-05-01-preview',
    '2023-07-01-preview'
  ],
  'microsoft.containerinstance/containergroups': [
    '2022-10-01-preview',
    '2023-05-01',
    '2024-05-01-preview',
    '2024-09-01-preview',
    '2024-10-01-preview',
    '2024-11-01-preview',
    '2025-09-01'
  ],
  'microsoft.keyvault': [
    '2016-10-01',
    '2018-02-14',
    '2019-09-01',
    '2021-10-01',
    '2022-07-01',
    '2022-11-01',
    '2023-02-01',
    '2023-07-01',
    '2024-11-01',
    '2024-12-01-preview',
    '2025-05-01',
    '2026-02-01'
  ],
  'microsoft.managedidentity': [
    '2018-11-30',
    '2021-09-30-preview',
    '2022-01-31-preview',
    '2023-01-31',
    '2023-07-31-preview',
    '2024-11-30'
  ]
}

/** Resource Manager itself: subscriptions, resource groups, providers, deployments. */
const resourceManager: readonly string[] = [
  '2015-11-01',
  '2016-02-01',
  '2019-04-01',
  '2019-05-01',
  '2019-07-01',
  '2019-08-01',
  '2019-10-01',
  '2020-01-01',
  '2020-06-01',
  '2020-08-01',
  '2020-10-01',
  '2021-01-01',
  '2021-04-01',
  '2022-09-01',
  '2022-12-01',
  '2023-07-01',
  '2024-03-01',
  '2024-07-01',
  '2024-11-01',
  '2025-03-01',
  '2025-04-01'
]

/** Container groups name this version in the addresses of their operations, whatever the request had. */
const containerOperations = '2018-06-01'

/** Throws a 400 that names the versions that exist; `path` is that of the request. */
export function requireKnownApiVersion(path: string, version: string): void {
  // What follows the last provider; `register` is Resource Manager's own.
  const [, namespace = '', type = ''] = /.*\/providers\/([^/]+)\/(?!register$)([^/]+)/i.exec(path) ?? []
  const supported = versionsOf(namespace.toLowerCase(), type.toLowerCase())
  if (supported.includes(version)) return
  const names = `'${[...supported].reverse().join(', ')}'`
  if (supported === resourceManager) {
    const message = `The api-version '${version}' is invalid. The supported versions are ${names}.`
    throw new ServiceError(400, 'InvalidApiVersionParameter', message)
  }
  throw new ServiceError(
    400,
    'NoRegisteredProviderFound',
    `No registered resource provider found for API version '${version}' for type '${type}'. The supported api-versions are ${names}.`
  )
}

function versionsOf(namespace: string, type: string): readonly string[] {
  const groups = documented['microsoft.containerinstance/containergroups'] ?? []
  if (namespace === 'microsoft.containerinstance' && type === 'locations') return [containerOperations, ...groups]
  return documented[`${namespace}/${type}`] ?? documented[namespace] ?? resourceManager
}
