import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { UserError } from '../base/user-error.js'

export interface Prompter {
  readonly stdin: Readable
  /** Questions go where people look; stdout belongs to the result. */
  readonly stderr: Writable
  /** Whether somebody is there who can answer. */
  readonly interactive: boolean
}

export interface Confirmation {
  /** Ends in a question mark. */
  readonly question: string
  /** What there is to know before one answers, shown above the question. */
  readonly details?: string | undefined
  /** The flag that answers it, such as `--yes`. */
  readonly flag: string
}

export interface TextQuestion {
  readonly question: string
  /** The only text that is accepted, such as the name of what is to be deleted. */
  readonly expected?: string | undefined
  readonly flag: string
}

/**
 * Asks for yes or no. Everything but a clear yes is a no; only an answer that is neither is asked
 * for again.
 *
 * @throws {UserError} `input.needed` when nobody can answer, `interrupted` after Ctrl+C
 */
export async function confirm(prompter: Prompter, { question, details, flag }: Confirmation): Promise<boolean> {
  // Also where nobody can answer: what was refused should be seen.
  if (details !== undefined) prompter.stderr.write(`${details}\n`)
  requireSomebody(prompter, question, flag)
  for (;;) {
    const answer = (await ask(prompter, `${question} [y/N] `))?.trim().toLowerCase()
    if (answer === 'y' || answer === 'yes') return true
    if (answer === undefined || answer === '' || answer === 'n' || answer === 'no') return false
    prompter.stderr.write('please answer y or n\n')
  }
}

/**
 * Asks for a text.
 *
 * @throws {UserError} `input.needed` when nobody can answer, `user.declined` when the text is not
 *   the expected one or none is given, `interrupted` after Ctrl+C
 */
export async function askText(prompter: Prompter, { question, expected, flag }: TextQuestion): Promise<string> {
  requireSomebody(prompter, question, flag)
  const answer = (await ask(prompter, `${question} `))?.trim() ?? ''
  if (answer === '') throw new UserError('user', 'user.declined', 'no answer was given, nothing was done')
  if (expected !== undefined && answer !== expected) {
    throw new UserError('user', 'user.declined', `the answer is not ${JSON.stringify(expected)}, nothing was done`)
  }
  return answer
}

function requireSomebody({ interactive }: Prompter, question: string, flag: string): void {
  if (interactive) return
  throw new UserError('user', 'input.needed', `an answer is needed: ${question}`, {
    why: 'questions are asked only on a terminal, and neither with --no-input nor in CI.',
    next: [`${flag}   (answers it)`]
  })
}

/** One line, or undefined at the end of the input (Ctrl+D). */
async function ask({ stdin, stderr }: Prompter, prompt: string): Promise<string | undefined> {
  const lines = createInterface({ input: stdin, output: stderr, terminal: true })
  try {
    return await new Promise<string | undefined>((resolve, reject) => {
      // readline puts the terminal into raw mode, so Ctrl+C arrives here and not as a signal.
      lines.once('SIGINT', () => {
        stderr.write('\n')
        reject(new UserError('interrupted', 'interrupted', 'interrupted'))
      })
      lines.once('close', () => resolve(undefined))
      lines.question(prompt, resolve)
    })
  } finally {
    lines.close()
  }
}
