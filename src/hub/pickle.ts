// A pickle reader that runs no code: it builds plain values from the opcodes that torch.save writes, and knows four
// callables by name. Everything else in a pickle is refused by its name. Knows nothing of tensors' data (torch.ts).
import { CheckpointError, quoted } from './checkpoint.js'

/** Beyond these a pickle is no state dict (the largest published one takes 30,000 operations): a forged one exhausts no memory. */
export const maxPickleBytes = 1 << 24
const maxOperations = 1 << 20

export type PickleFault = 'pickle' | 'pickle-global' | 'pickle-opcode' | 'pickle-cut-off'

/** A pickle is malformed, or holds more than tensors, OrderedDict and storages. */
export class PickleError extends CheckpointError {
  override name = 'PickleError'
  declare readonly fault: PickleFault
  // The constructor narrows the faults.
  constructor(file: string, fault: PickleFault, detail: string) {
    super(file, null, fault, detail)
  }
}

/** A class or function that a pickle names, all of them known here. */
export class PickleGlobal {
  constructor(readonly name: string) {}
}

/** What a pickle's persistent id stands for; torch.ts knows what is in it. */
export class PersistentId {
  constructor(readonly id: PickleValue) {}
}

/** The call of a known function, not made. */
export class PickleCall {
  constructor(
    readonly callee: string,
    readonly args: readonly PickleValue[],
  ) {}
}

export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | PickleTuple
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | PickleCall
  | PersistentId

const dictionary = 'collections.OrderedDict'

/** Functions whose calls are kept for the reader of tensors. */
export const rebuildTensor = 'torch._utils._rebuild_tensor_v2'
export const rebuildParameter = 'torch._utils._rebuild_parameter'

const isKnown = (name: string) =>
  name === dictionary ||
  name === rebuildTensor ||
  name === rebuildParameter ||
  // What a storage type holds is torch.ts's business, whether it is one is the name's.
  /^torch\.[A-Z][A-Za-z0-9]*Storage$/.test(name)

/** Where a MARK stands on the stack. */
const mark = Symbol('mark')
type StackItem = PickleValue | typeof mark

/** The letters of the protocol, for those opcodes that are read. */
const opcodes = {
  MARK: 0x28,
  EMPTY_TUPLE: 0x29,
  STOP: 0x2e,
  POP: 0x30,
  POP_MARK: 0x31,
  BINFLOAT: 0x47,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  NONE: 0x4e,
  BINPERSID: 0x51,
  REDUCE: 0x52,
  BINSTRING: 0x54,
  SHORT_BINSTRING: 0x55,
  BINUNICODE: 0x58,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  BUILD: 0x62,
  GLOBAL: 0x63,
  DICT: 0x64,
  APPENDS: 0x65,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  LIST: 0x6c,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  SETITEM: 0x73,
  TUPLE: 0x74,
  SETITEMS: 0x75,
  EMPTY_DICT: 0x7d,
  PROTO: 0x80,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  LONG1: 0x8a,
  SHORT_BINUNICODE: 0x8c,
  STACK_GLOBAL: 0x93,
  MEMOIZE: 0x94,
  FRAME: 0x95,
} as const

const handlers = new Map<number, (machine: Machine) => void>()

