import { getVault } from '../azure/key-vault.js'
import { allows, permissionsIn } from '../azure/permissions.js'
import type { AzureSession } from '../azure/session.js'
import type { Config } from '../config/index.js'
import type { Finding } from './doctor.js'
import type { StepId } from './run.js'

/** What each step asks of Resource Manager where it has something to make. */
const needs: readonly { readonly step: StepId; readonly title: string; readonly actions: readonly string[] }[] = [
  {
    step: 'attestation',
    title: 'attestation provider',
    actions: ['Microsoft.Attestation/attestationProviders/write']
  },
  { step: 'vault', title: 'key vault', actions: ['Microsoft.KeyVault/vaults/write'] },
  { step: 'identity', title: 'identity', actions: ['Microsoft.ManagedIdentity/userAssignedIdentities/write'] },
  { step: 'roles', title: 'role assignments', actions: ['Microsoft.Authorization/roleAssignments/write'] },
  {
    step: 'deploy',
    title: 'container group',
    actions: [
      'Microsoft.Resources/deployments/write',
      'Microsoft.ContainerInstance/containerGroups/write',
      'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action'
    ]
  }
]

/**
 * Whether who is logged in may do what `up` has to do. Rights are those in the resource group: where there is none
 * yet, Azure has no answer. Where the key vault exists, other steps may have nothing to make, so a right that is
 * missing is a warning.
 */
export async function rightsFinding(
  azure: AzureSession,
  { resourceGroup, attestation, keyVault }: Config,
  { skipRoles }: { readonly skipRoles: boolean }
): Promise<Finding> {
  const permissions = await permissionsIn(azure, resourceGroup)
  if (permissions === undefined) {
    return {
      outcome: 'skipped',
      detail: `Azure tells rights in a resource group, and "${resourceGroup}" does not exist yet; who runs \`up\` has to be allowed to make it and to assign roles in it`
    }
  }
  const wanted = needs.filter(
    ({ step }) => !(step === 'roles' && skipRoles) && !(step === 'attestation' && attestation.endpoint !== undefined)
  )
  const lacking = wanted.flatMap(({ step, title, actions }) => {
    const missing = actions.filter((action) => !allows(permissions, action))
    return missing.length === 0 ? [] : [{ step, text: `${title} (${missing.join(', ')})` }]
  })
  if (lacking.length === 0) {
    return { outcome: 'pass', detail: `enough in "${resourceGroup}"${skipRoles ? ', without role assignments' : ''}` }
  }
  const exists = (await getVault(azure, resourceGroup, keyVault.name)) !== undefined
  const what = lacking.map(({ text }) => text).join('; ')
  const { objectId } = await azure.caller()
  const scope = `/subscriptions/${azure.subscriptionId}/resourceGroups/${resourceGroup}`
  const grant = (role: string) =>
    `az role assignment create --role "${role}" --assignee-object-id ${objectId} --scope ${scope}`
  const [noRoles, noOthers] = [
    lacking.some(({ step }) => step === 'roles'),
    lacking.some(({ step }) => step !== 'roles')
  ]
  return {
    outcome: exists ? 'warn' : 'fail',
    detail: exists ? `would fail if there is something to make: ${what}` : `these steps will fail: ${what}`,
    next: [
      ...(noOthers ? [`${grant('Contributor')}   (by an owner)`] : []),
      ...(noRoles
        ? [
            `${grant('Role Based Access Control Administrator')}   (by an owner)`,
            'confrouter up --no-roles   (where somebody else assigns the roles)'
          ]
        : [])
    ],
    fault: 'cloud'
  }
}
