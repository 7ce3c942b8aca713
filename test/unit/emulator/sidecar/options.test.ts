import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parseHostCertificates } from '../../../../src/emulator/sidecar/host-certificates.js'
import { parseSidecarOptions } from '../../../../src/emulator/sidecar/options.js'
import { readSecurityContext } from '../../../../src/emulator/sidecar/security-context.js'

const base64 = (value: string | object): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64')

describe('the options of the sidecar', () => {
  it('are port 8080 and little else by default', () => {
    expect(parseSidecarOptions({})).toEqual({
      port: 8080,
      logLevel: 'warning',
      identityClientId: undefined,
      certificateCache: undefined
    })
  })

  it('come from Port, LogLevel and SkrSideCarArgs', () => {
    const args = { identity: { client_id: 'a' }, certcache: { endpoint_type: 'LocalTHIM', endpoint: 'http://x' } }
    expect(parseSidecarOptions({ Port: '8081', LogLevel: 'debug', SkrSideCarArgs: base64(args) })).toEqual({
      port: 8081,
      logLevel: 'info',
      identityClientId: 'a',
      certificateCache: { type: 'LocalTHIM', endpoint: 'http://x' }
    })
  })

  it.each([
    { Port: '80a' },
    { Port: '65536' },
    { LogLevel: 'loud' },
    { SkrSideCarArgs: '{}' },
    { SkrSideCarArgs: base64('[]') },
    { SkrSideCarArgs: base64({ identity: 'a' }) },
    { SkrSideCarArgs: base64({ identity: { client_id: 5 } }) }
  ])('are refused when they are malformed: %j', (environment) => {
    expect(() => parseSidecarOptions(environment)).toThrow(TypeError)
  })
})

describe('host certificates', () => {
  const good = { vcekCert: 'V', certificateChain: 'C', tcbm: 'DB18000000000004' }

  it('are the chain and its TCB', () => {
    expect(parseHostCertificates(JSON.stringify(good))).toEqual({ chain: 'VC', tcb: 'db18000000000004' })
  })

  it.each([{ ...good, tcbm: 'xyz' }, { ...good, tcbm: '1'.repeat(17) }, { ...good, vcekCert: undefined }, []])(
    'are refused when they are malformed: %j',
    (value) => {
      expect(() => parseHostCertificates(JSON.stringify(value))).toThrow(TypeError)
    }
  )
})

describe('the security context', () => {
  const device = { reportUrl: 'http://127.0.0.1:1/snp-report', ca: 'PEM', releaseRoot: 'PEM' }
  const thim = { vcekCert: 'V', certificateChain: 'C', tcbm: '31' }
  let directory: string

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'context-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  async function write(files: Record<string, string>): Promise<{ UVM_SECURITY_CONTEXT_DIR: string }> {
    const folder = await mkdtemp(join(directory, 'case-'))
    await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)))
    return { UVM_SECURITY_CONTEXT_DIR: folder }
  }

  const files = {
    'security-policy-base64': base64('policy'),
    'reference-info-base64': base64('cose'),
    'host-amd-cert-base64': base64(thim),
    'emulated-device.json': JSON.stringify(device)
  }

  it('is read from the files of the platform', async () => {
    expect(await readSecurityContext(await write({ ...files, 'host-amd-cert-base64': `${base64(thim)}\n` }))).toEqual({
      uvmEndorsements: new Uint8Array(Buffer.from('cose')),
      hostCertificates: { chain: 'VC', tcb: '0000000000000031' },
      device
    })
  })

  it.each(['reference-info-base64', 'host-amd-cert-base64'])(
    'falls back to variables without a usable %s',
    async (name) => {
      const change = name === 'reference-info-base64' ? '' : undefined
      const { [name]: _, ...rest } = files as Record<string, string>
      const environment = await write(change === undefined ? rest : { ...rest, [name]: change })
      const context = await readSecurityContext({ ...environment, UVM_REFERENCE_INFO: base64('old') })
      expect(context.uvmEndorsements).toEqual(new Uint8Array(Buffer.from('old')))
      expect(context.hostCertificates).toBeUndefined()
    }
  )

  it.each([
    ['no folder', {}],
    ['a policy that is not base64', { ...files, 'security-policy-base64': '*' }],
    ['certificates that are not JSON', { ...files, 'host-amd-cert-base64': base64('x') }],
    ['no device', { ...files, 'emulated-device.json': '{}' }],
    ['no release root', { ...files, 'emulated-device.json': JSON.stringify({ ...device, releaseRoot: undefined }) }]
  ])('is refused with %s', async (name, content) => {
    const environment = name === 'no folder' ? {} : await write(content)
    await expect(readSecurityContext(environment)).rejects.toThrow()
  })
})
