import type { EmulatorRequest, EmulatorResponse } from '../../http.js'
import { parseForm } from './form.js'
import { invalidValue, missingParameter, RequestError } from './request-error.js'
import { newId, secondsNow } from './words.js'

/** What an account holds; one that is full says so instead of forgetting. */
const usualCapacity = 256 * 1024 ** 2
const maxListed = 10_000

interface StoredFile {
  readonly id: string
  readonly created: number
  readonly name: string
  readonly purpose: string
  readonly bytes: Uint8Array
}

/** Files of one account: `/v1/files`. They are kept in memory, and gone with the emulator. */
export class Files {
  readonly #files = new Map<string, StoredFile>()

  /** `capacity` in bytes, of all files together. */
  constructor(private readonly capacity = usualCapacity) {}

  /** Undefined for what is no operation on files. */
  async answer(request: EmulatorRequest): Promise<EmulatorResponse | undefined> {
    const match = /^\/v1\/files(?:\/([^/]+)(\/content)?)?$/.exec(request.path)
    if (match === null) return undefined
    const [, id, content] = match
    const operation = `${request.method} ${id === undefined ? 'files' : content === undefined ? 'file' : 'content'}`
    switch (operation) {
      case 'POST files':
        return this.#upload(request)
      case 'GET files':
        return this.#list(request.query)
      case 'GET file':
        return { status: 200, body: describe(this.#require(id)) }
      case 'GET content':
        return {
          status: 200,
          headers: { 'content-type': 'application/octet-stream' },
          body: this.#require(id).bytes
        }
      case 'DELETE file': {
        const file = this.#require(id)
        this.#files.delete(file.id)
        return { status: 200, body: { object: 'file', id: file.id, deleted: true } }
      }
      default:
        return undefined
    }
  }

  async #upload(request: EmulatorRequest): Promise<EmulatorResponse> {
    const form = await parseForm(request)
    const { name, bytes } = form.requireFile('file')
    const purpose = form.text('purpose')
    if (purpose === undefined || purpose === '') throw missingParameter('purpose')
    const stored = [...this.#files.values()].reduce((sum, file) => sum + file.bytes.length, 0)
    if (stored + bytes.length > this.capacity) {
      throw new RequestError(400, `This provider keeps ${this.capacity} bytes; delete files first.`, 'file', null)
    }
    const file: StoredFile = { id: newId('file-'), created: secondsNow(), name, purpose, bytes }
    this.#files.set(file.id, file)
    return { status: 200, body: describe(file) }
  }

  /** Newest first unless asked otherwise; `after` names the last file of the page before. */
  #list(query: URLSearchParams): EmulatorResponse {
    const order = query.get('order') ?? 'desc'
    if (order !== 'asc' && order !== 'desc') throw invalidValue('order', '"asc" or "desc"')
    const limit = Number(query.get('limit') ?? maxListed)
    if (!Number.isInteger(limit) || limit < 1 || limit > maxListed) {
      throw invalidValue('limit', `a whole number from 1 to ${maxListed}`)
    }
    const purpose = query.get('purpose')
    const oldestFirst = [...this.#files.values()].filter((file) => purpose === null || file.purpose === purpose)
    const files = order === 'asc' ? oldestFirst : oldestFirst.reverse()
    const after = query.get('after')
    const rest = after === null ? files : files.slice(files.indexOf(this.#require(after)) + 1)
    const page = rest.slice(0, limit)
    return {
      status: 200,
      body: {
        object: 'list',
        data: page.map(describe),
        first_id: page.at(0)?.id ?? null,
        last_id: page.at(-1)?.id ?? null,
        has_more: page.length < rest.length
      }
    }
  }

  #require(id: string | undefined): StoredFile {
    const file = this.#files.get(id ?? '')
    if (file !== undefined) return file
    throw new RequestError(404, `No such File object: ${(id ?? '').slice(0, 80)}`, 'id', null)
  }
}

function describe({ id, created, name, purpose, bytes }: StoredFile): object {
  return {
    id,
    object: 'file',
    bytes: bytes.length,
    created_at: created,
    filename: name,
    purpose,
    status: 'processed'
  }
}
