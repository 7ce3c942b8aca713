import { join } from 'node:path'
import type { EmulatorSettings } from '../commands/app.js'
import type { EmulatorEnvironment } from '../emulator/environment.js'

/** Name under which `az` knows the emulator. */
const cloudName = 'confrouter-loopback'

/**
 * What the real `az`, the Azure SDKs and other programs need to use an emulator. `az` gets a folder of its own, so that
 * whoever is logged in to Azure stays so.
 */
export function settingsOf(emulator: EmulatorEnvironment, directory: string): EmulatorSettings {
  const { armEndpoint, authorityHost, tenantId, clientId, clientSecret, subscriptionId, caFile } = emulator
  return {
    variables: {
      AZURE_CONFIG_DIR: join(directory, 'az'),
      AZURE_CORE_COLLECT_TELEMETRY: 'false',
      AZURE_CORE_INSTANCE_DISCOVERY: 'false',
      REQUESTS_CA_BUNDLE: caFile,
      NODE_EXTRA_CA_CERTS: caFile,
      NO_PROXY: '127.0.0.1,localhost,.vault.localhost',
      AZURE_AUTHORITY_HOST: authorityHost,
      AZURE_TENANT_ID: tenantId,
      AZURE_CLIENT_ID: clientId,
      AZURE_CLIENT_SECRET: clientSecret,
      AZURE_SUBSCRIPTION_ID: subscriptionId
    },
    azSetup: [
      `az cloud register -n ${cloudName} --endpoint-resource-manager ${armEndpoint}`,
      `az cloud set -n ${cloudName}`,
      'az login --service-principal -u "$AZURE_CLIENT_ID" -p "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID"'
    ]
  }
}
