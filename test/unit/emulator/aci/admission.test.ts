import { Readable } from 'node:stream'
import { describe, expect, it } from '@jest/globals'
import { parseSha256Hex } from '../../../../src/base/digest.js'
import { createAdmission } from '../../../../src/emulator/services/aci/admission.js'
import type { ContainerSpec } from '../../../../src/emulator/services/aci/group-spec.js'
import type { PulledImage } from '../../../../src/emulator/services/aci/image-store.js'
import { generatePolicies, parseCcePolicy } from '../../../../src/policy/index.js'
import { groupTemplate } from '../support/containers.js'

const rootHash = parseSha256Hex('ab'.repeat(32), 'layer')
const config: PulledImage['config'] = {
  Entrypoint: ['/app'],
  Cmd: undefined,
  Env: ['A=1'],
  WorkingDir: '/',
  User: undefined,
  StopSignal: undefined,
  Labels: {},
  ExposedPorts: []
}
const image: PulledImage = {
  pinned: 'registry.test/app@sha256:00',
  config,
  layers: [{ rootHash, open: () => Readable.from([]) }]
}
const spec: ContainerSpec = {
  name: 'app',
  image: 'registry.test/app:1',
  command: [],
  ports: [],
  environment: [],
  resources: { cpu: 1, memoryInGB: 1, limits: undefined },
  securityContext: {
    privileged: false,
    allowPrivilegeEscalation: true,
    runAsUser: undefined,
    runAsGroup: undefined
  },
  unused: {}
}

function policyText(options: { readonly excludeDefaultFragments?: boolean } = {}): string {
  const template = groupTemplate({ containers: [{ name: 'app', image: spec.image }] })
  const images = new Map([[spec.image, { config, layers: [rootHash] }]])
  return generatePolicies({ template, images, options })[0]?.rego ?? ''
}

function admitWith(rego: string) {
  return createAdmission(parseCcePolicy(rego))({ spec, image, platformEnv: {} })
}

describe('the admission of a container group', () => {
  it('lets a container in whose group has what the platform itself needs', () => {
    expect(admitWith(policyText())).toMatchObject({ argv: ['/app'], env: { A: '1' } })
  })

  it('is refused without the pause container in the policy', () => {
    const withoutPause = policyText().replace(/^containers := (.*)$/m, (_, list: string) => {
      const containers = JSON.parse(list) as { name: string }[]
      return `containers := ${JSON.stringify(containers.filter(({ name }) => name !== 'pause-container'))}`
    })
    expect(withoutPause).not.toContain('/pause')
    expect(() => admitWith(withoutPause)).toThrow(
      /start container pause-container.*onto \/run\/mounts\/scsi\/m0 denied by policy.*deviceHash not found/s
    )
  })

  it('is refused when the policy has another pause command', () => {
    const changed = policyText().replace('"command":["/pause"]', '"command":["/other"]')
    expect(() => admitWith(changed)).toThrow(/pause-container: .*container creation denied by policy.*invalid command/s)
  })

  it('is refused without the infrastructure fragment', () => {
    expect(() => admitWith(policyText({ excludeDefaultFragments: true }))).toThrow(
      /infrastructure-container.*denied by policy.*no matching containers for overlay/s
    )
  })

  it('needs no infrastructure fragment where the group has none of the platform’s sidecars, but the pause container', () => {
    const policy = parseCcePolicy(policyText({ excludeDefaultFragments: true }))
    const admit = createAdmission(policy, { hasNoSidecars: true })
    expect(admit({ spec, image, platformEnv: {} })).toMatchObject({ argv: ['/app'] })
    const other = parseCcePolicy(policyText({ excludeDefaultFragments: true }).replace('"/pause"', '"/other"'))
    expect(() => createAdmission(other, { hasNoSidecars: true })({ spec, image, platformEnv: {} })).toThrow(
      /pause-container/
    )
  })

  it('is refused when the only fragment is somebody else’s', () => {
    const other = policyText().replace('aci-cc-infra-fragment', 'another-fragment')
    expect(() => admitWith(other)).toThrow(/infrastructure-container.*denied by policy/s)
  })
})
