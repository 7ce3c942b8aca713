import { isJsonObject, type JsonObject } from '../base/json.js'
import { ServiceError } from './http.js'

/**
 * Reads the members of a request body. A member of the wrong type is the caller's error and is named
 * by its path, in the words of Resource Manager.
 */
export class Fields {
  constructor(
    private readonly value: JsonObject,
    private readonly path: string
  ) {}

  /** Takes any JSON value that should be an object. */
  static of(value: unknown, path = 'body'): Fields {
    if (!isJsonObject(value)) throw invalid(path, 'an object')
    return new Fields(value, path)
  }

  has(name: string): boolean {
    return this.value[name] !== undefined && this.value[name] !== null
  }

  string(name: string): string {
    const value = this.value[name]
    if (typeof value !== 'string' || value === '') throw invalid(this.#at(name), 'a text')
    return value
  }

  optionalString(name: string): string | undefined {
    const value = this.value[name] ?? undefined
    if (value !== undefined && typeof value !== 'string') throw invalid(this.#at(name), 'a text')
    return value
  }

  number(name: string): number {
    const value = this.optionalNumber(name)
    if (value === undefined) throw invalid(this.#at(name), 'a number')
    return value
  }

  /** Templates may give numbers as text, and Resource Manager converts them. */
  optionalNumber(name: string): number | undefined {
    const value = this.value[name] ?? undefined
    if (value === undefined) return undefined
    const number = typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value
    if (typeof number !== 'number' || !Number.isFinite(number)) throw invalid(this.#at(name), 'a number')
    return number
  }

  optionalBoolean(name: string): boolean | undefined {
    const value = this.value[name] ?? undefined
    if (value === undefined || typeof value === 'boolean') return value
    throw invalid(this.#at(name), 'true or false')
  }

  object(name: string): Fields {
    return Fields.of(this.value[name], this.#at(name))
  }

  /** An object without members when the member is missing or null. */
  objectOrEmpty(name: string): Fields {
    return Fields.of(this.value[name] ?? {}, this.#at(name))
  }

  optionalObject(name: string): Fields | undefined {
    return this.has(name) ? this.object(name) : undefined
  }

  list(name: string): Fields[] {
    return this.rawList(name).map((item, index) => Fields.of(item, `${this.#at(name)}[${index}]`))
  }

  strings(name: string): string[] {
    return this.rawList(name).map((item, index) => {
      if (typeof item !== 'string') throw invalid(`${this.#at(name)}[${index}]`, 'a text')
      return item
    })
  }

  /** An object whose members are all texts, for example `tags`. */
  texts(name: string): Record<string, string> {
    const fields = this.objectOrEmpty(name)
    return Object.fromEntries(Object.keys(fields.value).map((key) => [key, fields.optionalString(key) ?? '']))
  }

  names(): string[] {
    return Object.keys(this.value)
  }

  toJSON(): JsonObject {
    return this.value
  }

  rawList(name: string): readonly unknown[] {
    const value = this.value[name] ?? []
    if (!Array.isArray(value)) throw invalid(this.#at(name), 'a list')
    return value
  }

  #at(name: string): string {
    return `${this.path}.${name}`
  }
}

function invalid(path: string, expected: string): ServiceError {
  return new ServiceError(
    400,
    'InvalidRequestContent',
    `The request content was invalid and could not be deserialized: '${path}' must be ${expected}.`
  )
}
