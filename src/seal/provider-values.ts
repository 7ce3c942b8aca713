/** Far above any provider's key, far below what a header may hold. */
export const maximumKeyLength = 4096

/** A key goes into a request header as it is, so it must not be able to end one. */
export function isProviderKey(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maximumKeyLength && /^[\x21-\x7e]+$/.test(value)
}

export function isProviderName(text: string): boolean {
  return /^[a-z][a-z0-9-]{0,31}$/.test(text)
}
