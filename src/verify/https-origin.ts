/** `https://host` with an optional port, exactly as a URL parser writes it. */
export function isHttpsOrigin(value: string): boolean {
  if (!value.startsWith('https://') || !URL.canParse(value)) return false
  return new URL(value).origin === value
}
