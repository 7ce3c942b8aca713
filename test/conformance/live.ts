export interface LiveSettings {
  readonly subscription: string
  readonly tenant: string
  readonly location: string
  readonly vaultUri: string
  readonly attestUri: string
  readonly sidecarUrl: string | undefined
}

const needed = {
  CONFROUTER_LIVE_SUBSCRIPTION:
    'id of a subscription in which the login may make resource groups, vaults and role assignments',
  CONFROUTER_LIVE_TENANT: 'id of its tenant',
  CONFROUTER_LIVE_LOCATION: 'region in its short form, for example westeurope',
  CONFROUTER_LIVE_VAULT_URI:
    'https address of a premium vault without purge protection in which the login may manage and purge keys',
  CONFROUTER_LIVE_ATTEST_URI:
    'https address of an attestation provider, for example https://sharedweu.weu.attest.azure.net'
} as const

type Environment = Readonly<Record<string, string | undefined>>

/** Whether the suites are to run against Azure. */
export function isLive(environment: Environment): boolean {
  return environment['CONFROUTER_LIVE'] === '1'
}

/** Throws an error that names every variable that is missing, with what belongs into it. */
export function liveSettings(environment: Environment): LiveSettings {
  const missing = Object.entries(needed).filter(([name]) => (environment[name] ?? '') === '')
  if (missing.length > 0) {
    const lines = missing.map(([name, what]) => `  ${name}: ${what}`)
    throw new Error(`CONFROUTER_LIVE=1 needs more variables:\n${lines.join('\n')}\nand a login: az login, or AZURE_*`)
  }
  const value = (name: keyof typeof needed) => environment[name]!
  return {
    subscription: value('CONFROUTER_LIVE_SUBSCRIPTION'),
    tenant: value('CONFROUTER_LIVE_TENANT'),
    location: value('CONFROUTER_LIVE_LOCATION'),
    vaultUri: value('CONFROUTER_LIVE_VAULT_URI'),
    attestUri: value('CONFROUTER_LIVE_ATTEST_URI').replace(/\/$/, ''),
    // It can be reached only from inside a container group, or through a tunnel into one.
    sidecarUrl: environment['CONFROUTER_LIVE_SIDECAR_URL']
  }
}
