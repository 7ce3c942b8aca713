/** The system's code of an error, `ENOENT` for example; undefined for errors of another kind. */
export function systemCode(error: unknown): string | undefined {
  // Not by `instanceof`: an error of Node's own may come from another realm than this module.
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
