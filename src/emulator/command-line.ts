import { basename, dirname } from 'node:path'

/**
 * Commands that act on the emulator of a directory, for a person to paste. Empty for a directory that
 * is not the `emulator` folder of a state directory: the command line does not reach it.
 */
export function commandsFor(directory: string, ...verbs: readonly string[]): string[] {
  if (basename(directory) !== 'emulator') return []
  return verbs.map((verb) => `confrouter emulator ${verb} --state-dir ${quoted(dirname(directory))}`)
}

/** For a POSIX shell. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
