import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { commandsFor } from './command-line.js'
import { writeTextAtomically } from '../image/index.js'

/** One kind of record, kept in memory and in one JSON file. Keys are compared as they are given. */
export interface Collection<T> {
  get(key: string): T | undefined
  /** Resolves when the record is on disk. */
  set(key: string, value: T): Promise<void>
  delete(key: string): Promise<boolean>
  entries(): readonly (readonly [string, T])[]
  values(): readonly T[]
}

export interface Store {
  collection<T>(name: string): Collection<T>
}

/** Replaces a file by one with this text: whoever reads it, at any moment, finds the old or the new one. */
export type WriteFile = (file: string, text: string) => Promise<void>

export const replaceFile: WriteFile = (file, text) => writeTextAtomically(file, text, { mode: 0o600, sync: false })

/**
 * Opens the emulator's state folder. Each change rewrites its collection's file by rename, so a
 * kill at any moment leaves either the old or the new state. No fsync: the state must survive a
 * killed process, not a power cut, and a first `up` makes some fifty changes. A file that is damaged
 * throws a `UserError` `emulator.state-damaged`.
 */
export async function openStore(directory: string, write: WriteFile = replaceFile): Promise<Store> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const collections = new Map<string, FileCollection<unknown>>()
  for (const file of await readdir(directory)) {
    if (!file.endsWith('.json')) {
      // What a write that was killed has left; the directory is locked, so nobody is writing it.
      await rm(join(directory, file), { force: true, recursive: true })
      continue
    }
    const records = await readRecords(join(directory, file))
    const name = file.slice(0, -'.json'.length)
    collections.set(name, new FileCollection(join(directory, file), new Map(Object.entries(records)), write))
  }
  return {
    collection<T>(name: string): Collection<T> {
      const known =
        collections.get(name) ?? new FileCollection<unknown>(join(directory, `${name}.json`), new Map(), write)
      collections.set(name, known)
      return known as Collection<T>
    }
  }
}

async function readRecords(file: string): Promise<JsonObject> {
  const text = await readFile(file, 'utf8')
  try {
    const records: unknown = JSON.parse(text)
    if (isJsonObject(records)) return records
    throw new TypeError('the file holds no records')
  } catch (cause) {
    throw new UserError('machine', 'emulator.state-damaged', `${file} is not a state file of the emulator`, {
      why: 'without it resources that clients know would be missing, so the emulator does not start',
      next: commandsFor(dirname(dirname(file)), 'reset'),
      cause
    })
  }
}

class FileCollection<T> implements Collection<T> {
  #writing: Promise<void> = Promise.resolve()

  constructor(
    private readonly file: string,
    private readonly records: Map<string, T>,
    private readonly write: WriteFile
  ) {}

  get(key: string): T | undefined {
    return this.records.get(key)
  }

  async set(key: string, value: T): Promise<void> {
    this.records.set(key, value)
    await this.#save()
  }

  async delete(key: string): Promise<boolean> {
    const existed = this.records.delete(key)
    if (existed) await this.#save()
    return existed
  }

  entries(): readonly (readonly [string, T])[] {
    return [...this.records.entries()]
  }

  values(): readonly T[] {
    return [...this.records.values()]
  }

  /** Writes in order; what a waiting write would have written is in the records anyway. */
  #save(): Promise<void> {
    const next = this.#writing.then(() =>
      this.write(this.file, `${JSON.stringify(Object.fromEntries(this.records), null, 1)}\n`)
    )
    this.#writing = next.catch(() => undefined)
    return next
  }
}
