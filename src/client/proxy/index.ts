/** The local proxy. Not a part of `confrouter/client`: it needs Node. */
export type { CallRecord } from './call-log.js'
export { createProxy, type Proxy, type ProxyLimits, type ProxyOptions } from './proxy.js'
