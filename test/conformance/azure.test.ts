import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { DefaultAzureCredential } from '@azure/identity'
import { runArmSuite } from './arm.js'
import { runAttestationSuite } from './attestation.js'
import { runKeyVaultSuite } from './key-vault.js'
import { isLive, liveSettings } from './live.js'
import { runSidecarSuite } from './sidecar.js'

/** The same suites as for the emulator, against Azure: CONFROUTER_LIVE=1. They make resources, which cost money, and delete them. */
if (isLive(process.env)) {
  const settings = liveSettings(process.env)
  const prefix = `cr${randomBytes(3).toString('hex')}`
  const credential = new DefaultAzureCredential({ tenantId: settings.tenant })
  const common = { credential, ca: undefined, prefix, pollMs: 2000 }
  runArmSuite('Azure', async () => ({
    ...common,
    endpoint: 'https://management.azure.com',
    subscriptionId: settings.subscription,
    tenantId: settings.tenant,
    location: settings.location
  }))
  runKeyVaultSuite('Azure', async () => ({
    ...common,
    vaultUri: settings.vaultUri,
    disableChallengeResourceVerification: false
  }))
  runAttestationSuite('Azure', async () => ({ attestUri: settings.attestUri, ca: undefined, attestBody: undefined }), {
    hasEvidence: false
  })
  const { sidecarUrl } = settings
  if (sidecarUrl !== undefined) {
    runSidecarSuite('Azure', async () => ({
      url: sidecarUrl,
      maaHost: new URL(settings.attestUri).host,
      vaultHost: new URL(settings.vaultUri).host
    }))
  }
}

describe('a run against Azure', () => {
  it('is asked for with exactly CONFROUTER_LIVE=1', () => {
    expect([{}, { CONFROUTER_LIVE: '' }, { CONFROUTER_LIVE: '0' }, { CONFROUTER_LIVE: '1' }].map(isLive)).toEqual([
      false,
      false,
      false,
      true
    ])
  })

  it('names every variable that is missing, and what belongs into it', () => {
    const given = { CONFROUTER_LIVE: '1', CONFROUTER_LIVE_LOCATION: 'westeurope', CONFROUTER_LIVE_TENANT: '' }
    expect(() => liveSettings(given)).toThrow(
      /CONFROUTER_LIVE_SUBSCRIPTION: id[^]*CONFROUTER_LIVE_TENANT: [^]*CONFROUTER_LIVE_VAULT_URI: [^]*CONFROUTER_LIVE_ATTEST_URI: /
    )
    expect(() => liveSettings(given)).not.toThrow(/CONFROUTER_LIVE_LOCATION/)
  })
})
