import { readFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { SecretsList, StepId } from '../steps/index.js'
import type { App, Execute, Session } from './app.js'
import { runWithProgress, table } from './deployment.js'
import { helpEnd, type SharedOptions, withDeployment } from './options.js'

interface SetOptions extends SharedOptions {
  readonly fromFile?: string
  readonly fromEnv?: string
}

/** Provider keys, sealed to the router's key and signed by the vault's; their values are never shown. */
export function secretsCommand(execute: Execute): Command {
  return new Command('secrets')
    .description('set, list and rotate provider keys, sealed to the router’s key')
    .addCommand(setCommand(execute))
    .addCommand(listCommand(execute))
    .addCommand(rotateCommand(execute))
    .addHelpText('after', helpEnd('confrouter secrets list --local'))
}

function setCommand(execute: Execute): Command {
  const command = new Command('set')
    .description('seal one provider key and sign the bundle; nothing is deployed yet')
    .argument('<name>', 'provider, as in the configuration')
    .addOption(new Option('--from-file <file>', 'file that holds the value; - is stdin').conflicts('fromEnv'))
    .addOption(new Option('--from-env <variable>', 'variable of the environment or of .env that holds the value'))
  return withDeployment(command, 'confrouter secrets set openai < openai.key').action(
    (name: string, options: SetOptions) =>
      execute<SetOptions>('secrets set', async (app) => {
        const session = await app.open('secrets set', options, 'write')
        try {
          const { requireSecretNames } = await import('../steps/index.js')
          requireSecretNames(session.run, [name])
          const value = await readValue(app, session, options)
          const results = await lookAt(app, session, 'secrets set', ['signing-key'])
          const { setSecrets } = await import('../steps/index.js')
          const version = await setSecrets(session.run, results, { [name]: value }, (text) => app.terminal.info(text))
          app.terminal.result({
            human: `sealed ${name}, version ${version}\nnext: confrouter deploy${session.run.simulated ? ' --local' : ''}`,
            json: { schemaVersion: 1, ok: true, command: 'secrets set', name, version, changed: true }
          })
        } finally {
          await session.close()
        }
      })(options)
  )
}

function listCommand(execute: Execute): Command {
  const command = new Command('list').description('names and versions of the sealed provider keys')
  return withDeployment(command, 'confrouter secrets list').action(
    execute<SharedOptions>('secrets list', async (app, options) => {
      const session = await app.open('secrets list', options, 'read')
      try {
        const { listSecrets, surveySteps, withNeeds } = await import('../steps/index.js')
        const { results } = await surveySteps(session.run, withNeeds(['signing-key']))
        const list = await listSecrets(session.run, results)
        app.terminal.result({ human: listing(list), json: listDocument(list) })
      } finally {
        await session.close()
      }
    })
  )
}

function rotateCommand(execute: Execute): Command {
  const command = new Command('rotate')
    .description('seal provider keys again from their sources and deploy them; changes no digest')
    .argument('[names...]', 'providers; without any, all that were not set by `secrets set`')
    .addOption(new Option('-y, --yes', 'answer yes to the restart of the containers'))
  return withDeployment(command, 'confrouter secrets rotate openai').action(
    (names: readonly string[], options: SharedOptions) =>
      execute<SharedOptions>('secrets rotate', async (app) => {
        const session = await app.open('secrets rotate', options, 'write')
        try {
          const { requireSecretNames, rotateSecrets, withNeeds } = await import('../steps/index.js')
          requireSecretNames(session.run, names)
          const before = await lookAt(app, session, 'secrets rotate', ['key', 'signing-key', 'identity', 'roles'])
          await approveRestart(app, session, options)
          const version = await rotateSecrets(session.run, before, names, (text) => app.terminal.info(text))
          const steps = withNeeds(['deploy'])
          const results = await runWithProgress(app, session, 'secrets rotate', steps, { before })
          const { hostData } = results.get('deploy')
          app.terminal.result({
            human: table([
              ['version', String(version)],
              ['host data', `${hostData} (unchanged)`]
            ]),
            json: {
              schemaVersion: 1,
              ok: true,
              command: 'secrets rotate',
              version,
              hostData,
              steps: results.reports,
              changed: true
            }
          })
        } finally {
          await session.close()
        }
      })(options)
  )
}

/** Steps with what they need, looked at and not done: what is not up to date is for `up`. */
async function lookAt(app: App, session: Session, title: string, ids: readonly StepId[]) {
  const { withNeeds } = await import('../steps/index.js')
  const steps = withNeeds(ids)
  return runWithProgress(app, session, title, steps, { observeOnly: new Set(steps.map(({ id }) => id)) })
}

async function readValue(app: App, session: Session, { fromFile, fromEnv }: SetOptions): Promise<string> {
  const text =
    fromEnv !== undefined
      ? session.variable(fromEnv)
      : fromFile === undefined || fromFile === '-'
        ? await app.readStdin()
        : await readFile(fromFile, 'utf8').catch((error: unknown) => unreadable(fromFile, error))
  // An editor ends a file with a line end, and no key has one.
  const value = text?.trim() ?? ''
  if (value !== '') return value
  const source = fromEnv === undefined ? (fromFile ?? 'stdin') : `variable ${fromEnv}`
  throw new UserError('config', 'secrets.no-value', `there is no value in ${source}`, {
    next: ['give --from-file FILE or --from-env VARIABLE, or pipe the value into stdin']
  })
}

function unreadable(file: string, cause: unknown): never {
  throw new UserError('config', 'secrets.no-value', `${file} cannot be read`, {
    next: ['give --from-file FILE or --from-env VARIABLE, or pipe the value into stdin'],
    cause
  })
}

async function approveRestart(app: App, session: Session, { yes }: Pick<SharedOptions, 'yes'>): Promise<void> {
  if (!session.asks || yes === true) return
  const { name } = session.run.config.containerGroup
  const question = `Seal provider keys again and restart the containers of "${name}"?`
  if (await app.terminal.confirm({ question, details: '', flag: '--yes' })) return
  throw new UserError('user', 'user.declined', 'declined: nothing was changed')
}

function listing({ version, deployedVersion, secrets }: SecretsList): string {
  const rows = secrets.map(
    ({ name, version: own, source, isNeeded }) =>
      [name, `${own === undefined ? 'missing' : `version ${own}`}, ${isNeeded ? source : 'not needed'}`] as const
  )
  return table([...rows, ['bundle', versionText(version)], ['deployed', versionText(deployedVersion)]])
}

const versionText = (version: number | undefined): string => (version === undefined ? 'none' : `version ${version}`)

function listDocument({ version, deployedVersion, secrets }: SecretsList): object {
  return {
    schemaVersion: 1,
    ok: true,
    command: 'secrets list',
    version: version ?? null,
    deployedVersion: deployedVersion ?? null,
    secrets: secrets.map(({ name, version: own, source, isNeeded }) => ({
      name,
      version: own ?? null,
      source,
      needed: isNeeded
    }))
  }
}
