import { isAbsent, toUserError } from './errors.js'
import type { AzureSession } from './session.js'

/** What one role grants. Both lists hold names of actions in which `*` stands for any text. */
export interface Permission {
  readonly actions: readonly string[]
  readonly notActions: readonly string[]
}

/** What the caller may do in a resource group, by roles there and above; undefined if there is no such group. */
export async function permissionsIn(
  azure: AzureSession,
  resourceGroup: string
): Promise<readonly Permission[] | undefined> {
  const client = await azure.authorization()
  const found: Permission[] = []
  try {
    const pages = client.permissions.listForResourceGroup(resourceGroup, { abortSignal: azure.signal })
    for await (const { actions = [], notActions = [] } of pages) found.push({ actions, notActions })
    return found
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `permissions in resource group "${resourceGroup}"`)
  }
}

/** Whether one of the roles grants an action. A role's exceptions take nothing from another role. */
export function allows(permissions: readonly Permission[], action: string): boolean {
  const matches = (pattern: string) => new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`, 'i').test(action)
  return permissions.some(({ actions, notActions }) => actions.some(matches) && !notActions.some(matches))
}

function escaped(text: string): string {
  return text.replace(/[.\\^$+?()[\]{}|]/g, '\\$&')
}
