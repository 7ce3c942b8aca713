/** JSON as a value, and the one text form in which values are compared and hashed. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * JSON with keys sorted by UTF-16 code unit and no white space. Two values that are equal as JSON
 * have one canonical text. Members that are `undefined` are left out, as `JSON.stringify` does. Throws a
 * `TypeError` for what has no JSON text: numbers that are not finite, `undefined` itself, functions, symbols, bigints.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
  }
  if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`${value} has no canonical JSON`)
  const text: unknown = JSON.stringify(value)
  if (typeof text !== 'string') throw new TypeError(`a value of type ${typeof value} has no canonical JSON`)
  return text
}
