import { describe, expect, it } from '@jest/globals'
import { decodeProtectedHeader, importX509, jwtVerify } from 'jose'
import { call } from './http.js'

interface JsonWebKeyWithChain {
  readonly kid: string
  readonly x5c: readonly string[]
}

export interface AttestationTarget {
  /** `https://…`, without a trailing slash. */
  readonly attestUri: string
  readonly ca: string | undefined
  /** The body of a good request to attest; undefined where there is no hardware to make one. */
  readonly attestBody: (() => Promise<string>) | undefined
}

/**
 * What this product and its verifier rely on in an attestation provider. Only a confidential container can make
 * evidence; without any, the one test that needs it is shown as skipped.
 */
export function runAttestationSuite(
  name: string,
  open: () => Promise<AttestationTarget>,
  { hasEvidence }: { readonly hasEvidence: boolean }
): void {
  describe(`attestation provider: ${name}`, () => {
    let opened: Promise<AttestationTarget> | undefined
    const world = () => (opened ??= open())
    const attest = async (body: string) => {
      const { attestUri, ca } = await world()
      return call(`${attestUri}/attest/SevSnpVm?api-version=2022-08-01`, { method: 'POST', body, ca })
    }

    it('names itself as the issuer, and where its keys are', async () => {
      const { attestUri, ca } = await world()
      const { status, text } = await call(`${attestUri}/.well-known/openid-configuration`, { ca })
      expect(status).toBe(200)
      expect(JSON.parse(text)).toMatchObject({ issuer: attestUri, jwks_uri: `${attestUri}/certs` })
    })

    it('shows RSA keys with the certificate that each was certified by', async () => {
      const { attestUri, ca } = await world()
      const { keys } = JSON.parse((await call(`${attestUri}/certs`, { ca })).text) as {
        keys: Record<string, unknown>[]
      }
      expect(keys.length).toBeGreaterThan(0)
      for (const key of keys) {
        expect(key).toMatchObject({ kty: 'RSA', kid: expect.any(String) })
        expect(Array.isArray(key['x5c'])).toBe(true)
      }
    })

    it.each(['', 'not JSON', '{}', '{"report":"AAAA","runtimeData":{"data":"e30","dataType":"JSON"}}'])(
      'refuses %j with 400 and an error with a code',
      async (body) => {
        const { status, text } = await attest(body)
        expect(status).toBe(400)
        expect(JSON.parse(text)).toMatchObject({ error: { code: expect.any(String), message: expect.any(String) } })
      }
    )

    const withEvidence = hasEvidence ? it : it.skip
    withEvidence('gives a token of its own for good evidence', async () => {
      const { attestUri, attestBody, ca } = await world()
      const { status, text } = await attest(await attestBody!())
      expect(status).toBe(200)
      const { token } = JSON.parse(text) as { token: string }
      // The service shows no modulus: the key is that of the certificate.
      const { keys } = JSON.parse((await call(`${attestUri}/certs`, { ca })).text) as { keys: JsonWebKeyWithChain[] }
      const { kid, alg } = decodeProtectedHeader(token)
      expect(alg).toBe('RS256')
      const chain = keys.find((key) => key.kid === kid)?.x5c ?? []
      const pem = `-----BEGIN CERTIFICATE-----\n${chain[0]}\n-----END CERTIFICATE-----`
      const key = await importX509(pem, 'RS256')
      const { payload } = await jwtVerify(token, key, { issuer: attestUri, algorithms: ['RS256'] })
      expect(payload).toMatchObject({
        'x-ms-attestation-type': 'sevsnpvm',
        'x-ms-compliance-status': 'azure-compliant-uvm',
        'x-ms-sevsnpvm-is-debuggable': false,
        'x-ms-sevsnpvm-vmpl': 0
      })
    })
  })
}
