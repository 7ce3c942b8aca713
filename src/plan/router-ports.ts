import type { Config } from '../config/index.js'

type Ports = Pick<Config, 'containerGroup' | 'router'>

/** The ports that the router listens on inside the container group. */
export function routerPorts({ containerGroup, router }: Ports): readonly number[] {
  return router.tls === undefined ? [containerGroup.port] : [containerGroup.port, router.tls.port]
}

/** Those of them that the group's public address has. */
export function publicPorts({ containerGroup, router }: Ports): readonly number[] {
  return router.tls?.only === true ? [router.tls.port] : routerPorts({ containerGroup, router })
}
