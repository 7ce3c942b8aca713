import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { Outputs, RunResults, Step, StepId } from '../steps/index.js'
import type { App, Execute, Session } from './app.js'
import { approvePlan, approveTrust } from './approval.js'
import { runBuildCheck } from './build-check.js'
import { otherForms, policyForm } from './policy-forms.js'
import { withStrategy } from './plan.js'
import { goingForward, refuseOpenRollback, upgradeIfNeeded } from './upgrade.js'
import { type ApprovalOptions, type SharedOptions, withApproval, withDeployment } from './options.js'

type Options = SharedOptions & ApprovalOptions

interface Verb {
  readonly name: string
  readonly description: string
  readonly example: string
  /** The steps it does; those before them are only looked at. */
  readonly steps: readonly StepId[]
  readonly result: (session: Session, results: RunResults) => { readonly human: string; readonly json: object }
}

const verbs: readonly Verb[] = [
  {
    name: 'build',
    description: 'build the router image and pin it by digest',
    example: 'confrouter build --local',
    steps: ['image'],
    result: (_session, results) => {
      const { reference, digest } = results.get('image')
      return { human: reference, json: { image: reference, imageDigest: digest } }
    }
  },
  {
    name: 'provision',
    description: 'resource group, attestation provider, key vault, identity, role assignments and signing key',
    example: 'confrouter provision --config confrouter.yaml',
    steps: ['resource-group', 'attestation', 'vault', 'identity', 'roles', 'signing-key'],
    result: (_session, results) => {
      const attestationEndpoint = results.get('attestation').attestUri
      const { vaultUri } = results.get('vault')
      const identity = results.get('identity').id
      return {
        human: table([
          ['attestation', attestationEndpoint],
          ['key vault', vaultUri],
          ['identity', identity]
        ]),
        json: { attestationEndpoint, vaultUri, identity }
      }
    }
  },
  {
    name: 'policy',
    description: 'fill the template, generate the CCE policy and print its host data',
    example: 'confrouter policy --local',
    steps: ['policy'],
    result: (_session, results) => {
      const policy = results.get('policy')
      return {
        human: table([
          ['host data', policy.hostData],
          ['policy', policy.files.policy],
          ['template', policy.files.template],
          ['release policy', policy.files.releasePolicy],
          ['trust policy', policy.files.trust],
          ['release', policy.files.release]
        ]),
        json: policyJson(policy)
      }
    }
  },
  {
    name: 'key',
    description: 'create or update the exportable key with the release policy',
    example: 'confrouter key --config confrouter.yaml',
    steps: ['key'],
    result: (_session, results) => ({
      human: results.get('key').id,
      json: { keyId: results.get('key').id, hostData: results.get('policy').hostData }
    })
  },
  {
    name: 'deploy',
    description: 'seal the secrets, deploy the container group and print its address',
    example: 'confrouter deploy --config confrouter.yaml',
    steps: ['deploy'],
    result: (_session, results) => ({
      human: [...new Set(groupsOf(results).flatMap(urlsOf))].join('\n'),
      json: { ...endpointsOf(results), endpoints: groupsOf(results), hostData: results.get('deploy').hostData }
    })
  }
]

/** One command for each step of the procedure, and `up` for all of them. */
export function deploymentCommands(execute: Execute, argv: readonly string[]): readonly Command[] {
  const steps = verbs.map((verb) => {
    if (verb.name === 'policy') return policyCommand(verb, execute, argv)
    return verb.name === 'build' ? buildCommand(verb, execute) : stepCommand(verb, execute)
  })
  return [...steps, smokeCommand(execute), upCommand(execute)]
}

function policyCommand(verb: Verb, execute: Execute, argv: readonly string[]): Command {
  const description = `${verb.description}\n\n${otherForms}`
  return policyForm(argv, execute) ?? stepCommand(verb, execute).summary(verb.description).description(description)
}

function buildCommand(verb: Verb, execute: Execute): Command {
  const build = stepAction(verb, execute)
  const check = execute<Options>(verb.name, runBuildCheck)
  return stepCommand(verb, execute)
    .addOption(new Option('--check', 'build again, keep nothing, and compare with what is recorded'))
    .action((options: Options & { readonly check?: boolean }) => (options.check === true ? check : build)(options))
}

function stepCommand(verb: Verb, execute: Execute): Command {
  const command = withApproval(withDeployment(new Command(verb.name).description(verb.description), verb.example))
  return command.action(stepAction(verb, execute))
}

