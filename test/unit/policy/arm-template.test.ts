import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../../src/base/json.js'
import { ArmTemplateError, evaluateTemplate, evaluateText, templateScope } from '../../../src/policy/index.js'
import { damaged, generator, pick } from './random.js'

const context = {
  subscriptionId: '00000000-0000-0000-0000-000000000001',
  tenantId: '00000000-0000-0000-0000-000000000002',
  resourceGroup: { name: 'rg-one', location: 'westeurope' }
}

const template: JsonObject = {
  parameters: {
    name: { type: 'string' },
    count: { type: 'int', defaultValue: 3 },
    on: { type: 'bool', defaultValue: true },
    place: { type: 'string', defaultValue: '[resourceGroup().location]' },
    list: { type: 'array', defaultValue: ['a', "[parameters('name')]"] },
    settings: { type: 'object', defaultValue: { Inner: { deep: 'x' } } },
    secret: { type: 'securestring', defaultValue: '' }
  },
  variables: {
    both: "[concat(parameters('name'), '-', variables('one'))]",
    one: 1,
    tree: { leaf: "[variables('one')]" }
  }
}
const scope = templateScope({ template, parameters: { name: { value: 'web' } }, context })

describe('evaluateText', () => {
  const values: readonly (readonly [string, Json])[] = [
    ['plain', 'plain'],
    ['[[literal]', '[literal]'],
    ['[[not closed', '[[not closed'],
    ['[not closed', '[not closed'],
    ["pre-[parameters('name')]", "pre-[parameters('name')]"],
    ["[parameters('name')]", 'web'],
    ["[ PARAMETERS ( 'NAME' ) ]", 'web'],
    ["[parameters('count')]", 3],
    ["[parameters('on')]", true],
    ["[parameters('place')]", 'westeurope'],
    ["[parameters('list')]", ['a', 'web']],
    ["[parameters('list')[1]]", 'web'],
    ["[parameters('settings').inner.deep]", 'x'],
    ["[parameters('settings')['Inner']['deep']]", 'x'],
    ["[variables('both')]", 'web-1'],
    ["[variables('tree')]", { leaf: 1 }],
    ["['it''s']", "it's"],
    ['[-12]', -12],
    ["[concat('a', 1, parameters('on'))]", 'a1True'],
    ["[concat(parameters('list'), parameters('list'))]", ['a', 'web', 'a', 'web']],
    ["[format('{0}/{1}/{0} {{x}}', 'a', parameters('count'))]", 'a/3/a {x}'],
    ['[resourceGroup().id]', `/subscriptions/${context.subscriptionId}/resourceGroups/rg-one`],
    ['[resourceGroup().name]', 'rg-one'],
    ['[subscription().subscriptionId]', context.subscriptionId],
    ['[subscription().tenantId]', context.tenantId],
    [
      "[resourceId('Microsoft.KeyVault/vaults/keys', 'v', 'k')]",
      `/subscriptions/${context.subscriptionId}/resourceGroups/rg-one/providers/Microsoft.KeyVault/vaults/v/keys/k`
    ],
    [
      "[resourceId('rg-two', 'Microsoft.Web/sites', 's')]",
      `/subscriptions/${context.subscriptionId}/resourceGroups/rg-two/providers/Microsoft.Web/sites/s`
    ],
    ["[resourceId('sub', 'rg-two', 'A.B/c', 'n')]", '/subscriptions/sub/resourceGroups/rg-two/providers/A.B/c/n']
  ]
  for (const [text, value] of values) {
    it(`evaluates ${text}`, () => {
      expect(evaluateText(text, scope)).toEqual(value)
    })
  }

  const faults: readonly (readonly [string, 'invalid' | 'unsupported', string])[] = [
    ["[uniqueString('x')]", 'unsupported', "template function 'uniqueString' in '[uniqueString('x')]'"],
    ["[concat('a', reference('x').y)]", 'unsupported', "'reference'"],
    ["[contoso.name('x')]", 'unsupported', "'contoso.name'"],
    ["[parameters('nope')]", 'invalid', "The template parameter 'nope' is not found."],
    ["[variables('nope')]", 'invalid', "The template variable 'nope' is not found."],
    ['[parameters()]', 'invalid', 'one name'],
    ["[parameters('name', 'count')]", 'invalid', 'one name'],
    ["[parameters('settings').missing]", 'invalid', "property 'missing' doesn't exist"],
    ["[parameters('settings').constructor]", 'invalid', "property 'constructor' doesn't exist"],
    ["[parameters('list')[7]]", 'invalid', "property '7' doesn't exist"],
    ["[concat(parameters('settings'))]", 'invalid', "function 'concat'"],
    ['[concat()]', 'invalid', 'at least one argument'],
    ["[format('{2}', 'a')]", 'invalid', "an argument for '{2}'"],
    ["[format('{0:N}', 1)]", 'invalid', "an argument for '{'"],
    ['[format(1)]', 'invalid', 'a format string first'],
    ["[resourceGroup('x')]", 'invalid', 'no arguments'],
    ["[resourceId('Microsoft.Web/sites')]", 'invalid', 'one name for each'],
    ["[resourceId('name')]", 'invalid', 'a resource type'],
    ["[parameters('name']", 'invalid', "expected ')'"],
    ["[parameters('name')][0]]", 'invalid', 'expected'],
    ["[parameters('a')][parameters('b')]", 'invalid', 'expected'],
    ['[name]', 'invalid', 'a function call'],
    ["['open]", 'invalid', 'a function call'],
    ['[1.5]', 'invalid', 'a function call'],
    ['[]', 'invalid', 'a function call'],
    [`[${'concat('.repeat(80)}'x'${')'.repeat(80)}]`, 'invalid', 'nested too deeply'],
    [`['${'x'.repeat(25_000)}']`, 'invalid', 'longer than']
  ]
  for (const [text, kind, message] of faults) {
    it(`refuses ${text.slice(0, 60)} as ${kind}`, () => {
      const error = caught(() => evaluateText(text, scope))
      expect(error.message).toContain(message)
      expect([error.kind, error.code]).toEqual([kind, 'InvalidTemplate'])
    })
  }

  it('refuses what depends on the place of deployment where that is not known', () => {
    const nowhere = templateScope({ template, parameters: { name: { value: 'x' } }, context: undefined })
    for (const text of ['[resourceGroup().name]', '[subscription().tenantId]', "[resourceId('A.B/c', 'n')]"]) {
      expect(caught(() => evaluateText(text, nowhere)).kind).toBe('unsupported')
    }
  })

  it('refuses names that lead to themselves', () => {
    const circular = templateScope({
      template: { variables: { a: "[variables('b')]", b: "[variables('A')]" } },
      parameters: {},
      context
    })
    expect(caught(() => evaluateText("[variables('a')]", circular)).message).toContain('circular reference')
  })

  it('refuses variables that double each other without end', () => {
    const growing = (next: (previous: string) => Json): JsonObject => ({
      variables: Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [`v${i}`, i === 0 ? 'xxxxxxxx' : next(`variables('v${i - 1}')`)])
      )
    })
    const texts = templateScope({ template: growing((v) => `[concat(${v}, ${v})]`), parameters: {}, context })
    expect(caught(() => evaluateText("[variables('v39')]", texts)).message).toContain('longer than')
    const trees = templateScope({
      template: growing((v) => ({ left: `[${v}]`, right: `[${v}]` })),
      parameters: {},
      context
    })
    expect(caught(() => evaluateText("[variables('v39')]", trees)).message).toContain('stands for more than')
  })

  it('refuses variables that lead from one to the next too often, and neither order nor number of them', () => {
    const variables = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, i) => [`v${i}`, i === 0 ? 'x' : `[variables('v${i - 1}')]`])
    )
    const names = templateScope({ template: { variables }, parameters: {}, context })
    const error = caught(() => evaluateText("[variables('v4999')]", names))
    expect([error.kind, error.message]).toEqual(['unsupported', expect.stringContaining('more than 50 names')])
    for (let i = 0; i < 5_000; i++) expect(evaluateText(`[variables('v${i}')]`, names)).toBe('x')
  })

  it('refuses texts and lists that would be too large before it makes them', () => {
    const large = { text: 'x'.repeat(1_000_000), list: Array.from({ length: 90_000 }, () => 1) }
    const names = templateScope({ template: { variables: large }, parameters: {}, context })
    const many = (item: string) => Array.from({ length: 1_000 }, () => item).join(', ')
    const tooLong = [
      `[concat(${many("variables('text')")})]`,
      `[format('${'{0}'.repeat(7_000)}', variables('text'))]`,
      "[resourceId(variables('text'), variables('text'), 'A.B/c', 'n')]"
    ]
    for (const text of tooLong) expect(caught(() => evaluateText(text, names)).message).toContain('longer than')
    const lists = `[concat(${many("variables('list')")})]`
    expect(caught(() => evaluateText(lists, names)).message).toContain('stands for more than')
  })

  it('does not repeat a key that was computed, since it may be a secret', () => {
    const secret = templateScope({
      template: { parameters: { key: { type: 'securestring' } }, variables: { map: {} } },
      parameters: { key: { value: 'hunter2' } },
      context
    })
    const error = caught(() => evaluateText("[variables('map')[parameters('key')]]", secret))
    expect(error.message).toBe(
      "The language expression property doesn't exist in 'variables('map')[parameters('key')]'."
    )
  })

  it('answers damaged expressions with a value or an ArmTemplateError, and nothing else', () => {
    const random = generator(5)
    for (let round = 0; round < 5_000; round++) {
      const [text] = pick(values, random)
      try {
        evaluateText(`[${damaged(text, random)}]`, scope)
      } catch (error) {
        expect(error).toBeInstanceOf(ArmTemplateError)
      }
    }
  })
})

