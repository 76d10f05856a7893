// Mutates a valid safetensors file in bytes and in the fields of its header, and checks that the parser either refuses
// the mutant with a SafetensorsError or gives entries that tile the file. Run briefly and at length by the tests beside.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { storedDtypes } from './checkpoint.js'
import { parseSafetensors, SafetensorsError, type SafetensorsFault } from './safetensors.js'

interface RawEntry {
  dtype: unknown
  shape: unknown
  data_offsets: unknown
}
type RawHeader = Record<string, RawEntry | unknown>

const validHeader: RawHeader = {
  __metadata__: { format: 'pt', step: '3' },
  'backbone.embedding.weight': { dtype: 'F32', shape: [4, 3], data_offsets: [0, 48] },
  'backbone.norm.weight': { dtype: 'BF16', shape: [3], data_offsets: [48, 54] },
  flags: { dtype: 'BOOL', shape: [2, 1], data_offsets: [54, 56] },
  none: { dtype: 'I32', shape: [0], data_offsets: [56, 56] },
}
const dataBytes = 56
const names = Object.keys(validHeader).filter((name) => name !== '__metadata__')

/** One change to the file, applied to the header's fields, its text, or the file's bytes. */
type Mutation =
  | { at: 'field'; name: string; field: keyof RawEntry; value: unknown }
  | { at: 'number'; name: string; field: 'shape' | 'data_offsets'; index: number; add: number }
  | { at: 'shift'; name: string; add: number }
  | { at: 'entry'; name: string; value: unknown }
  | { at: 'rename'; name: string; to: string }
  | { at: 'repeat'; name: string }
  | { at: 'metadata'; value: unknown }
  | { at: 'text'; position: number; byte: number }
  | { at: 'data'; position: number; byte: number }
  | { at: 'length'; value: bigint }
  | { at: 'size'; add: number }

const name = fc.constantFrom(...names)
const byte = fc.integer({ min: 0, max: 255 })
const position = fc.nat(1000)
const small = fc.integer({ min: -60, max: 60 })
const absurd = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(2 ** 53, 1e308, -1, 0.5, [2 ** 31, 2 ** 31, 2 ** 31], [0, 2 ** 53]),
)
const dtype = fc.constantFrom(...Object.keys(storedDtypes), 'F128', '')

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ at: fc.constant('field' as const), name, field: fc.constant('dtype' as const), value: dtype }),
  fc.record({
    at: fc.constant('field' as const),
    name,
    field: fc.constantFrom('dtype' as const, 'shape' as const, 'data_offsets' as const),
    value: absurd,
  }),
  fc.record({
    at: fc.constant('number' as const),
    name,
    field: fc.constantFrom('shape' as const, 'data_offsets' as const),
    index: fc.nat(1),
    add: small,
  }),
  fc.record({ at: fc.constant('shift' as const), name, add: small }),
  fc.record({ at: fc.constant('entry' as const), name, value: absurd }),
  fc.record({ at: fc.constant('rename' as const), name, to: fc.string({ unit: 'binary' }) }),
  fc.record({ at: fc.constant('repeat' as const), name }),
  fc.record({ at: fc.constant('metadata' as const), value: fc.oneof(absurd, fc.dictionary(fc.string(), fc.string())) }),
  fc.record({ at: fc.constant('text' as const), position, byte }),
  fc.record({ at: fc.constant('data' as const), position, byte }),
  fc.record({ at: fc.constant('length' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  fc.record({ at: fc.constant('size' as const), add: small }),
)

function mutant(mutations: readonly Mutation[]): Uint8Array {
  const header = structuredClone(validHeader)
  let repeated = ''
  for (const change of mutations) {
    const entry = 'name' in change ? (header[change.name] as RawEntry | undefined) : undefined
    if (change.at === 'metadata') header.__metadata__ = change.value
    if (!entry || typeof entry !== 'object') continue
    if (change.at === 'field') entry[change.field] = change.value
    if (change.at === 'number') {
      const list = entry[change.field]
      if (Array.isArray(list) && typeof list[change.index] === 'number') list[change.index] += change.add
    }
    if (change.at === 'shift' && Array.isArray(entry.data_offsets)) {
      entry.data_offsets = entry.data_offsets.map((offset) => offset + change.add)
    }
    if (change.at === 'entry') header[change.name] = change.value
    if (change.at === 'repeat') repeated = `${JSON.stringify(change.name)}:${JSON.stringify(entry)},`
    if (change.at === 'rename') {
      delete header[change.name]
      Object.defineProperty(header, change.to, { value: entry, enumerable: true, configurable: true, writable: true })
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(header).replace('{', `{${repeated}`))
  let file = new Uint8Array(8 + json.length + dataBytes)
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true)
  file.set(json, 8)
  for (const change of mutations) {
    if (change.at === 'text') file[8 + (change.position % json.length)] = change.byte
    if (change.at === 'data') file[8 + json.length + (change.position % dataBytes)] = change.byte
    if (change.at === 'length') new DataView(file.buffer).setBigUint64(0, change.value, true)
  }
  for (const change of mutations) {
    if (change.at !== 'size') continue
    const resized = new Uint8Array(Math.max(0, file.length + change.add))
    resized.set(file.subarray(0, resized.length))
    file = resized
    if (file.length < 8) break
  }
  return file
}

export interface FuzzCount {
  readonly runs: number
  readonly accepted: number
  readonly faults: ReadonlyMap<SafetensorsFault, number>
}

/** Parses `runs` mutants; throws with the shrunk counterexample if one is neither refused properly nor sound. */
export async function fuzzSafetensors(runs: number, seed: number): Promise<FuzzCount> {
  let accepted = 0
  const faults = new Map<SafetensorsFault, number>()
  const property = fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
    const bytes = mutant(mutations)
    try {
      const file = parseSafetensors(bytes, 'mutant')
      let covered = bytes.length - [...file.tensors.values()].reduce((sum, { begin, end }) => sum + end - begin, 0)
      for (const [key, { dtype, shape, begin, end }] of file.tensors) {
        assert.equal(begin, covered)
        assert.equal(
          shape.reduce((product, size) => product * size, storedDtypes[dtype]),
          end - begin,
        )
        assert.equal((await file.read(key)).length, end - begin)
        covered = end
      }
      assert.equal(covered, bytes.length)
      accepted++
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error
      assert.match(error.message, /^mutant: [^\n]+$/)
      faults.set(error.fault, (faults.get(error.fault) ?? 0) + 1)
    }
  })
  await fc.assert(property, { numRuns: runs, seed })
  return { runs, accepted, faults }
}

/** Fails unless a tenth of the mutants passed and every fault that a header can have was seen. */
export function assertCoverage({ runs, accepted, faults }: FuzzCount): void {
  const shown = JSON.stringify(Object.fromEntries(faults))
  assert.ok(accepted >= runs / 10, `only ${accepted} of ${runs} mutants pass the header; faults: ${shown}`)
  const headerFaults: SafetensorsFault[] = [
    'header-length',
    'header-json',
    'duplicate-name',
    'metadata',
    'entry',
    'dtype',
    'shape',
    'offsets',
    'size',
    'overlap',
    'hole',
  ]
  assert.deepEqual(
    headerFaults.filter((fault) => !faults.has(fault)),
    [],
    `faults never seen in ${runs} mutants, of ${shown}`,
  )
}