function stepAction(verb: Verb, execute: Execute): (options: Options) => Promise<void> {
  return execute<Options>(verb.name, async (app, options) => {
    const session = await app.open(verb.name, options, 'write')
    try {
      const { refuseKeyInUse, requireFreeNames, requireProviderKeys, withNeeds } = await import('../steps/index.js')
      if (verb.name === 'deploy') {
        await requireFreeNames(session.run)
        await requireProviderKeys(session.run)
      }
      const steps = withNeeds(verb.steps)
      await approvePlan(app, session, options, steps)
      const observeOnly = new Set(steps.map(({ id }) => id).filter((id) => !verb.steps.includes(id)))
      const early =
        verb.name === 'key'
          ? await runWithProgress(app, session, verb.name, withNeeds(['policy', 'roles']), { observeOnly })
          : undefined
      if (early !== undefined) {
        await refuseKeyInUse(session.run, early)
        await approveTrust(app, session, early)
      }
      const results = await runWithProgress(app, session, verb.name, steps, { observeOnly, before: early })
      const { human, json } = verb.result(session, results)
      app.terminal.result({ human, json: document(verb.name, session, results, json) })
    } finally {
      await session.close()
    }
  })
}

function smokeCommand(execute: Execute): Command {
  const command = withDeployment(
    new Command('smoke').description('prove that the deployed router is the one of this source and answers'),
    'confrouter smoke --local'
  )
  return command.action(
    execute<Options>('smoke', async (app, options) => {
      const { SmokeError, withNeeds } = await import('../steps/index.js')
      const session = await app.open('smoke', options, 'read')
      try {
        requireAccessToken(session)
        const steps = withNeeds(['smoke'])
        const others = new Set(steps.map(({ id }) => id).filter((id) => id !== 'smoke'))
        const results = await runWithProgress(app, session, 'smoke', steps, {
          observeOnly: others,
          asTheyAre: new Set<StepId>(['key', 'deploy'])
        })
        const { checks } = results.get('smoke')
        app.terminal.result({
          human: checkTable(checks),
          json: { schemaVersion: 1, ok: true, command: 'smoke', checks }
        })
      } catch (error) {
        if (error instanceof SmokeError) app.terminal.info(checkTable(error.checks))
        throw error
      } finally {
        await session.close()
      }
    })
  )
}

function upCommand(execute: Execute): Command {
  const command = withStrategy(
    withApproval(
      withDeployment(
        new Command('up').description('do all steps, from source to a verified, answering router'),
        'confrouter up --local'
      )
    )
  )
    .addOption(new Option('--no-smoke', 'leave the smoke test out'))
    .addOption(new Option('--plan <file>', 'do exactly what `plan --out <file>` showed, or nothing if anything moved'))
  return command.action(
    execute<Options & { readonly smoke: boolean; readonly plan?: string }>('up', async (app, options) => {
      const session = await app.open('up', options, 'write')
      try {
        const { allSteps, requireFreeNames, requireProviderKeys, withNeeds } = await import('../steps/index.js')
        refuseOpenRollback(session)
        // What is missing or taken is said before anything is made.
        await requireFreeNames(session.run)
        await requireProviderKeys(session.run)
        if (options.smoke) requireAccessToken(session)
        const steps = options.smoke ? allSteps : allSteps.filter(({ id }) => id !== 'smoke')
        const approval = await approvePlan(app, session, options, steps)
        const early = await runWithProgress(app, session, 'up', withNeeds(['policy', 'roles']), {})
        for (const warning of await goingForward(session, early.get('policy').hostData)) app.terminal.warn(warning)
        await approveTrust(app, session, early, approval)
        const done = await upgradeIfNeeded(app, session, early)
        const before = done?.results ?? early
        // It goes on under the heading that is there, unless that of an upgrade stands between.
        const results = await runWithProgress(app, session, done === undefined ? undefined : 'up', steps, { before })
        app.terminal.result({
          human: upSummary(session, results),
          json: document('up', session, results, {
            ...upJson(results),
            ...approval,
            ...(done === undefined ? {} : { upgrade: done.upgrade })
          })
        })
      } finally {
        await session.close()
      }
    })
  )
}

/** The smoke test calls as a caller does, and in this mode a caller shows a token. */
function requireAccessToken({ run }: Session): void {
  if (run.config.access.mode !== 'token' || run.accessToken !== undefined) return
  throw new UserError(
    'config',
    'access.token-missing',
    'access.mode is token, and CONFROUTER_ACCESS_TOKEN is not set',
    {
      why: 'the smoke test needs a token whose SHA-256 is in access.tokensSha256',
      next: ['put CONFROUTER_ACCESS_TOKEN into the environment or .env']
    }
  )
}

