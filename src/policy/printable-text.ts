/** Control characters, marks that reverse the direction of reading, line ends of Unicode, and what has no sign at all. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u

/**
 * A text of a policy, made fit to stand in a sentence on one line: as it is where every character of it has a sign of
 * its own, and as JSON otherwise. A policy is untrusted, and what moves the cursor could erase what is said of it.
 */
export function onOneLine(text: string): string {
  return unprintable.test(text) ? quotedText(text) : text
}

/** A text in quotes, as JSON writes it, with an escape for each character that has no sign. */
export function quotedText(text: string): string {
  return JSON.stringify(text).replace(new RegExp(unprintable, 'gu'), (character) =>
    Array.from({ length: character.length }, (_, index) => escapeOf(character.charCodeAt(index))).join('')
  )
}

function escapeOf(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`
}
