import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

/**
 * Questions as programs of a pipeline ask them: answered by lines of stdin, whether typed or piped. The exception to
 * questions on stderr is for `policy` in the form of acipolicygen, whose stdout has its questions and is repeated to
 * the byte.
 */
export interface LineDialogue {
  /** Writes the text without a line break and returns the next line of stdin, or undefined at its end. */
  ask(this: void, text: string): Promise<string | undefined>
  /** Leaves stdin alone again; whoever asked must call it, or an open stdin keeps the process alive. */
  close(this: void): void
}

export interface LineDialogueOptions {
  readonly stdin: Readable
  /** Where the questions go. */
  readonly output: Writable
  /** Ends the waiting for an answer. */
  readonly signal: AbortSignal
}

/** Nothing is read before the first question. One reader serves all, since it may have read the answers of later ones. */
export function openLineDialogue({ stdin, output, signal }: LineDialogueOptions): LineDialogue {
  let reader: ReturnType<typeof createInterface> | undefined
  let lines: AsyncIterator<string> | undefined
  return {
    async ask(text) {
      output.write(text)
      reader ??= createInterface({ input: stdin, terminal: false, signal })
      lines ??= reader[Symbol.asyncIterator]()
      const line = await lines.next()
      return line.done === true ? undefined : line.value
    },
    close: () => reader?.close()
  }
}
