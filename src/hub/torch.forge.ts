// For tests: pickles and zip files as torch.save writes them, built by hand, so that each part can be wrong on purpose.

/** Opcodes of a pickle of protocol 2, as text of Latin-1. */
export const op = {
  begin: '\x80\x02',
  end: '.',
  text: (value: string) => `X${uint(value.length, 4)}${value}`,
  int: (value: number) => `J${uint(value, 4)}`,
  none: 'N',
  tuple: (...items: string[]) => `(${items.join('')}t`,
  dict: (...pairs: string[]) => `}(${pairs.join('')}u`,
  list: (...items: string[]) => `](${items.join('')}e`,
  global: (module: string, name: string) => `c${module}\n${name}\n`,
  call: (callee: string, args: string) => `${callee}${args}R`,
}

export const ordered = op.call(op.global('collections', 'OrderedDict'), ')')

export interface ForgedTensor {
  type?: string
  key?: string
  /** Of the storage, in elements. */
  elements?: number
  offset?: number
  shape?: readonly number[]
  strides?: readonly number[]
}

/** ('storage', type, key, 'cpu', elements) as a persistent id, in the older form with a view. */
export function storage({ type = 'FloatStorage', key = '0', elements = 6 }: ForgedTensor, ...view: string[]): string {
  const items = [op.text('storage'), op.global('torch', type), op.text(key), op.text('cpu'), op.int(elements), ...view]
  return `${op.tuple(...items)}Q`
}

export function tensor(forged: ForgedTensor = {}, stored = storage(forged)): string {
  const { offset = 0, shape = [2, 3], strides = [3, 1] } = forged
  const sizes = (values: readonly number[]) => op.tuple(...values.map(op.int))
  const args = op.tuple(stored, op.int(offset), sizes(shape), sizes(strides), '\x89', ordered)
  return op.call(op.global('torch._utils', '_rebuild_tensor_v2'), args)
}

/** The pickle of a dict of named values. */
export function stateDictPickle(values: Readonly<Record<string, string>>): string {
  return op.begin + op.dict(...Object.entries(values).flatMap(([name, value]) => [op.text(name), value])) + op.end
}

export function latin1(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'))
}

export interface ForgedEntry {
  name: string
  data: Uint8Array
  method?: number
  flags?: number
  /** What the directory says of the data's length. */
  bytes?: number
  /** Where the directory says the entry is, beside where it is. */
  shift?: number
  /** Whether sizes and offset stand in 64-bit fields. */
  wide?: boolean
}

/** A zip file of stored entries. `comment` follows it; `wide` adds the 64-bit end records. */
export function zipOf(entries: readonly ForgedEntry[], options: { comment?: string; wide?: boolean } = {}): Uint8Array {
  const { comment = '', wide = false } = options
  let data = ''
  let directory = ''
  for (const { name, data: bytes, method = 0, flags = 0, bytes: said = bytes.length, shift = 0, wide } of entries) {
    const at = data.length + shift
    const text = Buffer.from(bytes).toString('latin1')
    const common = uint(flags, 2) + uint(method, 2) + uint(0, 8)
    data += `PK\x03\x04${uint(20, 2)}${common}${uint(bytes.length, 4)}${uint(bytes.length, 4)}${uint(name.length, 2)}`
    data += `${uint(0, 2)}${name}${text}`
    const extra = wide ? uint(1, 2) + uint(24, 2) + uint(said, 8) + uint(said, 8) + uint(at, 8) : ''
    const [sizes, offset] = wide ? ['\xff'.repeat(8), '\xff'.repeat(4)] : [uint(said, 4) + uint(said, 4), uint(at, 4)]
    directory += `PK\x01\x02${uint(20, 2)}${uint(20, 2)}${common}${sizes}${uint(name.length, 2)}${uint(extra.length, 2)}`
    directory += `${uint(0, 2)}${uint(0, 2)}${uint(0, 2)}${uint(0, 4)}${offset}${name}${extra}`
  }
  const count = entries.length
  const end64 = data.length + directory.length
  const wideEnd =
    `PK\x06\x06${uint(44, 8)}${uint(45, 2)}${uint(45, 2)}${uint(0, 4)}${uint(0, 4)}${uint(count, 8)}${uint(count, 8)}` +
    `${uint(directory.length, 8)}${uint(data.length, 8)}PK\x06\x07${uint(0, 4)}${uint(end64, 8)}${uint(1, 4)}`
  const [shownCount, shownAt] = wide
    ? ['\xff'.repeat(4), '\xff'.repeat(4)]
    : [uint(count, 2) + uint(count, 2), uint(data.length, 4)]
  const end = `PK\x05\x06${uint(0, 4)}${shownCount}${uint(directory.length, 4)}${shownAt}${uint(comment.length, 2)}${comment}`
  return latin1(data + directory + (wide ? wideEnd : '') + end)
}

export const floats = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer)

/** What torch.save would write for one pickle and its storages. */
export function torchZip(
  pickle: string,
  storages: Readonly<Record<string, Uint8Array>> = { 0: floats },
  extra: readonly ForgedEntry[] = [],
): Uint8Array {
  return zipOf([
    { name: 'archive/data.pkl', data: latin1(pickle) },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: 'archive/version', data: latin1('3\n') },
    ...extra,
  ])
}

/** The older form: magic number, protocol, facts of the system, state dict, keys, then each storage after its length. */
export function torchLegacy(pickle: string, keys: readonly string[], data: string, facts = op.dict()): Uint8Array {
  const magic = `${op.begin}\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.`
  const [protocol, system] = [op.int(1001), facts].map((value) => op.begin + value + op.end)
  return latin1(magic + protocol + system + pickle + op.begin + op.list(...keys.map(op.text)) + op.end + data)
}

/** The length and the bytes of a storage of the older form. */
export function legacyStorage(elements: number, bytes: Uint8Array): string {
  return uint(elements, 8) + Buffer.from(bytes).toString('latin1')
}

/** Little-endian, in `width` bytes; negative numbers in two's complement. */
function uint(value: number, width: number): string {
  const big = BigInt.asUintN(8 * width, BigInt(value))
  return String.fromCharCode(...Array.from({ length: width }, (_, i) => Number((big >> BigInt(8 * i)) & 0xffn)))
}
