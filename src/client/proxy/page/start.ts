import type { ProxyStatus } from '../status.js'
import { callRows } from './calls-view.js'
import { drawChain } from './chain-view.js'
import { startChat } from './chat.js'
import { checkRows } from './checks-view.js'
import { byId } from './elements.js'
import { showVerdict } from './verdict-view.js'

/** Shows the status again and again, and what the buttons do. */
export function startPage(): void {
  const everyMs = 2000
  const shown = new Map<string, string>()
  const onlyWrong = byId<HTMLInputElement>('only-wrong')
  let status: ProxyStatus | undefined

  byId('verify').addEventListener('click', () => void verify())
  byId('copy').addEventListener('click', () => void copyBaseUrl())
  onlyWrong.addEventListener('change', show)
  startChat(() => void refresh())
  void refresh()
  setInterval(() => {
    if (!document.hidden) void refresh()
  }, everyMs)
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void refresh()
  })

  async function refresh(): Promise<void> {
    await take(fetch('/status.json', { cache: 'no-store' }))
  }

  async function verify(): Promise<void> {
    const button = byId<HTMLButtonElement>('verify')
    button.disabled = true
    button.textContent = 'Verifying…'
    await take(fetch('/verify', { method: 'POST' }))
  }

  async function take(answer: Promise<Response>): Promise<void> {
    try {
      status = (await (await answer).json()) as ProxyStatus
      byId('lost').hidden = true
      show()
    } catch {
      byId('lost').hidden = false
    }
  }

  function show(): void {
    if (status === undefined) return
    const { chain, checks, calls, verifiedAt, state } = status
    const simulated = status.simulated && verifiedAt !== null
    showVerdict(status)
    // A table that is drawn anew loses what is selected in it.
    whenChanged('chain', [chain, state, simulated], () => {
      byId('chain').replaceChildren(...drawChain(chain, state, simulated))
    })
    whenChanged('checks', [checks, onlyWrong.checked], () => {
      byId('checks').replaceChildren(...checkRows(checks, onlyWrong.checked))
    })
    whenChanged('calls', calls, () => byId('calls').replaceChildren(...callRows(calls)))
  }

  function whenChanged(name: string, value: unknown, draw: () => void): void {
    const text = JSON.stringify(value)
    if (shown.get(name) === text) return
    shown.set(name, text)
    draw()
  }

  async function copyBaseUrl(): Promise<void> {
    const button = byId('copy')
    try {
      await navigator.clipboard.writeText(byId('base-url').textContent ?? '')
      button.textContent = 'Copied'
    } catch {
      // A browser may forbid it; the text can be selected.
      button.textContent = 'Select it'
    }
    setTimeout(() => (button.textContent = 'Copy'), 1500)
  }
}
