import { join } from 'node:path'
import type { EmulatorEnvironment } from '../../../../src/emulator/index.js'
import { openTokenIssuer } from '../../../../src/emulator/services/entra/token-issuer.js'
import { openStore } from '../../../../src/emulator/store.js'

/** A token as a container would get it, from the keys that the emulator keeps in its directory. */
export async function tokensOf(
  directory: string,
  environment: EmulatorEnvironment,
  principal: { readonly objectId: string; readonly clientId: string },
  clock: () => Date
): Promise<string> {
  const issuer = await openTokenIssuer({
    store: await openStore(join(directory, 'state')),
    tenantId: environment.tenantId,
    issuer: `${environment.authorityHost}/${environment.tenantId}/v2.0`,
    clock
  })
  return (await issuer.issue(principal, environment.armEndpoint)).token
}