/** One run over one pickle. Nothing here recurses, so no nesting can exhaust the stack. */
class Machine {
  readonly stack: StackItem[] = []
  readonly memo = new Map<number, PickleValue>()
  readonly #view: DataView
  constructor(
    readonly bytes: Uint8Array,
    public position: number,
    readonly file: string,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  fail(detail: string): PickleError {
    return new PickleError(this.file, 'pickle', `byte ${this.position} of the pickle: ${detail}`)
  }

  /** Moves past the next `count` bytes and returns where they began. */
  take(count: number): number {
    const begin = this.position
    if (count > this.bytes.length - begin)
      throw new PickleError(this.file, 'pickle-cut-off', `the pickle is cut off at byte ${this.bytes.length}`)
    this.position = begin + count
    return begin
  }
  uint8(): number {
    return this.#view.getUint8(this.take(1))
  }
  uint16(): number {
    return this.#view.getUint16(this.take(2), true)
  }
  uint32(): number {
    return this.#view.getUint32(this.take(4), true)
  }
  int32(): number {
    return this.#view.getInt32(this.take(4), true)
  }
  /** Pickles write this one big-endian. */
  float64(): number {
    return this.#view.getFloat64(this.take(8), false)
  }
  text(length: number): string {
    const begin = this.take(length)
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        this.bytes.subarray(begin, begin + length),
      )
    } catch {
      throw this.fail('expected text, got bytes that are not UTF-8')
    }
  }
  line(): string {
    const end = this.bytes.indexOf(0x0a, this.position)
    if (end === -1) throw new PickleError(this.file, 'pickle-cut-off', 'the pickle is cut off inside a name')
    const text = this.text(end - this.position)
    this.position++
    return text
  }
  /** A little-endian two's complement integer of any length, as a number where it fits. */
  long(length: number): number | bigint {
    const begin = this.take(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[begin + i])
    if (length > 0 && this.bytes[begin + length - 1] >= 0x80) value -= 1n << BigInt(8 * length)
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  push(value: PickleValue): void {
    this.stack.push(value)
  }
  pop(): PickleValue {
    const value = this.stack.pop()
    if (value === undefined || value === mark) throw this.fail('expected a value on the stack, found none')
    return value
  }
  top(): PickleValue {
    const value = this.stack.at(-1)
    if (value === undefined || value === mark) throw this.fail('expected a value on the stack, found none')
    return value
  }
  /** The values above the last mark, which go with it. */
  popMarked(): PickleValue[] {
    const at = this.stack.lastIndexOf(mark)
    if (at === -1) throw this.fail('expected a mark on the stack, found none')
    const values = this.stack.splice(at + 1) as PickleValue[]
    this.stack.pop()
    return values
  }
  pushTuple(length: number): void {
    const items = Array.from({ length }, () => this.pop()).reverse()
    this.push(new PickleTuple(items))
  }
  recall(index: number): void {
    const value = this.memo.get(index)
    if (value === undefined) throw this.fail(`nothing was remembered under ${index}`)
    this.push(value)
  }
  pushGlobal(module: string, name: string): void {
    const full = `${module}.${name}`
    if (!isKnown(full))
      throw new PickleError(
        this.file,
        'pickle-global',
        `the pickle names ${quoted(full)}; only tensors, storages and OrderedDict are read, since anything else could run code; save model.state_dict() by itself`,
      )
    this.push(new PickleGlobal(full))
  }
  setItems(flat: readonly PickleValue[]): void {
    const target = this.top()
    if (!(target instanceof Map) || flat.length % 2 !== 0) throw this.fail('expected a dict and pairs to set in it')
    for (let i = 0; i < flat.length; i += 2) target.set(flat[i], flat[i + 1])
  }
  append(items: readonly PickleValue[]): void {
    const target = this.top()
    if (!Array.isArray(target)) throw this.fail('expected a list to append to')
    for (const item of items) target.push(item)
  }
  call(): void {
    const args = this.pop()
    const callee = this.pop()
    if (!(callee instanceof PickleGlobal) || !(args instanceof PickleTuple)) {
      throw this.fail('expected a call of a named function with a tuple')
    }
    if (callee.name === dictionary) {
      if (args.items.length > 0) throw this.fail('expected an empty OrderedDict, filled afterwards')
      this.push(new Map())
    } else if (callee.name === rebuildTensor || callee.name === rebuildParameter) {
      this.push(new PickleCall(callee.name, args.items))
    } else throw this.fail(`${callee.name} is called; expected it as the type of a storage`)
  }
  /** The attributes of a dict (torch keeps versions of modules there) say nothing about tensors. */
  build(): void {
    this.pop()
    if (!(this.top() instanceof Map)) throw this.fail('expected attributes of an OrderedDict only')
  }
}

const on = (opcode: keyof typeof opcodes, handle: (machine: Machine) => void) => handlers.set(opcodes[opcode], handle)

