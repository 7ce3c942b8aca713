import { lockedDown } from '../../src/client/proxy/answers.js'
import { chainOf } from '../../src/client/proxy/chain.js'
import { checkTitles } from '../../src/client/proxy/check-titles.js'
import { page, pageHeaders } from '../../src/client/proxy/page/page.js'
import type { ProxyStatus } from '../../src/client/proxy/status.js'
import { claims } from '../../src/verify/index.js'
import { type Cleanup, serve } from '../unit/router/harness.js'

/** The page as the proxy serves it, over a status that a test has made; gives the origin. */
export async function servePage(cleanup: Cleanup, status: () => ProxyStatus): Promise<string> {
  return serve(cleanup, ({ url }, response) => {
    if (url === '/') response.writeHead(200, { ...lockedDown, ...pageHeaders }).end(page)
    else if (url === '/status.json') response.end(JSON.stringify(status()))
    else response.writeHead(204).end()
  })
}

/** A status in which all checks match and hardware of AMD is behind them, with changes. */
export function trustedStatus(changes: Partial<ProxyStatus> = {}): ProxyStatus {
  const checks = claims.map((claim) => ({
    claim,
    title: checkTitles[claim],
    outcome: 'match' as const,
    expected: '4be1'.repeat(16),
    actual: '4be1'.repeat(16),
    reason: null,
    warning: null
  }))
  return {
    schemaVersion: 1,
    baseUrl: 'http://127.0.0.1:8788/v1',
    router: 'https://my-router.westeurope.azurecontainer.io:8443',
    state: 'trusted',
    simulated: false,
    verifying: false,
    verifiedAt: new Date().toISOString(),
    problem: null,
    maximumAgeSeconds: 300,
    chain: chainOf(checks.map(({ claim, outcome, expected, actual }) => ({ claim, outcome, expected, actual }))),
    checks,
    calls: [],
    ...changes
  }
}
