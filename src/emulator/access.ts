import type { Handler } from './http.js'

/** Who calls, as the bearer token that the emulated Entra signed says. */
export interface Principal {
  readonly objectId: string
  readonly tenantId: string
  readonly clientId: string
}

/** The authority over tokens and roles that every emulated service asks. */
export interface Access {
  /**
   * The caller of a request, from its `Authorization: Bearer` header: signature, expiry and audience
   * are checked. Undefined when there is no token or it is not good; the service answers 401 in its own way.
   */
  authenticate(authorization: string | undefined, audience: string): Promise<Principal | undefined>
  /**
   * Whether an effective role assignment at `scope` or above grants `action` (control plane) or
   * `dataAction`. Assignments count only after the configured propagation delay.
   */
  isAllowed(principal: Principal, need: { action: string } | { dataAction: string }, scope: string): boolean
}

/** Gives a service its own TLS listener on 127.0.0.1; the port is kept across restarts. */
export interface Listeners {
  /** Starts (or finds) the listener that `name` owns and returns its origin, `https://127.0.0.1:PORT`. */
  open(name: string, handler: Handler): Promise<string>
  close(name: string): Promise<void>
}
