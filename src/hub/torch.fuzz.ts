// Mutates PyTorch files (the fields of tensors, the opcodes of the pickle, the records of the zip file, bytes anywhere) and
// indexes of shards, and checks that each is refused with a CheckpointError or read soundly. Run by the tests beside.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { CheckpointError, storedBytes } from './checkpoint.js'
import { memoryRanges } from './ranges.js'
import { isPlainFileName, parseShardIndex } from './sharded.js'
import {
  type ForgedEntry,
  type ForgedTensor,
  floats,
  latin1,
  legacyStorage,
  op,
  stateDictPickle,
  storage,
  tensor,
  torchLegacy,
  zipOf,
} from './torch.forge.js'
import { readTorch } from './torch.js'

/** One change; `form` of the file is drawn beside. */
type Mutation =
  | { at: 'tensor'; change: ForgedTensor }
  | { at: 'entry'; index: number; change: Partial<ForgedEntry> }
  | { at: 'pickle'; position: number; insert: string; drop: number }
  | { at: 'byte'; position: number; byte: number }
  | { at: 'value'; value: string }
  | { at: 'size'; add: number }

const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 7, 2 ** 31 - 1, -(2 ** 31)) },
)
const sizes = fc.array(size, { maxLength: 3 })
const byte = fc.integer({ min: 0, max: 255 })
const types = ['FloatStorage', 'HalfStorage', 'LongStorage', 'BoolStorage', 'ShortStorage', 'Tensor', 'os']
/** Opcodes and short sequences that a pickle of a state dict is made of, and some that it is not. */
const snippets = [
  ...'()}]N.0tRQbse2',
  '\x85',
  '\x88',
  '\x94',
  'h\x01',
  'q\x01',
  'K\x02',
  '\x8a\x01\xff',
  op.global('os', 'system'),
  op.global('collections', 'OrderedDict'),
  op.text('storage'),
]

const tensorMutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.constant('tensor' as const),
  change: fc.oneof(
    fc.record({ shape: sizes }),
    fc.record({ strides: sizes }),
    fc.record({ shape: fc.tuple(size, size), strides: fc.tuple(size, size) }),
    fc.record({ offset: size }),
    fc.record({ elements: size }),
    fc.record({ key: fc.constantFrom('0', '1', '2', '../0', '') }),
    fc.record({ type: fc.constantFrom(...types) }),
  ),
})

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 3, arbitrary: tensorMutation },
  fc.record({
    at: fc.constant('entry' as const),
    index: fc.nat(2),
    change: fc.oneof(
      fc.record({ name: fc.constantFrom('a/data.pkl', 'a/data/0', 'b', 'a/', 'a/byteorder') }),
      fc.record({ method: fc.constantFrom(0, 8, 99) }),
      fc.record({ flags: fc.constantFrom(0, 1, 8) }),
      fc.record({ bytes: fc.constantFrom(0, 23, 25, 40, 2 ** 31, 2 ** 40), wide: fc.boolean() }),
      fc.record({ shift: fc.constantFrom(-30, -1, 1, 60, 2 ** 20) }),
      fc.record({ wide: fc.boolean() }),
    ),
  }),
  fc.record({
    at: fc.constant('pickle' as const),
    position: fc.nat(400),
    insert: fc.constantFrom('', ...snippets),
    drop: fc.nat(3),
  }),
  fc.record({ at: fc.constant('byte' as const), position: fc.nat(2000), byte }),
  fc.record({ at: fc.constant('value' as const), value: fc.constantFrom(op.none, op.int(3), op.dict(), tensor()) }),
  fc.record({ at: fc.constant('size' as const), add: fc.integer({ min: -120, max: 40 }) }),
)

type Form = 'zip' | 'wide zip' | 'legacy'

function mutant(form: Form, mutations: readonly Mutation[]): Uint8Array {
  let changed: ForgedTensor = {}
  for (const change of mutations) if (change.at === 'tensor') changed = { ...changed, ...change.change }
  const extra = form === 'legacy' ? [op.none] : []
  const plain = tensor({}, storage({}, ...extra))
  const other = mutations.find((change) => change.at === 'value')?.value
  let pickle = stateDictPickle({ a: plain, b: other ?? tensor(changed, storage(changed, ...extra)) })
  for (const change of mutations) {
    if (change.at !== 'pickle') continue
    const at = change.position % pickle.length
    pickle = pickle.slice(0, at) + change.insert + pickle.slice(at + change.drop)
  }
  let file: Uint8Array
  if (form === 'legacy') file = torchLegacy(pickle, ['0'], legacyStorage(6, floats))
  else {
    const entries: ForgedEntry[] = [
      { name: 'a/data.pkl', data: latin1(pickle) },
      { name: 'a/data/0', data: floats },
      { name: 'a/data/1', data: floats },
    ]
    for (const change of mutations)
      if (change.at === 'entry') entries[change.index] = { ...entries[change.index], ...change.change }
    file = zipOf(entries, { wide: form === 'wide zip' })
  }
  for (const change of mutations) if (change.at === 'byte') file[change.position % file.length] = change.byte
  for (const change of mutations) {
    if (change.at !== 'size') continue
    const resized = new Uint8Array(Math.max(0, file.length + change.add))
    resized.set(file.subarray(0, resized.length))
    file = resized
    if (file.length === 0) break
  }
  return file
}

