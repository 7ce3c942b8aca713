import { describe, expect, it } from '@jest/globals'
import type { Container, ContainerGroup } from '../../../src/azure/container-group.js'
import { checkRestarts } from '../../../src/steps/smoke-checks.js'
import { startProblem } from '../../../src/steps/container-start.js'
import type { Run } from '../../../src/steps/run.js'

const container: Container = {
  name: 'router',
  image: 'x',
  command: [],
  environment: {},
  cpu: 1,
  memoryGb: 1,
  state: 'Waiting',
  detail: undefined,
  restartCount: 0,
  events: []
}

function groupWith(change: Partial<ContainerGroup>, router: Partial<Container> = {}): ContainerGroup {
  return {
    id: '/x',
    name: 'cr',
    location: 'eastus',
    provisioningState: 'Creating',
    state: 'Pending',
    ip: undefined,
    fqdn: undefined,
    dnsLabel: undefined,
    ports: [],
    ccePolicy: undefined,
    identityIds: [],
    restartPolicy: 'Always',
    containers: [{ ...container, ...router }],
    events: [],
    ...change
  }
}

const event = (name: string, message: string, type = 'Warning') => ({ name, message, type, count: 1 })
/** Its logs cannot be had: then the platform's word has to do. */
const run = {
  config: { resourceGroup: 'rg' },
  azure: { containers: () => Promise.reject(new Error('none')) }
} as unknown as Run

describe('startProblem', () => {
  it('finds nothing wrong with a group that is starting', async () => {
    expect(await startProblem(run, groupWith({}))).toBeUndefined()
  })

  it('says of a container whose image cannot be pulled that Azure cannot pull it', async () => {
    const message = 'Failed to pull image "ghcr.io/o/r@sha256:00": denied'
    expect(await startProblem(run, groupWith({}, { events: [event('Failed', message)] }))).toMatchObject({
      code: 'aci.image-inaccessible',
      why: message
    })
  })

  it.each([
    [137, /more memory/, /memoryGb/],
    [139, /memory access/, /^confrouter build/],
    [7147, /platform/, /^confrouter up/]
  ])('says of one that keeps ending with %i what that means', async (exitCode, why, next) => {
    const problem = await startProblem(run, groupWith({}, { restartCount: 3, exitCode }))
    expect(problem).toMatchObject({ code: 'aci.restarting', exitCode: 5 })
    expect(problem?.why).toMatch(why)
    expect(problem?.next[0]).toMatch(next)
  })

  it('sends whoever meets another exit code to the log', async () => {
    const problem = await startProblem(run, groupWith({}, { restartCount: 2, exitCode: 1 }))
    expect(problem?.next[0]).toMatch(/^az container logs -g rg -n cr --container-name router/)
  })

  it('takes a denial before anything else, from the group as from the container', async () => {
    const denied =
      'Error: Failed to start container skr, container creation denied by policy: {"decision":"deny","reason":{"errors":["invalid command"]}}'
    const problem = await startProblem(
      run,
      groupWith({ events: [event('DeploymentFailedReason', denied)] }, { restartCount: 9 })
    )
    expect(problem?.problem).toBe('container "skr" was not started: the CCE policy denied it (invalid command)')
  })
})

describe('the smoke test of a group that says it runs', () => {
  const running = (restartCount: number, more: Partial<Container> = {}) =>
    groupWith({ state: 'Running', provisioningState: 'Succeeded' }, { state: 'Running', restartCount, ...more })

  it.each([0, 1])('passes %i restarts', async (count) => {
    expect(await checkRestarts(run, running(count))).toBe('no container was started again more than once')
  })

  it('passes a group that has pulled an image at the second attempt', async () => {
    const events = [event('Failed', 'Failed to pull image "x": timeout')]
    expect(await checkRestarts(run, running(1, { events }))).toMatch(/^no container/)
  })

  it.each([2, 7])('fails with %i restarts, whatever answers now, and says what ended it', async (count) => {
    await expect(checkRestarts(run, running(count, { exitCode: 137 }))).rejects.toMatchObject({
      fault: 'cloud',
      code: 'aci.restarting',
      detail: `container "router" keeps ending: it was restarted ${count} times`,
      more: { why: expect.stringContaining('more memory') }
    })
  })
})
