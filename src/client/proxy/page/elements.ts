/**
 * Everything in this folder beside `page.ts`, `markup.ts` and `style.ts` runs in the browser: `page.ts` puts the text of these
 * functions together. They may use each other and the browser, and nothing of a module's own scope.
 */

/** An element of the page, which is there. */
export function byId<E extends HTMLElement>(id: string): E {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no ${id}`)
  return element as E
}

/** Sets the text of an element, if it is another: else what is read aloud would be read again. */
export function write(id: string, text: string): void {
  const element = byId(id)
  if (element.textContent !== text) element.textContent = text
}

/** A new element. Texts become text nodes, never markup: most of them come from elsewhere. */
export function make(
  tag: string,
  attributes: Readonly<Record<string, string>>,
  ...children: readonly (Node | string)[]
): HTMLElement {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/** A sign of the page's sheet of signs. The words beside it say the same. */
export function sign(name: string): SVGElement {
  const space = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(space, 'svg')
  svg.setAttribute('class', `sign ${name}`)
  svg.setAttribute('aria-hidden', 'true')
  const use = document.createElementNS(space, 'use')
  use.setAttribute('href', `#sign-${name}`)
  svg.append(use)
  return svg
}

export function outcomeWord(outcome: string): string {
  switch (outcome) {
    case 'match':
      return 'matches'
    case 'mismatch':
      return 'differs'
    case 'not-required':
      return 'not required'
    default:
      return 'not checked'
  }
}

/** Time since then, in words. */
export function ago(iso: string): string {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(iso)) / 1000))
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  return `${Math.floor(seconds / 3600)} h ago`
}

export function clock(iso: string): string {
  return new Date(iso).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