on('PROTO', (m) => {
  const version = m.uint8()
  if (version < 2 || version > 5) throw m.fail(`expected protocol 2 to 5, got ${version}`)
})
on('FRAME', (m) => m.take(8))
on('MARK', (m) => m.stack.push(mark))
on('POP', (m) => {
  if (m.stack.pop() === undefined) throw m.fail('expected a value on the stack, found none')
})
on('POP_MARK', (m) => m.popMarked())
on('NONE', (m) => m.push(null))
on('NEWTRUE', (m) => m.push(true))
on('NEWFALSE', (m) => m.push(false))
on('BININT', (m) => m.push(m.int32()))
on('BININT1', (m) => m.push(m.uint8()))
on('BININT2', (m) => m.push(m.uint16()))
on('LONG1', (m) => m.push(m.long(m.uint8())))
on('BINFLOAT', (m) => m.push(m.float64()))
on('BINUNICODE', (m) => m.push(m.text(m.uint32())))
on('SHORT_BINUNICODE', (m) => m.push(m.text(m.uint8())))
on('BINSTRING', (m) => m.push(m.text(m.uint32())))
on('SHORT_BINSTRING', (m) => m.push(m.text(m.uint8())))
on('EMPTY_TUPLE', (m) => m.push(new PickleTuple([])))
on('TUPLE1', (m) => m.pushTuple(1))
on('TUPLE2', (m) => m.pushTuple(2))
on('TUPLE3', (m) => m.pushTuple(3))
on('TUPLE', (m) => m.push(new PickleTuple(m.popMarked())))
on('EMPTY_LIST', (m) => m.push([]))
on('LIST', (m) => m.push(m.popMarked()))
on('APPEND', (m) => m.append([m.pop()]))
on('APPENDS', (m) => m.append(m.popMarked()))
on('EMPTY_DICT', (m) => m.push(new Map()))
on('DICT', (m) => {
  const flat = m.popMarked()
  m.push(new Map())
  m.setItems(flat)
})
on('SETITEM', (m) => {
  const value = m.pop()
  m.setItems([m.pop(), value])
})
on('SETITEMS', (m) => m.setItems(m.popMarked()))
on('BINPUT', (m) => m.memo.set(m.uint8(), m.top()))
on('LONG_BINPUT', (m) => m.memo.set(m.uint32(), m.top()))
on('MEMOIZE', (m) => m.memo.set(m.memo.size, m.top()))
on('BINGET', (m) => m.recall(m.uint8()))
on('LONG_BINGET', (m) => m.recall(m.uint32()))
on('GLOBAL', (m) => m.pushGlobal(m.line(), m.line()))
on('STACK_GLOBAL', (m) => {
  const name = m.pop()
  const module = m.pop()
  if (typeof name !== 'string' || typeof module !== 'string') throw m.fail('expected the name of a global')
  m.pushGlobal(module, name)
})
on('BINPERSID', (m) => m.push(new PersistentId(m.pop())))
on('REDUCE', (m) => m.call())
on('BUILD', (m) => m.build())

/**
 * Reads one pickle that begins at `begin`, and says where it ends. Throws PickleError: 'pickle-cut-off' where more bytes
 * could complete it, 'pickle-global' for a name that is not known, 'pickle-opcode' for an opcode that torch.save never
 * writes for tensors.
 */
export function readPickle(bytes: Uint8Array, file: string, begin = 0): { value: PickleValue; end: number } {
  const machine = new Machine(bytes, begin, file)
  for (let operations = 0; ; operations++) {
    if (operations === maxOperations) throw machine.fail(`more than ${maxOperations} operations; this is no state dict`)
    const opcode = machine.uint8()
    if (opcode === opcodes.STOP) break
    const handle = handlers.get(opcode)
    if (!handle) {
      const letter = `0x${opcode.toString(16).padStart(2, '0')}`
      const detail = `opcode ${letter} at byte ${machine.position - 1} of the pickle; torch.save writes none such for tensors`
      throw new PickleError(file, 'pickle-opcode', detail)
    }
    handle(machine)
  }
  return { value: machine.pop(), end: machine.position }
}
