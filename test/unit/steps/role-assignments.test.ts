import { describe, expect, it } from '@jest/globals'
import type { RoleAssignment } from '../../../src/azure/roles.js'
import { assignmentName, rolesStep } from '../../../src/steps/role-assignments.js'
import type { Results, Run } from '../../../src/steps/run.js'

const assignment: RoleAssignment = {
  scope: '/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v',
  principalId: '46f62ce7-1264-4f33-8158-c7547caadf64',
  principalType: 'ServicePrincipal',
  role: 'Key Vault Crypto Service Release User'
}

describe('assignmentName', () => {
  it('is a version 5 UUID of the RFC’s variant', () => {
    expect(assignmentName(assignment)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  it('is the same on every run and in whatever case Azure returns the scope', () => {
    expect(assignmentName({ ...assignment, scope: assignment.scope.toUpperCase() })).toBe(assignmentName(assignment))
    // A changed namespace would orphan every assignment that was made before.
    expect(assignmentName(assignment)).toBe('901dc344-0477-5f1e-b47c-129225366318')
  })

  it('differs for another scope, principal or role', () => {
    const names = [
      assignment,
      { ...assignment, scope: `${assignment.scope}2` },
      { ...assignment, principalId: 'ffffffff-1264-4f33-8158-c7547caadf64' },
      { ...assignment, role: 'Key Vault Administrator' as const }
    ].map(assignmentName)
    expect(new Set(names).size).toBe(4)
  })
})

describe('the roles of the operator', () => {
  const guid = {
    administrator: '00482a5a-887f-4fb3-b363-3b7fe8e74483',
    officer: '14b46e9e-c2b7-41b4-b07b-48a6ebf60603'
  }
  const releaser = '08bbd89e-9f13-488c-ac41-acfcb10c90ab'
  const observe = async (role: string, has: readonly string[], skipRoles = false) => {
    const assignments = has.map((id) => ({
      id: `/a/${id}`,
      roleDefinitionId: `/x/${id}`,
      principalId: id === releaser ? 'identity' : 'me',
      scope: id === releaser ? '/vault' : '/'
    }))
    const listForScope = () => (skipRoles ? Promise.reject(new Error('looked at')) : assignments)
    const run = {
      config: { operator: { role } },
      skipRoles,
      azure: {
        caller: async () => ({ objectId: 'me', kind: 'User' }),
        authorization: async () => ({ roleAssignments: { listForScope } })
      }
    } as unknown as Run
    const outputs = { vault: { id: '/vault' }, identity: { principalId: 'identity' } }
    const results = { get: (id: keyof typeof outputs) => outputs[id] } as unknown as Results
    return rolesStep.observe(run, results, () => undefined)
  }

  it('are the one that is configured, and no more', async () => {
    expect(await observe('crypto-officer', [releaser])).toMatchObject({
      reason: 'assigning "Key Vault Crypto Officer"'
    })
    expect(await observe('administrator', [releaser])).toMatchObject({ reason: 'assigning "Key Vault Administrator"' })
    expect(await observe('crypto-officer', [releaser, guid.officer])).toMatchObject({ action: 'none' })
    expect(await observe('administrator', [releaser, guid.officer])).toMatchObject({ action: 'create' })
  })

  it('are not made less beside one that covers them', async () => {
    expect(await observe('crypto-officer', [releaser, guid.administrator])).toMatchObject({ action: 'none' })
    expect(await observe('crypto-officer', [guid.administrator])).toMatchObject({
      reason: 'assigning "Key Vault Crypto Service Release User"'
    })
  })

  it('are neither looked at nor made with --no-roles', async () => {
    expect(await observe('administrator', [], true)).toMatchObject({
      action: 'none',
      output: { operator: 'me' },
      says: 'left as they are (--no-roles)'
    })
  })
})
