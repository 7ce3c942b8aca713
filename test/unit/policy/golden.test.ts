import { describe, expect, it } from '@jest/globals'
import {
  describeExistingPolicies,
  existingPolicies,
  generatePolicies,
  type GroupPolicy,
  injectPolicies
} from '../../../src/policy/index.js'
import { type GoldenCase, goldenCases, images, jsonVector, templateOf, vector } from './vectors.js'

const frameFiles = [
  { frame: '0.10.0', infix: '' },
  { frame: '0.11.0', infix: '.2x' }
] as const

describe('generatePolicies against the real tool', () => {
  for (const golden of goldenCases) {
    for (const { frame, infix } of frameFiles) {
      it(`writes the policy text of ${golden.name} in frame ${frame}`, () => {
        const [policy, ...others] = generate(golden, frame)
        expect(policy?.rego).toBe(vector('cases', golden.name, `policy${infix}.rego`))
        expect(policy?.hostData).toBe(infix === '' ? golden.hostData : golden.hostData2x)
        expect(others).toEqual([])
      })

      if (!golden.templateChanged) continue
      it(`rewrites the template file of ${golden.name} in frame ${frame}`, () => {
        const text = vector('cases', golden.name, 'template.in.json')
        const expected = vector('cases', golden.name, `template.out${infix}.json`)
        expect(injectPolicies(text, generate(golden, frame))).toBe(expected)
        expect(injectPolicies(templateOf(golden.name), generate(golden, frame))).toBe(expected)
      })
    }
  }

  it('gives the text in the forms that the tool prints', () => {
    const [policy] = generatePolicies({ template: templateOf('outraw'), images, options: { frame: '0.10.0' } })
    expect(`${policy?.rego}\n\n\n`).toBe(vector('cases', 'outraw', 'stdout.txt'))
    expect(`${policy?.base64}\n\n\n`).toBe(vector('cases', 'print-policy', 'stdout.txt'))
  })

  it('shows existing policies as the tool does', () => {
    const existing = existingPolicies(templateOf('print-existing-policy'))
    expect(describeExistingPolicies(existing)).toBe(vector('cases', 'print-existing-policy', 'stdout.txt'))
  })

  it('uses the current frame when none is named', () => {
    const [policy] = generatePolicies({ template: templateOf('default'), images })
    expect(policy?.rego).toBe(vector('cases', 'default', 'policy.2x.rego'))
  })
})

describe('generatePolicies where the real tool fails', () => {
  it('refuses a template without a container group', () => {
    expect(() => generatePolicies({ template: templateOf('err-no-group'), images })).toThrow('has no container group')
  })

  it('refuses a container without an image', () => {
    expect(() => generatePolicies({ template: templateOf('err-no-image'), images })).toThrow(
      'container "router-container" has no image'
    )
  })

  it('refuses a parameter file that names an undeclared parameter', () => {
    const template = templateOf('err-params-file-unknown')
    const parameters = jsonVector('cases', 'err-params-file-unknown', 'params.json')
    expect(() => generatePolicies({ template, parameters, images })).toThrow('parameter "nope"')
  })

  it('refuses an infrastructure SVN without the default fragment', () => {
    const options = { excludeDefaultFragments: true, infrastructureSvn: '5' }
    expect(() => generatePolicies({ template: templateOf('default'), images, options })).toThrow(
      'needs the default fragment'
    )
  })
})

function generate(golden: GoldenCase, frame: '0.10.0' | '0.11.0'): readonly GroupPolicy[] {
  return generatePolicies({ template: templateOf(golden.name), images, options: { ...golden.options, frame } })
}
