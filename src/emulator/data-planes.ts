import type { Access } from './access.js'
import { getJson } from './environment.js'
import type { SimulatedHardware } from './hardware/simulated-hardware.js'
import { type Handler, ServiceError } from './http.js'
import type { OpenListeners } from './listeners.js'
import { vaultSuffix } from './local-caller.js'
import type { AttestationDataPlane } from './services/arm/attestation-providers.js'
import type { VaultDataPlane, VaultRecord } from './services/arm/vaults.js'
import { attestationHandler } from './services/attestation/handler.js'
import { removeTokenSigner } from './services/attestation/token-signer.js'
import { keyVaultHandler } from './services/keyvault/handler.js'
import { removeVaultKeys } from './services/keyvault/key-record.js'
import type { Store } from './store.js'

/** What the listeners of vaults and attestation providers are made of. */
export interface DataPlaneOptions {
  readonly store: Store
  readonly listeners: OpenListeners
  readonly clock: () => Date
}

const fetchTimeoutMs = 10_000

/** One TLS listener for each vault, which the vault's URI names by its port. */
export function vaultDataPlane(
  options: DataPlaneOptions & {
    readonly access: Access
    readonly tenantId: string
    readonly authorityHost: string
    /** PEM of the root that attestation authorities' listeners end in. */
    readonly ca: string
    readonly find: (name: string) => { readonly vault: VaultRecord; readonly resourceId: string } | undefined
  }
): VaultDataPlane & {
  /** What answers for a vault where it is addressed by its name and not by its port. */
  readonly byName: (name: string) => Handler
} {
  const { store, access, clock, authorityHost, tenantId } = options
  const listeners = new LateListeners(options.listeners)
  const listenerName = (name: string) => `key vault ${name.toLowerCase()}`
  const fetchJson = (url: string) => fetchLoopbackJson(url, options.ca)

  /** Looks the vault up for each request: its SKU and protection can change while it is open. */
  const handlerOf = (name: string, vaultUri: string | undefined, audience?: string): Handler => {
    let known: VaultRecord | undefined
    let handler: Handler | undefined
    return async (request) => {
      const found = options.find(name)
      if (!found || found.vault.deletedAt !== undefined) throw noSuchHost()
      const { vault, resourceId } = found
      if (!handler || vault !== known) {
        known = vault
        const { sku, retentionDays, purgeProtection } = vault
        handler = keyVaultHandler({
          store,
          access,
          vault: {
            name: vault.name,
            resourceId,
            tenantId,
            sku,
            retentionDays,
            purgeProtection,
            vaultUri: vaultUri ?? (await open(vault.name))
          },
          fetchJson,
          clock,
          authorityHost,
          ...(audience === undefined ? {} : { audience })
        })
      }
      return handler(request)
    }
  }
  const open = (name: string) => listeners.open(listenerName(name), async (origin) => handlerOf(name, origin))

  return {
    open,
    byName: (name) => handlerOf(name, undefined, `https://${vaultSuffix}`),
    close: (name) => listeners.close(listenerName(name)),
    destroy: async ({ name }) => {
      await listeners.forget(listenerName(name))
      await removeVaultKeys(store, name)
    }
  }
}

/** One TLS listener for each attestation provider; its origin is the issuer of its tokens. */
export function attestationDataPlane(
  options: DataPlaneOptions & { readonly hardware: Pick<SimulatedHardware, 'trust'> }
): AttestationDataPlane {
  const { store, hardware, clock } = options
  const listeners = new LateListeners(options.listeners)
  const listenerName = (name: string) => `attestation provider ${name}`
  return {
    open: (name) =>
      listeners.open(listenerName(name), (issuer) =>
        attestationHandler({ store, name, issuer, roots: hardware.trust, clock })
      ),
    destroy: async ({ name }) => {
      await listeners.forget(listenerName(name))
      await removeTokenSigner(store, name)
    }
  }
}

/**
 * Listeners whose handlers need to know their own origin. Each is opened once, also when two requests
 * ask for it at the same time: making a provider's signing key twice would leave one of them unknown.
 */
class LateListeners {
  readonly #open = new Map<string, Promise<string>>()

  constructor(private readonly listeners: OpenListeners) {}

  open(name: string, make: (origin: string) => Promise<Handler>): Promise<string> {
    const known = this.#open.get(name)
    if (known) return known
    const opening = this.#start(name, make)
    this.#open.set(name, opening)
    opening.catch(() => this.#open.delete(name))
    return opening
  }

  async close(name: string): Promise<void> {
    this.#open.delete(name)
    await this.listeners.close(name)
  }

  async forget(name: string): Promise<void> {
    this.#open.delete(name)
    await this.listeners.forget(name)
  }

  async #start(name: string, make: (origin: string) => Promise<Handler>): Promise<string> {
    let handler: Promise<Handler> | undefined
    const origin = await this.listeners.open(name, async (request) =>
      (await (handler ??= make(request.origin)))(request)
    )
    await (handler ??= make(origin))
    return origin
  }
}

/** A real vault asks any authority on the Internet; the emulated one only those of this machine. */
async function fetchLoopbackJson(url: string, ca: string): Promise<unknown> {
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'https:' || (hostname !== '127.0.0.1' && hostname !== 'localhost')) {
    throw new TypeError('the emulator asks no attestation authority outside of this machine')
  }
  return getJson(url, ca, fetchTimeoutMs)
}

function noSuchHost(): ServiceError {
  return new ServiceError(404, 'VaultNotFound', 'There is no key vault at this address.')
}
