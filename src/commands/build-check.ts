import type { BuildCheck } from '../steps/index.js'
import type { App } from './app.js'
import type { ApprovalOptions, SharedOptions } from './options.js'

/**
 * `build --check`: makes the image again and compares it with the one that is recorded. Differences are the
 * result and no error, with the exit code 10; nothing is written, pushed or recorded.
 */
export async function runBuildCheck(app: App, options: SharedOptions & ApprovalOptions): Promise<void> {
  const session = await app.open('build', options, 'read')
  try {
    const { checkBuild } = await import('../steps/index.js')
    const check = await withProgress(app, (note) => checkBuild(session.run, note))
    for (const warning of check.warnings) app.terminal.warn(warning)
    const isSame = check.comparisons.every(({ same }) => same)
    app.terminal.result({ human: humanReport(check, app), json: documentOf(check, isSame) })
    if (!isSame) app.exitWith(10)
  } finally {
    await session.close()
  }
}

async function withProgress<T>(app: App, work: (note: (text: string) => void) => Promise<T>): Promise<T> {
  const progress = app.terminal.progress('confrouter build --check', [{ id: 'check', title: 'build again' }])
  try {
    progress.start('check')
    const result = await work((text) => progress.note('check', text))
    progress.done('check', 'compared')
    return result
  } catch (error) {
    progress.fail('check', error instanceof Error ? error.message : 'failed')
    throw error
  } finally {
    progress.close()
  }
}

/** What is the same in one line each; what differs with both sides. */
function humanReport({ recorded, comparisons }: BuildCheck, app: App): string {
  const { green, red, dim, bold, symbols } = app.terminal.styles.stdout
  const wrong = comparisons.filter(({ same }) => !same)
  return [
    ...comparisons.flatMap(({ what, expected, actual, same }) =>
      same
        ? [`${green(symbols.done)} ${what}  ${dim(expected)}`]
        : [`${red(symbols.failed)} ${what}`, `    recorded  ${expected}`, `    built     ${actual}`]
    ),
    '',
    wrong.length === 0
      ? `${green(bold('the same'))}: ${recorded}`
      : `${red(bold('different'))}: ${recorded} is not what this source gives (${wrong.map(({ what }) => what).join(', ')})`
  ].join('\n')
}

function documentOf({ recorded, digest, comparisons, warnings }: BuildCheck, isSame: boolean): object {
  return {
    schemaVersion: 1,
    ok: true,
    command: 'build',
    check: { same: isSame, recorded, digest: digest ?? null, comparisons, warnings }
  }
}
