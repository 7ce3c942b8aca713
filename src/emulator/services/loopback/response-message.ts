/** The one message of a response's output. */
export interface Message {
  readonly id: string
  readonly text: string
}

export function outputMessage({ id, text }: Message, status: 'in_progress' | 'completed'): object {
  const content = status === 'completed' ? [outputText(text)] : []
  return { id, type: 'message', status, role: 'assistant', content }
}

export function outputText(text: string): object {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}
