import { UserError } from '../base/user-error.js'

/** A file that was named on the command line and cannot be read. */
export function unreadable(file: string, error: unknown): UserError {
  const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
  return new UserError('usage', 'usage.file-unreadable', `${file} cannot be read`, {
    why: missing ? 'there is no such file' : undefined,
    cause: error
  })
}