export async function runWithProgress(
  app: App,
  session: Session,
  title: string | undefined,
  steps: readonly Step[],
  options: {
    readonly observeOnly?: ReadonlySet<StepId>
    readonly asTheyAre?: ReadonlySet<StepId>
    readonly before?: RunResults | undefined
  }
): Promise<RunResults> {
  const { runSteps } = await import('../steps/index.js')
  const progress = app.terminal.progress(
    title === undefined ? undefined : `confrouter ${title}`,
    steps.filter(({ id }) => options.before?.has(id) !== true).map((step) => ({ id: step.id, title: step.title }))
  )
  try {
    return await runSteps(session.run, steps, { ...options, progress })
  } finally {
    progress.close()
  }
}

function document(command: string, session: Session, results: RunResults, more: object): object {
  return {
    schemaVersion: 1,
    ok: true,
    command,
    cloud: session.run.config.cloud,
    simulated: session.run.simulated,
    ...more,
    steps: results.reports,
    changed: results.reports.some(({ action }) => action !== 'none')
  }
}

function policyJson(policy: Outputs['policy']): object {
  return {
    hostData: policy.hostData,
    engine: policy.engine,
    policyFile: policy.files.policy,
    templateFile: policy.files.template,
    skrPolicyFile: policy.files.releasePolicy,
    trustFile: policy.files.trust,
    releaseFile: policy.files.release,
    layers: policy.layers,
    warnings: policy.warnings
  }
}

function upJson(results: RunResults): object {
  return {
    ...endpointsOf(results),
    endpoints: groupsOf(results),
    hostData: results.get('policy').hostData,
    image: results.get('image').reference,
    imageDigest: results.get('image').digest,
    attestationEndpoint: results.get('attestation').attestUri,
    vaultUri: results.get('vault').vaultUri,
    keyId: results.get('key').id
  }
}

function endpointsOf(results: RunResults): { readonly endpoint: string; readonly tlsEndpoint?: string } {
  const { endpoint, tlsEndpoint } = results.get('deploy')
  return { endpoint, ...(tlsEndpoint === undefined ? {} : { tlsEndpoint }) }
}

/** Every group that serves, the first one first. */
function groupsOf(results: RunResults): readonly Endpoint[] {
  const first = results.get('deploy')
  return [first, ...(first.replicas ?? [])].map(({ group, region, endpoint, tlsEndpoint }) => ({
    group,
    region,
    endpoint,
    ...(tlsEndpoint === undefined ? {} : { tlsEndpoint })
  }))
}

interface Endpoint {
  readonly group: string
  readonly region: string
  readonly endpoint: string
  readonly tlsEndpoint?: string
}

function urlsOf({ endpoint, tlsEndpoint }: Endpoint): readonly string[] {
  return tlsEndpoint === undefined ? [endpoint] : [endpoint, tlsEndpoint]
}

function upSummary(session: Session, results: RunResults): string {
  const { endpoint, tlsEndpoint } = endpointsOf(results)
  const model = session.run.config.smoke.model
  return [
    table([
      ['endpoint', endpoint],
      ...(tlsEndpoint === undefined || tlsEndpoint === endpoint ? [] : [['endpoint, TLS', tlsEndpoint] as const]),
      ...groupsOf(results)
        .slice(1)
        .map((replica) => [replica.group, urlsOf(replica).join(' ')] as const),
      ['host data', results.get('policy').hostData],
      ['image', results.get('image').reference],
      ['key', results.get('key').id],
      ['trust policy', results.get('policy').files.trust]
    ]),
    ...(session.run.simulated ? ['', 'simulated: no hardware protection (Azure on loopback)'] : []),
    ...(model === undefined
      ? []
      : [
          '',
          'try it:',
          `  curl -N ${curlOptions(endpoint, results)}${endpoint}/v1/chat/completions -H 'content-type: application/json' \\`,
          `    -d '{"model":"${model}","stream":true,"messages":[{"role":"user","content":"hello there"}]}'`
        ])
  ].join('\n')
}

/** No authority signs the router's certificate: curl is told the key that the smoke test found in the evidence. */
function curlOptions(endpoint: string, results: RunResults): string {
  const tlsKey = results.has('smoke') ? results.get('smoke').tlsKey : undefined
  if (!endpoint.startsWith('https:') || tlsKey === undefined) return ''
  return `-k --pinnedpubkey sha256//${Buffer.from(tlsKey, 'hex').toString('base64')} `
}

function checkTable(checks: Outputs['smoke']['checks']): string {
  return table(checks.map(({ id, outcome, detail }) => [`${outcome.padEnd(7)} ${id}`, detail]))
}

export function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  return rows.map(([name, value]) => `${name.padEnd(width)}${value}`).join('\n')
}
