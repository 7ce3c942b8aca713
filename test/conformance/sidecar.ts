import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { call } from './http.js'

export interface SidecarTarget {
  /** `http://127.0.0.1:8081` inside a container group. */
  readonly url: string
  /** Host names, with a port where it is not 443. */
  readonly maaHost: string
  readonly vaultHost: string
}

/** What the router relies on in the Secure Key Release sidecar, its oddities included. */
export function runSidecarSuite(name: string, open: () => Promise<SidecarTarget>): void {
  describe(`SKR sidecar: ${name}`, () => {
    let opened: Promise<SidecarTarget> | undefined
    const world = () => (opened ??= open())
    const post = async (path: string, body: unknown) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      return call(`${(await world()).url}${path}`, { method: 'POST', body: text })
    }
    // Its base64 has a plus or a slash in the standard alphabet, so that the two alphabets differ.
    const runtime = Buffer.from('{"router":"~~~???>>>"}')

    it('says that it is ready', async () => {
      const { status, text } = await call(`${(await world()).url}/status`)
      expect([status, JSON.parse(text)]).toEqual([200, { message: 'Status OK' }])
    })

    it('answers 404 in plain text for another path and for another method', async () => {
      const { url } = await world()
      for (const answer of [await call(`${url}/key/unwrap`), await call(`${url}/key/release`)])
        expect([answer.status, answer.text.trim()]).toEqual([404, '404 page not found'])
    })

    it('makes a report of 1184 bytes over the SHA-256 of the runtime data', async () => {
      const { status, text } = await post('/attest/raw', { runtime_data: runtime.toString('base64') })
      expect(status).toBe(200)
      const { report } = JSON.parse(text) as { report: string }
      expect(report).toMatch(/^[0-9a-f]{2368}$/)
      const expected = createHash('sha256').update(runtime).digest('hex')
      expect(report.slice(160, 288)).toBe(`${expected}${'00'.repeat(32)}`)
    })

    it('refuses the URL alphabet of base64, a missing member and what is no JSON with 400', async () => {
      const url = runtime.toString('base64').replaceAll('+', '-').replaceAll('/', '_')
      expect(url).toMatch(/[-_]/)
      for (const body of [{ runtime_data: url }, {}, 'no JSON']) {
        const { status, text } = await post('/attest/raw', body)
        expect(status).toBe(400)
        expect(JSON.parse(text)).toHaveProperty('error')
      }
    })

    it('gives report, certificates and endorsement in one answer', async () => {
      const { status, text } = await post('/attest/combined', { runtime_data: runtime.toString('base64') })
      expect(status).toBe(200)
      const { evidence, endorsements, uvm_endorsements: uvm } = JSON.parse(text) as Record<string, string>
      expect(Buffer.from(evidence!, 'base64')).toHaveLength(1184)
      expect(
        Buffer.from(endorsements!, 'base64')
          .toString()
          .match(/BEGIN CERTIFICATE/g)
      ).toHaveLength(3)
      // COSE_Sign1 begins with tag 18.
      expect(Buffer.from(uvm!, 'base64')[0]).toBe(0xd2)
    })

    it('gets a token that is bound to the runtime data', async () => {
      const { maaHost } = await world()
      const { status, text } = await post('/attest/maa', {
        maa_endpoint: maaHost,
        runtime_data: runtime.toString('base64')
      })
      expect(status).toBe(200)
      const { token } = JSON.parse(text) as { token: string }
      const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
      expect(claims['x-ms-runtime']).toEqual(JSON.parse(runtime.toString()))
    })

    it('answers a release without a member with 400 and an empty error', async () => {
      const { status, text } = await post('/key/release', { kid: 'k' })
      expect([status, JSON.parse(text)]).toEqual([400, { error: {} }])
    })

    it('answers 403 for every failure of a service behind it, and says in the tail which', async () => {
      const { maaHost, vaultHost } = await world()
      const { status, text } = await post('/key/release', {
        maa_endpoint: maaHost,
        akv_endpoint: vaultHost,
        kid: 'no-such-key'
      })
      expect(status).toBe(403)
      const { error } = JSON.parse(text) as { error: string }
      expect(error).toMatch(/^secure key release failed/)
      expect(error).toMatch(/KeyNotFound.*http response status equal to 404 Not Found$/s)
    })

    it('takes an endpoint with a protocol for a host that is not there', async () => {
      const { maaHost, vaultHost } = await world()
      const { status } = await post('/key/release', {
        maa_endpoint: maaHost,
        akv_endpoint: `https://${vaultHost}`,
        kid: 'k'
      })
      expect(status).toBe(403)
    })
  })
}
