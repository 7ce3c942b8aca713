import type { Collection, Store } from '../../../../src/emulator/store.js'

/** A store that forgets, for tests that do not look at files. Values take the way through JSON, as on disk. */
export function memoryStore(): Store {
  const collections = new Map<string, Map<string, string>>()
  return {
    collection<T>(name: string): Collection<T> {
      const records = collections.get(name) ?? new Map<string, string>()
      collections.set(name, records)
      return {
        get: (key) => {
          const text = records.get(key)
          return text === undefined ? undefined : (JSON.parse(text) as T)
        },
        set: async (key, value) => {
          records.set(key, JSON.stringify(value))
        },
        delete: async (key) => records.delete(key),
        entries: () => [...records].map(([key, text]) => [key, JSON.parse(text) as T] as const),
        values: () => [...records.values()].map((text) => JSON.parse(text) as T)
      }
    }
  }
}
