import { Argument, Command } from 'commander'
import type { Execute } from './app.js'
import { helpEnd, withOutput } from './options.js'

const shells = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof shells)[number]

/** One verb with what may follow it. */
interface Words {
  /** `secrets set`, without the program's name; empty for the program itself. */
  readonly path: string
  readonly words: readonly string[]
}

/** `program` is asked when the script is printed, so that it has every verb and flag of this version. */
export function completionCommand(execute: Execute, program: Command): Command {
  const command = withOutput(new Command('completion').description('print a script that completes verbs and flags'))
    .addArgument(new Argument('<shell>', 'of which the script is').choices(shells))
    .addHelpText('after', helpEnd('source <(confrouter completion bash)'))
  return command.action((shell: Shell, options: { readonly json?: boolean }) =>
    execute<{ readonly json?: boolean }>('completion', (app) => {
      const script = scripts[shell](wordsOf(program, ''))
      app.terminal.result({ human: script, json: { schemaVersion: 1, ok: true, command: 'completion', shell, script } })
      return Promise.resolve()
    })(options)
  )
}

function wordsOf(command: Command, path: string): readonly Words[] {
  const flags = command.options.flatMap(({ long, short }) => [long, short]).filter((flag) => typeof flag === 'string')
  const verbs = command.commands.map((verb) => verb.name())
  const below = command.commands.flatMap((verb) => wordsOf(verb, `${path} ${verb.name()}`.trim()))
  return [{ path, words: [...verbs, ...flags, '--help'] }, ...below]
}

/** Names and flags are ours, letters and hyphens: nothing in them has to be quoted. */
const scripts: Readonly<Record<Shell, (all: readonly Words[]) => string>> = {
  bash: (all) =>
    [
      '# confrouter completion bash',
      '_confrouter() {',
      '  local path="" word words',
      '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
      '    case "$word" in -*) ;; *) path="${path:+$path }$word" ;; esac',
      '  done',
      '  case "$path" in',
      ...all.map(({ path, words }) => `    "${path}") words="${words.join(' ')}" ;;`),
      '    *) words="" ;;',
      '  esac',
      '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
      '  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))',
      '}',
      'complete -F _confrouter confrouter'
    ].join('\n'),
  zsh: (all) =>
    [
      '#compdef confrouter',
      '# confrouter completion zsh',
      '_confrouter() {',
      '  local path_so_far="" word',
      '  local -a found',
      '  for word in "${words[@]:1:$((CURRENT - 2))}"; do',
      '    case "$word" in -*) ;; *) path_so_far="${path_so_far:+$path_so_far }$word" ;; esac',
      '  done',
      '  case "$path_so_far" in',
      ...all.map(({ path, words }) => `    "${path}") found=(${words.join(' ')}) ;;`),
      '  esac',
      '  compadd -- $found || _files',
      '}',
      'compdef _confrouter confrouter'
    ].join('\n'),
  fish: (all) =>
    [
      '# confrouter completion fish',
      ...all.flatMap(({ path, words }) => {
        const seen = path.split(' ').filter(Boolean)
        const condition =
          seen.length === 0
            ? '__fish_use_subcommand'
            : seen.map((verb) => `__fish_seen_subcommand_from ${verb}`).join('; and ')
        return words.map((word) =>
          word.startsWith('--')
            ? `complete -c confrouter -n '${condition}' -l ${word.slice(2)}`
            : word.startsWith('-')
              ? `complete -c confrouter -n '${condition}' -s ${word.slice(1)}`
              : `complete -c confrouter -n '${condition}' -a ${word}`
        )
      })
    ].join('\n')
}
