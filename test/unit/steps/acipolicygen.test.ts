import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { acipolicygen, type PolicyRequest, type PolicySurroundings } from '../../../src/steps/acipolicygen.js'

const vectors = join(import.meta.dirname, '..', '..', 'vectors')
const tiny = join(vectors, 'images', 'tiny-docker.tar')
const template = JSON.stringify({
  resources: [
    {
      type: 'Microsoft.ContainerInstance/containerGroups',
      name: 'group',
      properties: {
        containers: [{ name: 'a', properties: { image: 'localhost/tiny:1' } }],
        confidentialComputeProperties: { ccePolicy: 'b2xk' }
      }
    }
  ]
})

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'confrouter-acipolicygen-'))
  file = join(folder, 'template.json')
  writeFileSync(file, template)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function run(request: Partial<PolicyRequest> = {}, surroundings: Partial<PolicySurroundings> = {}) {
  return acipolicygen(
    {
      subject: { kind: 'template', file, parametersFile: undefined },
      options: {},
      approveWildcards: false,
      fragmentsFile: undefined,
      mode: 'write',
      ...request
    },
    {
      tar: tiny,
      openRegistryImage: () => Promise.reject(new Error('the registry was asked')),
      ask: () => Promise.resolve('y'),
      note: () => undefined,
      warn: () => undefined,
      signal: new AbortController().signal,
      ...surroundings
    }
  )
}

function write(name: string, value: unknown): string {
  writeFileSync(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
  return join(folder, name)
}

describe('acipolicygen', () => {
  it('writes the template and reports the hash of the policy in it', async () => {
    const { stdout, groups } = await run()
    expect(groups).toEqual([{ name: 'group', hostData: stdout.trim(), written: true }])
    expect(readFileSync(file, 'utf8')).not.toContain('b2xk')
  })

  it('keeps the policy for any answer but y', async () => {
    for (const answer of ['n', 'yes', '']) {
      const { stdout, groups } = await run({}, { ask: () => Promise.resolve(answer) })
      expect([stdout, groups[0]?.written]).toEqual(['', false])
    }
    expect(readFileSync(file, 'utf8')).toBe(template)
  })

  it('says that the template cannot be written', async () => {
    const ask = () => {
      rmSync(folder, { recursive: true })
      return Promise.resolve('y')
    }
    await expect(run({}, { ask })).rejects.toMatchObject({ code: 'policy.unwritable', fault: 'machine' })
  })

  it('ends as interrupted, not for want of an answer, when it is interrupted while it waits for one', async () => {
    const interruption = new AbortController()
    const ask = () => {
      interruption.abort()
      return Promise.resolve(undefined)
    }
    await expect(run({}, { ask, signal: interruption.signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(readFileSync(file, 'utf8')).toBe(template)
  })

  it('asks before it reads images, which may take long', async () => {
    const open = JSON.parse(template) as { resources: { properties: { containers: { properties: object }[] } }[] }
    const properties = open.resources[0]!.properties.containers[0]!.properties
    Object.assign(properties, { environmentVariables: [{ name: 'A', value: "[parameters('p')]" }] })
    write('template.json', { ...open, parameters: { p: { type: 'string' } } })
    const ask = () => Promise.resolve(undefined)
    await expect(run({}, { ask, tar: undefined })).rejects.toMatchObject({ code: 'input.needed' })
  })

  it.each([
    ['not JSON', '{', 'it is not JSON'],
    ['no object', [], 'it is not a JSON object'],
    ['an entry that is no path', { 'localhost/tiny:1': 5 }, 'is not a path']
  ])('refuses a map of images with %s', async (_what, map, why) => {
    const tar = write('map.json', map)
    await expect(run({}, { tar })).rejects.toMatchObject({
      code: 'policy.file',
      problem: expect.stringContaining(tar),
      why: expect.stringContaining(why)
    })
  })

  it.each([
    [{ fragments: {} }, 'policy.fragment', 'is not a list'],
    [{ fragments: [{ feed: 'a', issuer: 'b', includes: ['containers'] }] }, 'policy.fragment', 'minimum_svn'],
    [{ standaloneFragments: [{}] }, 'policy.fragment', 'feed'],
    ['nothing', 'policy.file', 'expected form']
  ])('refuses the fragments %j', async (content, code, words) => {
    const fragmentsFile = write('fragments.json', content)
    await expect(run({ fragmentsFile })).rejects.toMatchObject({ code, problem: expect.stringContaining(words) })
    expect(readFileSync(file, 'utf8')).toBe(template)
  })

  it('imports both lists of a fragments file', async () => {
    const fragment = { issuer: 'did:x509:x', includes: ['containers'], minimum_svn: '1' }
    const fragmentsFile = write('fragments.json', {
      fragments: [{ ...fragment, feed: 'one' }],
      standaloneFragments: [{ ...fragment, feed: 'two', more: 'left out' }]
    })
    const { stdout } = await run({ fragmentsFile, mode: 'text' })
    expect(stdout).toMatch(/aci-cc-infra-fragment[^]*"one"[^]*"two"/)
    expect(stdout).not.toContain('left out')
  })

  it('passes on what it cannot explain', async () => {
    await expect(run({}, { tar: undefined })).rejects.toThrow('the registry was asked')
    const elsewhere = write('map.json', {})
    await expect(run({}, { tar: elsewhere })).rejects.toThrow('the registry was asked')
  })
})
