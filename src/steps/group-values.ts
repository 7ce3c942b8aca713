import { canonicalJson } from '../base/json.js'
import { routerEnvironment } from '../plan/router-environment.js'
import { publicPorts, routerPorts } from '../plan/router-ports.js'
import type { GroupValues } from '../plan/template.js'
import type { Run } from './run.js'

/** Everything measured about the container group, from the configuration and the earlier steps. */
export function groupValues(
  run: Run,
  from: {
    readonly identityId: string
    readonly routerImage: string
    readonly sidecarImage: string
    readonly attestUri: string
    readonly vaultUri: string
    /** RFC 7638 thumbprint of the key that signs the sealed secrets. */
    readonly secretsSigner: string
  }
): GroupValues {
  const { containerGroup, sidecar, key, access, encryption, location } = run.config
  return {
    name: containerGroup.name,
    location,
    identityId: from.identityId,
    dnsLabel: containerGroup.dnsLabel,
    publicPorts: publicPorts(run.config),
    router: {
      image: from.routerImage,
      ports: routerPorts(run.config),
      cpu: containerGroup.cpu,
      memoryGb: containerGroup.memoryGb,
      environment: {
        HOST: run.listenAddress,
        PORT: String(containerGroup.port),
        SKR_URL: `http://127.0.0.1:${sidecar.port}`,
        MAA_ENDPOINT: hostOf(from.attestUri),
        AKV_ENDPOINT: hostOf(from.vaultUri),
        KID: key.name,
        CONFROUTER_PROVIDERS: measuredProviders(run),
        ACCESS_MODE: access.mode,
        ACCESS_TOKENS: access.tokensSha256.join(','),
        RATE_LIMIT_PER_MINUTE: String(access.rateLimitPerMinute ?? ''),
        ENCRYPTION: encryption,
        CONFROUTER_SIMULATED: String(run.simulated),
        CONFROUTER_DEPLOYMENT: containerGroup.name,
        CONFROUTER_SECRETS_SIGNER: from.secretsSigner
      },
      moreEnvironment: routerEnvironment(run.config)
    },
    sidecar: {
      image: from.sidecarImage,
      ports: [sidecar.port],
      cpu: sidecar.cpu,
      memoryGb: sidecar.memoryGb,
      environment: { Port: String(sidecar.port) }
    }
  }
}

/** The sidecar takes host names without a scheme; `https://x` makes it ask for `https://https//x`. */
function hostOf(url: string): string {
  return new URL(url).host
}

/**
 * Where prompts may go, which is measured; keys are not part of it. The default is always written
 * down: the text is sorted, so "the first one" would not survive it.
 */
function measuredProviders(run: Run): string {
  const entries = Object.entries(run.config.providers)
  // Empty means the router's own three, with callers' keys; an empty object would enable none.
  if (entries.length === 0) return ''
  const chosen = (entries.find(([, provider]) => provider.default === true) ?? entries[0])?.[0]
  return canonicalJson(
    Object.fromEntries(
      entries.map(([name, { apiKey: _apiKey, default: _default, ...measured }]) => [
        name,
        name === chosen ? { ...measured, default: true } : measured
      ])
    )
  )
}
