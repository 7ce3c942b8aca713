import { describe, expect, it } from '@jest/globals'
import { environmentOfWorker, withholdEnvironment } from '../../../src/router/worker-environment.js'

describe('the environment of a worker', () => {
  it('has what the runtime reads and nothing else', () => {
    const environment = {
      PATH: '/bin',
      NODE_EXTRA_CA_CERTS: '/ca.pem',
      SSL_CERT_FILE: '/ca.pem',
      TZ: 'UTC',
      OPENAI_API_KEY: 'sk',
      ACCESS_TOKENS: 'hash',
      CONFROUTER_SECRETS: 'jwe',
      IDENTITY_HEADER: 'of the platform',
      MY_PATH: 'x',
      KID: 'default'
    }
    withholdEnvironment(environment)
    expect(Object.keys(environment)).toEqual(['PATH', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'TZ'])
  })

  it('is told over the channel, without what the primary alone needs', () => {
    const told = environmentOfWorker({
      KID: 'default',
      ACCESS_TOKENS: 'hash',
      OPENAI_API_KEY: 'a',
      OPENROUTER_API_KEY: 'b',
      FAL_KEY: 'c',
      CONFROUTER_SECRETS: 'd',
      CONFROUTER_SECRETS_FILE: '/e'
    })
    expect(told).toEqual({ KID: 'default', ACCESS_TOKENS: 'hash' })
  })
})
