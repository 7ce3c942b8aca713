import { createHash } from 'node:crypto'
import { createRoleAssignment, findRoleAssignment, type RoleAssignment, roles } from '../azure/roles.js'
import { recordCreated } from './created.js'
import type { Step } from './run.js'

/**
 * The operator may manage keys in the vault, the group's identity may release them. What is made
 * here is made at the vault and nowhere above it. List first, then a name that is the same on every run, and an
 * assignment that exists under another name is as good.
 */
export const rolesStep: Step<'roles'> = {
  id: 'roles',
  title: 'role assignments',
  needs: ['vault', 'identity'],
  async observe(run, results) {
    const scope = results.get('vault').id
    const caller = await run.azure.caller()
    const output = { operator: caller.objectId }
    if (run.skipRoles) return { action: 'none', output, says: 'left as they are (--no-roles)' }
    const officer = run.config.operator.role === 'crypto-officer'
    const operator = { scope, principalId: caller.objectId, principalType: caller.kind }
    const wanted: readonly RoleAssignment[] = [
      { ...operator, role: officer ? 'Key Vault Crypto Officer' : 'Key Vault Administrator' },
      {
        scope,
        principalId: results.get('identity').principalId,
        principalType: 'ServicePrincipal',
        role: 'Key Vault Crypto Service Release User'
      }
    ]
    const found = await Promise.all(
      wanted.map((assignment) =>
        // An operator who has the role above the vault needs none on it, and may not be able to give one.
        findRoleAssignment(
          run.azure,
          assignment,
          assignment.principalId === caller.objectId ? 'here-or-above' : 'exactly'
        )
      )
    )
    // An administrator may do all that a crypto officer may, and is not given less beside it.
    const isCovered =
      officer &&
      found[0] === undefined &&
      (await findRoleAssignment(run.azure, { ...operator, role: 'Key Vault Administrator' }, 'here-or-above')) !==
        undefined
    const missing = wanted.filter((_, index) => found[index] === undefined && !(index === 0 && isCovered))
    if (missing.length === 0) return { action: 'none', output }
    return {
      action: 'create',
      reason: `assigning ${missing.map(({ role }) => `"${role}"`).join(' and ')}`,
      properties: missing.map(({ role, principalId }) => ({ property: role, from: null, to: principalId })),
      async apply() {
        await Promise.all(
          missing.map(async (assignment) => {
            const name = assignmentName(assignment)
            await recordCreated(run, `${scope}/providers/Microsoft.Authorization/roleAssignments/${name}`)
            await createRoleAssignment(run.azure, assignment, name)
          })
        )
        return output
      }
    }
  }
}

/** Namespace of our names; any fixed UUID does, it only must never change. */
const namespace = '7c9e2f0a-5d1b-4f3e-9a68-2b7d41c0e5f6'

/**
 * RFC 9562 version 5 UUID over scope, principal and role: the same assignment gets the same name on
 * every run, and a recreated identity, which has a new principal, gets a new one.
 */
export function assignmentName({ scope, principalId, role }: RoleAssignment): string {
  const hash = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(`${scope.toLowerCase()}|${principalId.toLowerCase()}|${roles[role]}`)
    .digest()
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6)
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = hash.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-')
}
