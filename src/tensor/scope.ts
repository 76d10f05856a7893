// Who owns a tensor handle. `scope(fn)` disposes every handle made inside it but those it returns. It is synchronous:
// across awaits, ownership is an explicit Scope value.
import { MambakitError } from '../errors.js'
import type { Tensor } from './tensor.js'

/** A set of tensor handles that end together. */
export class Scope implements Disposable {
  readonly #tensors = new Set<Tensor>()

  /** Runs a synchronous function; handles made inside belong to this scope afterwards. */
  run<T>(body: () => NotPromise<T>): T {
    stack.push(this)
    try {
      const result = body() as T
      refusePromise(result)
      return result
    } finally {
      stack.pop()
    }
  }
  /** Takes over a handle from whatever scope holds it. */
  own<T extends Tensor>(tensor: T): T {
    unregister(tensor)
    this.add(tensor)
    return tensor
  }
  add(tensor: Tensor): void {
    tensor.owner = this
    this.#tensors.add(tensor)
  }
  delete(tensor: Tensor): void {
    tensor.owner = null
    this.#tensors.delete(tensor)
  }
  get size(): number {
    return this.#tensors.size
  }
  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Marks a function that must not be async: a scope would end before its awaits. */
export type NotPromise<T> = T extends PromiseLike<unknown> ? never : T

const stack: Scope[] = []

function refusePromise(result: unknown): void {
  if (result !== null && typeof result === 'object' && typeof (result as { then?: unknown }).then === 'function')
    throw new MambakitError('scope: expected a synchronous function, got one that returns a promise; use a Scope value')
}

export function register(tensor: Tensor): void {
  stack.at(-1)?.add(tensor)
}

export function unregister(tensor: Tensor): void {
  tensor.owner?.delete(tensor)
}

/** Takes a handle out of its scope: from here on its holder disposes it. */
export function keep<T extends Tensor>(tensor: T): T {
  unregister(tensor)
  return tensor
}

/** Calls visit on every tensor in a value: a tensor, or arrays and plain objects of them. */
function visitTensors(value: unknown, visit: (tensor: Tensor) => void, isTensor: (v: object) => v is Tensor): void {
  if (value === null || typeof value !== 'object') return
  if (isTensor(value)) visit(value)
  else if (Array.isArray(value)) for (const item of value) visitTensors(item, visit, isTensor)
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) visitTensors(item, visit, isTensor)
}
const isTensor = (value: object): value is Tensor => 'storage' in value && 'dtype' in value && 'edge' in value

/**
 * Runs `body` and disposes every tensor handle that it made, but those in its result (a tensor, or arrays and plain
 * objects of tensors), which pass to the enclosing scope.
 */
export function scope<T>(body: () => NotPromise<T>): T {
  const inner = new Scope()
  try {
    const result = inner.run(body)
    const outer = stack.at(-1)
    visitTensors(
      result,
      (tensor) => {
        if (tensor.owner !== inner) return
        unregister(tensor)
        outer?.add(tensor)
      },
      isTensor,
    )
    return result
  } finally {
    inner.dispose()
  }
}

/** Runs `body` outside every scope, so that the tensors it makes outlive the current one. */
export function outsideScopes<T>(body: () => NotPromise<T>): T {
  const saved = stack.splice(0)
  try {
    return body() as T
  } finally {
    stack.push(...saved)
  }
}