export interface FuzzCount {
  readonly runs: number
  readonly accepted: number
  readonly faults: ReadonlyMap<string, number>
}

/** Counts what `read` makes of drawn inputs; anything but acceptance or a CheckpointError of one line is thrown. */
async function fuzz<T>(
  drawn: fc.Arbitrary<T>,
  read: (input: T) => Promise<void> | void,
  runs: number,
  seed: number,
): Promise<FuzzCount> {
  let accepted = 0
  const faults = new Map<string, number>()
  const property = fc.asyncProperty(drawn, async (input) => {
    try {
      await read(input)
      accepted++
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      assert.match(error.message, /^mutant: [^\n]+$/)
      faults.set(error.fault, (faults.get(error.fault) ?? 0) + 1)
    }
  })
  await fc.assert(property, { numRuns: runs, seed })
  return { runs, accepted, faults }
}

/** Opens `runs` mutants of PyTorch files and reads every tensor of those that open. */
export function fuzzTorch(runs: number, seed: number): Promise<FuzzCount> {
  const drawn = fc.record({
    form: fc.constantFrom<Form>('zip', 'wide zip', 'legacy'),
    mutations: fc.array(mutation, { minLength: 1, maxLength: 2 }),
  })
  return fuzz(
    drawn,
    async ({ form, mutations }) => {
      const bytes = mutant(form, mutations)
      const ranges = memoryRanges(bytes, 'mutant')
      const reader = await readTorch({
        ...ranges,
        readInto(target, position) {
          assert.ok(position >= 0 && position + target.length <= bytes.length, 'a read outside the file')
          return ranges.readInto(target, position)
        },
      })
      for (const [name, stored] of reader.tensors) {
        const expected = storedBytes(stored)
        assert.ok(expected <= bytes.length, 'a tensor larger than the file')
        const whole = await reader.read(name)
        assert.equal(whole.length, expected)
        const again = new Uint8Array(expected)
        await reader.readInto(name, 0, again)
        assert.deepEqual(again, whole)
      }
    },
    runs,
    seed,
  )
}

/** Parses `runs` mutants of an index of shards. */
export function fuzzShardIndex(runs: number, seed: number): Promise<FuzzCount> {
  const fileName = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('model-1.safetensors', 'model-2.safetensors') },
    {
      weight: 1,
      arbitrary: fc.oneof(fc.string(), fc.constantFrom('../x', '/x', 'a/b', 'a\\b', '..', ''), fc.jsonValue()),
    },
  )
  const text = fc
    .tuple(
      fc.dictionary(fc.oneof(fc.constantFrom('a', 'b', '__proto__'), fc.string()), fileName, { maxKeys: 3 }),
      fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.jsonValue() }),
      fc.oneof({ weight: 4, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat(60) }),
    )
    .map(([weightMap, instead, cut]) => {
      const json = JSON.stringify(instead ?? { metadata: {}, weight_map: weightMap })
      return cut < 0 ? json : json.slice(0, cut)
    })
  return fuzz(
    text,
    (json) => {
      const { files } = parseShardIndex(json, 'mutant')
      assert.ok(files.size > 0)
      for (const name of files.values()) assert.ok(isPlainFileName(name) && !name.includes('/'), name)
    },
    runs,
    seed,
  )
}

/** Fails unless a tenth of the mutants passed and each of these faults was seen. */
export function assertFaults({ runs, accepted, faults }: FuzzCount, expected: readonly string[]): void {
  const shown = JSON.stringify(Object.fromEntries(faults))
  assert.ok(accepted >= runs / 10, `only ${accepted} of ${runs} mutants pass; faults: ${shown}`)
  const unseen = expected.filter((fault) => !faults.has(fault))
  assert.deepEqual(unseen, [], `faults never seen in ${runs} mutants, of ${shown}`)
}

export const torchFaults = [
  'pickle',
  'pickle-global',
  'pickle-opcode',
  'pickle-cut-off',
  'zip',
  'zip-cut-off',
  'zip-compressed',
  'zip-encrypted',
  'zip-range',
  'zip-duplicate',
  'torch-layout',
  'torch-not-a-dict',
  'torch-not-a-tensor',
  'torch-storage',
  'torch-dtype',
  'torch-shape',
  'torch-range',
]
export const indexFaults = ['index', 'index-outside']