describe('evaluateTemplate', () => {
  const group = {
    type: 'Microsoft.ContainerInstance/containerGroups',
    apiVersion: '2023-05-01',
    name: "[parameters('name')]",
    location: '[resourceGroup().location]',
    dependsOn: ["[resourceId('Microsoft.KeyVault/vaults', 'v')]"],
    properties: { env: [{ value: "[parameters('secret')]" }], literal: '[[x]' }
  }
  const whole: JsonObject = {
    ...template,
    resources: [group, { ...group, condition: "[parameters('off')]" }],
    parameters: { ...(template['parameters'] as JsonObject), off: { type: 'bool', defaultValue: false } },
    outputs: {
      where: { type: 'string', value: '[resourceGroup().location]' },
      hidden: { type: 'securestring', value: "[parameters('secret')]" }
    }
  }

  it('evaluates resources and outputs, keeps dependsOn and leaves out false conditions', () => {
    const parameters = { name: { value: 'web' }, SECRET: { value: '[not an expression]' } }
    expect(evaluateTemplate({ template: whole, parameters, context })).toEqual({
      resources: [
        {
          ...group,
          name: 'web',
          location: 'westeurope',
          dependsOn: [
            `/subscriptions/${context.subscriptionId}/resourceGroups/rg-one/providers/Microsoft.KeyVault/vaults/v`
          ],
          properties: { env: [{ value: '[not an expression]' }], literal: '[x]' }
        }
      ],
      outputs: { where: { type: 'string', value: 'westeurope' }, hidden: { type: 'securestring' } }
    })
  })

  const parameterFaults: readonly (readonly [string, JsonObject, JsonObject, string])[] = [
    [
      'a missing parameter',
      { p: { type: 'string' } },
      {},
      "Deployment template validation failed: 'The value for the template parameter 'p' is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details.'."
    ],
    ['a parameter without value member', { p: { type: 'string' } }, { p: {} }, "parameter 'p' is not provided"],
    [
      'unknown parameters',
      { p: { type: 'string' }, q: { type: 'int' } },
      { p: { value: '' }, x: { value: 1 }, y: { value: 2 } },
      "The template parameters 'x, y' in the parameters file are not valid; they are not present in the original template and can therefore not be provided at deployment time. The only supported parameters for this template are 'p, q'."
    ],
    [
      'a number for a text',
      { p: { type: 'string' } },
      { p: { value: 1 } },
      "'String, Uri', but received a value of type 'Integer'"
    ],
    [
      'a text for a number',
      { p: { type: 'int' } },
      { p: { value: '1' } },
      "'Integer', but received a value of type 'String'"
    ],
    ['a fraction for a number', { p: { type: 'int' } }, { p: { value: 1.5 } }, "received a value of type 'Float'"],
    ['a text for a boolean', { p: { type: 'bool' } }, { p: { value: 'true' } }, "of type 'Boolean', but"],
    [
      'a list for an object',
      { p: { type: 'object' } },
      { p: { value: [] } },
      "'Object', but received a value of type 'Array'"
    ],
    [
      'an object for a list',
      { p: { type: 'array' } },
      { p: { value: {} } },
      "'Array', but received a value of type 'Object'"
    ],
    ['null', { p: { type: 'securestring' } }, { p: { value: null } }, "received a value of type 'Null'"],
    [
      'a value that is not allowed',
      { p: { type: 'string', allowedValues: ['a'] } },
      { p: { value: 'b' } },
      'allowed value'
    ],
    [
      'a value with a number that no double holds',
      { p: { type: 'array', allowedValues: [[1]] } },
      { p: { value: [Number.POSITIVE_INFINITY] } },
      'allowed value'
    ],
    [
      'too short a text',
      { p: { type: 'string', minLength: 2 } },
      { p: { value: 'b' } },
      "length of the template parameter 'p'"
    ],
    ['too long a list', { p: { type: 'array', maxLength: 1 } }, { p: { value: [1, 2] } }, 'above the maximum'],
    ['too small a number', { p: { type: 'int', minValue: 2 } }, { p: { value: 1 } }, 'below the minimum'],
    ['an unknown type', { p: { type: 'float' } }, { p: { value: 1 } }, 'type of the template parameter'],
    ['a declaration that is no object', { p: 1 }, { p: { value: 1 } }, 'is not an object']
  ]
  for (const [what, declared, given, message] of parameterFaults) {
    it(`refuses ${what}`, () => {
      const error = caught(() =>
        evaluateTemplate({ template: { parameters: declared, resources: [] }, parameters: given, context })
      )
      expect(error.message).toContain(message)
      expect(error.kind).toBe('invalid')
    })
  }

  it('never repeats the value of a parameter in a message', () => {
    const secret = { p: { value: 'hunter2-hunter2' } }
    for (const declaration of [
      { type: 'int' },
      { type: 'securestring', maxLength: 3 },
      { type: 'string', allowedValues: ['a'] }
    ]) {
      const error = caught(() =>
        evaluateTemplate({ template: { parameters: { p: declaration }, resources: [] }, parameters: secret, context })
      )
      expect(error.message).not.toContain('hunter2')
    }
  })

  const resource = { type: 'A.B/c', apiVersion: '2020-01-01', name: 'n' }
  const templateFaults: readonly (readonly [string, JsonObject, 'invalid' | 'unsupported', string])[] = [
    ['resources that are no list', { resources: {} }, 'unsupported', 'must be a list'],
    ['a resource that is no object', { resources: ['x'] }, 'invalid', 'index 0 is not an object'],
    ['a resource without type', { resources: [{ ...resource, type: '' }] }, 'invalid', "has no 'type'"],
    [
      'a resource without apiVersion',
      { resources: [{ ...resource, apiVersion: 1 }] },
      'invalid',
      "has no 'apiVersion'"
    ],
    ['a copy loop', { resources: [{ ...resource, copy: { count: 2 } }] }, 'unsupported', 'copy loops'],
    ['a copy variable', { resources: [], variables: { copy: [] } }, 'unsupported', 'copy loops'],
    ['user functions', { resources: [], functions: [{}] }, 'unsupported', 'user functions'],
    [
      'a nested template',
      { resources: [{ ...resource, type: 'Microsoft.Resources/deployments' }] },
      'unsupported',
      'nested'
    ],
    ['a condition that is no boolean', { resources: [{ ...resource, condition: 'yes' }] }, 'invalid', 'not a boolean'],
    ['a dependsOn that is no list', { resources: [{ ...resource, dependsOn: 'x' }] }, 'invalid', 'dependsOn'],
    ['outputs that are no object', { resources: [], outputs: [] }, 'invalid', 'outputs section'],
    ['an output without value', { resources: [], outputs: { o: { type: 'string' } } }, 'invalid', "output 'o'"],
    ['parameters that are no object', { resources: [], parameters: [] }, 'invalid', 'parameters section'],
    ['variables that are no object', { resources: [], variables: 'x' }, 'invalid', 'variables section'],
    [
      'an unknown function deep inside',
      { resources: [{ ...resource, x: [{ y: '[guid()]' }] }] },
      'unsupported',
      "'guid'"
    ]
  ]
  for (const [what, broken, kind, message] of templateFaults) {
    it(`refuses ${what}`, () => {
      const error = caught(() => evaluateTemplate({ template: broken, parameters: {}, context }))
      expect([error.kind, error.message]).toEqual([kind, expect.stringContaining(message)])
    })
  }

  it('refuses a Key Vault reference as the value of a parameter', () => {
    const parameters = { p: { reference: { keyVault: { id: 'x' }, secretName: 's' } } }
    const broken = { parameters: { p: { type: 'securestring' } }, resources: [] }
    expect(caught(() => evaluateTemplate({ template: broken, parameters, context })).kind).toBe('unsupported')
  })
})

function caught(evaluate: () => unknown): ArmTemplateError {
  try {
    evaluate()
  } catch (error) {
    if (error instanceof ArmTemplateError) return error
    throw error
  }
  throw new Error('nothing was refused')
}
