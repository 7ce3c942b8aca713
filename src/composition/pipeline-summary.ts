import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Where the Markdown summary of a command goes: the pipeline's own place for it, and the file that
 * CONFROUTER_SUMMARY names. Gives the path that Azure Pipelines has to be told of. What cannot be written is
 * no failure of the command: `warn` says it.
 */
export function writeSummary(
  environment: Environment,
  markdown: string,
  warn: (text: string) => void
): string | undefined {
  const write = (act: () => void, file: string) => {
    try {
      act()
    } catch (error) {
      warn(`the summary could not be written to ${file}: ${error instanceof Error ? error.message : 'unknown'}`)
    }
  }
  const own = environment['CONFROUTER_SUMMARY'] ?? ''
  if (own !== '') write(() => writeFileSync(own, markdown), own)
  const gitHub = environment['GITHUB_STEP_SUMMARY'] ?? ''
  if (environment['GITHUB_ACTIONS'] === 'true' && gitHub !== '') write(() => appendFileSync(gitHub, markdown), gitHub)
  const folder = environment['AGENT_TEMPDIRECTORY'] ?? ''
  if (environment['TF_BUILD'] !== 'True' || folder === '') return undefined
  const file = join(folder, `confrouter-${process.pid}.md`)
  write(() => writeFileSync(file, markdown), file)
  return file
}
