import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { requireTakesSecrets } from '../../../src/steps/rollback.js'
import type { Results } from '../../../src/steps/run.js'
import { secretsKeysOfTests, secretsRun } from './secrets-harness.js'

const { signer } = await secretsKeysOfTests()
const hostData = sha256Hex('policy')

/** Goes back to a deployment whose router measured these variables. */
function goBack(variables: Readonly<Record<string, string>>): void {
  const environmentVariables = Object.entries(variables).map(([name, value]) => ({ name, value }))
  const containers = [{ name: 'router', properties: { environmentVariables } }]
  const template = { resources: [{ properties: { containers } }] }
  const results = { get: () => signer } as unknown as Results
  requireTakesSecrets(secretsRun(), results, { template, hostData })
}

const measured = { CONFROUTER_SECRETS_SIGNER: signer.thumbprint, CONFROUTER_DEPLOYMENT: 'g' }

describe('going back to a router that measures whose provider keys it takes', () => {
  it('is possible where signer and deployment are those of now', () => {
    expect(() => goBack(measured)).not.toThrow()
  })

  it.each([
    ['another signer', { ...measured, CONFROUTER_SECRETS_SIGNER: 'other' }, 'from signer other, now it is'],
    ['no signer', { CONFROUTER_DEPLOYMENT: 'g' }, 'from signer (none)'],
    ['another name', { ...measured, CONFROUTER_DEPLOYMENT: 'h' }, 'for deployment "h", now it is "g"']
  ])('is refused for one with %s, before anything is changed', (_name, variables, why) => {
    expect(() => goBack(variables)).toThrow(
      expect.objectContaining({ code: 'rollback.secrets-refused', why: expect.stringContaining(why) })
    )
  })
})
