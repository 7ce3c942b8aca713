import { describe, expect, it } from '@jest/globals'
import type { RoleAssignment } from '../../../src/azure/roles.js'
import { assignmentName } from '../../../src/steps/role-assignments.js'

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
