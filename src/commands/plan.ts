import { readFile, writeFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import { parsePlanFile } from '../plan/parse-plan.js'
import { encodePlanFile, type Plan, planDifferences, planHash } from '../plan/plan.js'
import { renderPlan } from '../plan/render-plan.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { goingForward } from './upgrade.js'

interface PlanOptions extends SharedOptions {
  readonly exitCode?: boolean
  readonly out?: string
}

const differences = 10

export function planCommand(execute: Execute): Command {
  const command = withStrategy(
    withDeployment(
      new Command('plan').description('show what `up` would change and what would be trusted; change nothing'),
      'confrouter plan --exit-code'
    )
  )
    .addOption(new Option('--exit-code', 'exit with 10 if there are changes'))
    .addOption(new Option('--out <file>', 'write the plan, for `up --plan <file>`'))
  return command.action(
    execute<PlanOptions>('plan', async (app, options) => {
      const { allSteps, makePlan } = await import('../steps/index.js')
      const session = await app.open('plan', options, 'preview')
      try {
        const plan = await makePlan(session.run, allSteps)
        if (options.out !== undefined) await writePlan(options.out, plan)
        const hasChanges = plan.changes.length > 0
        const warnings = await goingForward(session, wantedHostData(plan))
        if (hasChanges && options.exitCode === true) app.exitWith(differences)
        app.terminal.result({
          human: [
            ...warnings,
            hasChanges ? renderPlan(plan, titlesOf(allSteps)) : 'nothing to change',
            ...(session.run.simulated ? ['simulated: no hardware protection (Azure on loopback)'] : []),
            `next: ${nextCommand(options, hasChanges)}`
          ].join('\n'),
          json: {
            schemaVersion: 1,
            ok: true,
            command: 'plan',
            cloud: plan.deployment.cloud,
            simulated: session.run.simulated,
            strategy: plan.strategy,
            changes: plan.changes,
            unchanged: plan.unchanged,
            trustChanges: plan.trustChanges,
            planSha256: planHash(plan),
            ...(warnings.length === 0 ? {} : { warnings }),
            ...(options.out === undefined ? {} : { planFile: options.out })
          }
        })
      } finally {
        await session.close()
      }
    })
  )
}

/** How a running group gives way; the flag stands above the configuration. */
export function withStrategy(command: Command): Command {
  return command.addOption(
    new Option('--strategy <name>', 'how a running group gives way to one with other host data').choices([
      'blue-green',
      'replace'
    ])
  )
}

/** The host data that a plan goes to; undefined if they stay as they are. */
export function wantedHostData({ trustChanges }: Plan): string | undefined {
  return trustChanges.find(({ what }) => what === 'host data')?.to
}

export function titlesOf(
  steps: readonly { readonly id: string; readonly title: string }[]
): ReadonlyMap<string, string> {
  return new Map(steps.map(({ id, title }) => [id, title]))
}

/** Reads a plan that is to be carried out. Throws `usage.file-unreadable` or `plan.invalid`. */
export async function readPlan(file: string): Promise<Plan> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new UserError('usage', 'usage.file-unreadable', `${file} cannot be read`, {
      why: error instanceof Error ? error.message : undefined,
      next: [`confrouter plan --out ${file}`],
      cause: error
    })
  }
  return parsePlanFile(text, file)
}

/**
 * An approval holds for exactly the plan that was approved. Throws `plan.moved` with what is another thing by
 * now, before anything is changed.
 */
export function requireSamePlan(approved: Plan, now: Plan, again: string): void {
  if (planHash(approved) === planHash(now)) return
  const differences = planDifferences(approved, now)
  throw new UserError('user', 'plan.moved', 'what was approved is not what would be done now; nothing was changed', {
    why: someOf(differences) || 'the plans differ',
    next: [again],
    report: { approvedSha256: planHash(approved), planSha256: planHash(now), differences }
  })
}

const shownDifferences = 5
const shownCharacters = 160

/** The first few, one a line; all of them, and whole, are in the JSON. */
function someOf(lines: readonly string[]): string {
  const cut = (text: string) => (text.length > shownCharacters ? `${text.slice(0, shownCharacters - 1)}…` : text)
  const more = lines.length - shownDifferences
  return [...lines.slice(0, shownDifferences).map(cut), ...(more > 0 ? [`and ${more} more, see --json`] : [])].join(
    '\n'
  )
}

async function writePlan(file: string, plan: Plan): Promise<void> {
  try {
    await writeFile(file, encodePlanFile(plan))
  } catch (error) {
    throw new UserError('machine', 'plan.not-saved', `the plan cannot be written to ${file}`, {
      why: error instanceof Error ? error.message : undefined,
      next: ['name another file with --out'],
      cause: error
    })
  }
}

function nextCommand({ out, local }: PlanOptions, hasChanges: boolean): string {
  const flag = local === true ? ' --local' : ''
  if (!hasChanges) return `confrouter status${flag}`
  return out === undefined ? `confrouter up${flag}` : `confrouter up${flag} --plan ${out}`
}
