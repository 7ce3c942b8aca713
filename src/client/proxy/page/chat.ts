import { byId, make } from './elements.js'

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: string
}

/** A small chat over this proxy. Key and messages are in this page's memory and nowhere else. */
export function startChat(onCall: () => void): void {
  const form = byId<HTMLFormElement>('chat')
  const text = byId<HTMLTextAreaElement>('chat-text')
  const button = byId<HTMLButtonElement>('chat-send')
  const log = byId('chat-log')
  let turns: Turn[] = []
  let running: AbortController | undefined

  form.addEventListener('submit', (event) => {
    event.preventDefault()
    if (running !== undefined) running.abort()
    else if (text.value.trim() !== '') void send(text.value)
  })
  text.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    if (running === undefined) form.requestSubmit()
  })
  byId('chat-clear').addEventListener('click', () => {
    running?.abort()
    turns = []
    log.replaceChildren()
    text.focus()
  })
  byId('models').addEventListener('click', () => void listModels(onCall))

  async function send(content: string): Promise<void> {
    running = new AbortController()
    button.textContent = 'Stop'
    text.value = ''
    turns.push({ role: 'user', content })
    addTurn('user', content)
    const answer = addTurn('assistant', '')
    let all = ''
    try {
      for await (const piece of answerPieces(turns, running.signal)) {
        all += piece
        answer.textContent = all
        log.scrollTop = log.scrollHeight
      }
      turns.push({ role: 'assistant', content: all })
    } catch (error) {
      // A question without an answer would only confuse the next one.
      turns.pop()
      const words = running.signal.aborted ? 'Stopped.' : chatProblem(error)
      log.append(make('p', { class: 'turn problem', role: 'alert' }, words))
      if (all === '') answer.remove()
    } finally {
      running = undefined
      button.textContent = 'Send'
      log.scrollTop = log.scrollHeight
      onCall()
    }
  }

  function addTurn(role: Turn['role'], content: string): HTMLElement {
    const turn = make('p', { class: `turn ${role}` }, content)
    log.append(turn)
    log.scrollTop = log.scrollHeight
    return turn
  }
}

export function chatProblem(error: unknown): string {
  if (error instanceof TypeError) return 'The connection broke before the answer was whole.'
  return error instanceof Error ? error.message : String(error)
}

export function chatHeaders(): Record<string, string> {
  const key = byId<HTMLInputElement>('chat-key').value.trim()
  return key === '' ? {} : { authorization: `Bearer ${key}` }
}

/** The pieces of one answer as they come. Throws for an error of the proxy, the router or the provider. */
export async function* answerPieces(messages: readonly Turn[], signal: AbortSignal): AsyncGenerator<string> {
  const response = await fetch('/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...chatHeaders() },
    body: JSON.stringify({ model: byId<HTMLInputElement>('chat-model').value.trim(), stream: true, messages }),
    signal
  })
  if (!response.ok || response.body === null) throw new Error(await errorWords(response))
  let rest = ''
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const lines = (rest + value).split(/\r?\n/)
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data:')) continue
      const data = line.slice(5).trim()
      if (data === '[DONE]') return
      yield pieceOf(data)
    }
  }
}

export function pieceOf(data: string): string {
  const event = JSON.parse(data) as {
    readonly error?: { readonly message?: string }
    readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[]
  }
  if (event.error !== undefined) throw new Error(event.error.message ?? 'the provider reported an error')
  return event.choices?.[0]?.delta?.content ?? ''
}

export async function errorWords(response: Response): Promise<string> {
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { readonly error: { readonly message: string; readonly code?: string } }
    return `${response.status}${error.code ? ` ${error.code}` : ''}: ${error.message}`
  } catch {
    return `${response.status}: ${text.slice(0, 300)}`
  }
}

/** Fills the suggestions for the model; asks only when told to. */
export async function listModels(onCall: () => void): Promise<void> {
  const note = byId('models-note')
  try {
    const response = await fetch('/v1/models', { headers: chatHeaders() })
    if (!response.ok) throw new Error(await errorWords(response))
    const { data } = (await response.json()) as { readonly data: readonly { readonly id: string }[] }
    byId('model-names').replaceChildren(...data.map(({ id }) => make('option', { value: id })))
    note.textContent = data.length === 1 ? '1 model' : `${data.length} models; type to choose`
    const model = byId<HTMLInputElement>('chat-model')
    if (model.value === '' && data[0] !== undefined) model.value = data[0].id
  } catch (error) {
    note.textContent = chatProblem(error)
  }
  onCall()
}
