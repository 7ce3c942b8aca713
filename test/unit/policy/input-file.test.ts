import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import { generatePolicies, templateNeeds, templateOfImage, templateOfInputFile } from '../../../src/policy/index.js'
import { images, templateOf } from './vectors.js'

const image = 'localhost/tiny:1'

function regoOf(properties: JsonObject, form: 'arm' | 'input-file' = 'input-file'): string {
  const template = templateOfInputFile({ containers: [{ name: 'a', properties: { image, ...properties } }] })
  return generatePolicies({ template, images, form })[0]?.rego ?? ''
}

describe('an input file', () => {
  it('takes working directory, commands and patterns that ARM does not have', () => {
    const rego = regoOf({
      workingDir: '/wd',
      execProcesses: [{ command: ['ls'] }],
      environmentVariables: [{ name: 'R', value: 'x.*', regex: true }]
    })
    expect(rego).toContain('"working_dir":"/wd"')
    expect(rego).toContain('"exec_processes":[{"command":["ls"],"signals":[]}]')
    expect(rego).toContain('{"pattern":"R=x.*","required":false,"strategy":"re2"}')
  })

  it('gives none of them to a template of ARM, where they mean nothing', () => {
    const rego = regoOf(
      {
        workingDir: '/wd',
        execProcesses: [{ command: ['ls'] }],
        environmentVariables: [{ name: 'R', value: 'x.*', regex: true }]
      },
      'arm'
    )
    expect(rego).not.toContain('/wd')
    expect(rego).not.toContain('"ls"')
    expect(rego).toContain('{"pattern":"R=x.*","required":false,"strategy":"string"}')
  })

  it('keeps mounts of one name and two kinds apart', () => {
    const rego = regoOf({
      volumeMounts: [
        { name: 'v', mountType: 'azureFile', mountPath: '/a' },
        { name: 'v', mountType: 'secret', mountPath: '/b', readOnly: true }
      ]
    })
    expect(rego).toContain(
      '"destination":"/a","options":["rbind","rshared","rw"],"source":"sandbox:///tmp/atlas/azureFile'
    )
    expect(rego).toContain(
      '"destination":"/b","options":["rbind","rshared","ro"],"source":"sandbox:///tmp/atlas/secrets'
    )
  })

  it.each([
    [{ workingDir: 5 }, 'workingDir'],
    [{ execProcesses: [{ command: [] }] }, 'execProcesses[0]'],
    [{ volumeMounts: [{ name: 'v', mountPath: '/a' }] }, 'volumeMounts[0] has no mountType'],
    [{ volumeMounts: [{ name: 'v', mountType: 'floppy', mountPath: '/a' }] }, 'none of azureFile'],
    [{ environmentVariables: [{ name: '.*', value: 'x', regex: true }] }, 'would be read as a pattern'],
    [{ environmentVariables: [{ name: 'A', value: "[parameters('a')]" }] }, 'not declared']
  ] as const)('with %j is refused', (properties, words) => {
    let said = ''
    try {
      regoOf(properties)
    } catch (error) {
      said = `${(error as Error).message} ${(error as { why?: string }).why ?? ''}`
    }
    expect(said).toContain(words)
  })

  it('is refused without properties, and with fragments', () => {
    expect(() => templateOfInputFile({ containers: [{ containerImage: image }] })).toThrow('has no "properties"')
    expect(() => templateOfInputFile({ fragments: [{}], containers: [] })).toThrow('fragments')
  })
})

describe('templateOfImage', () => {
  it('names the container after the image, and --omit-id leaves both out', () => {
    const template = templateOfImage(image)
    const [policy] = generatePolicies({ template, images, options: { omitId: true } })
    expect(policy?.rego).not.toContain(image)
    expect(generatePolicies({ template, images })[0]?.rego).toContain(`"name":"${image}"`)
  })
})

describe('templateNeeds', () => {
  it('lists each image once, in the order of the template, without having read any', () => {
    expect(templateNeeds({ template: templateOf('default') }).images).toEqual([
      'ghcr.io/example/inference-router:1.4.2',
      'mcr.microsoft.com/aci/skr:2.12'
    ])
  })

  it('finds the questions that generatePolicies asks, in its order', () => {
    const template = templateOf('env-params-answer-y')
    const asked: unknown[] = []
    const decideWildcard = (question: unknown) => {
      asked.push(question)
      return true
    }
    generatePolicies({ template, images, options: { decideWildcard } })
    expect(asked).toEqual(templateNeeds({ template }).questions)
    expect(asked.length).toBeGreaterThan(0)
  })

  it('does not refuse for an image what only the image can say', () => {
    const needs = templateNeeds({ template: templateOf('default'), options: { refuseNullCommand: true } })
    expect(needs.questions).toEqual([])
  })
})
