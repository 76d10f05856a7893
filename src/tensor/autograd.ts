// Reverse-mode differentiation over a tape of nodes. A node is one differentiable operation: where its inputs' gradients
// go, what it saved, and a hand-written backward. First order only: backward functions run without recording.
import { launch } from '../backend/kernels.js'
import { MambakitError, ShapeError } from '../errors.js'
import { dense, hasDenseLast } from './ops/raw.js'
import { defaultRandom, RandomStream, withRandom } from './random.js'
import { keep, type NotPromise, register, scope } from './scope.js'
import { sameShape } from './shape.js'
import { empty, type Tensor } from './tensor.js'

let recording = true
let recomputing = false

/** True while `checkpoint` runs its body a second time: what the first run already did beside its result must not be done again. */
export const isRecomputing = (): boolean => recomputing

/** Runs a synchronous function without recording gradients. */
export function noGrad<T>(body: () => NotPromise<T>): T {
  const before = recording
  recording = false
  try {
    const result = body() as T
    if (result !== null && typeof result === 'object' && typeof (result as { then?: unknown }).then === 'function')
      throw new MambakitError('noGrad: expected a synchronous function, got one that returns a promise')
    return result
  } finally {
    recording = before
  }
}

/** True if an operation on these inputs would be recorded. */
export function isRecorded(inputs: readonly (Tensor | null | undefined)[]): boolean {
  return recording && inputs.some((input) => input?.requiresGrad)
}

/** An output of a node: where a gradient enters it. */
export interface Edge {
  readonly node: GradNode
  readonly output: number
}

type BackwardFunction = (
  gradOutputs: readonly (Tensor | null)[],
  saved: readonly Tensor[],
  needed: readonly boolean[],
) => readonly (Tensor | null)[]

/** One recorded operation. Freed when no handle and no later node refers to it, or once `backward` has passed it. */
export class GradNode {
  #references = 0
  #versions: number[]
  constructor(
    readonly name: string,
    /** For every input: the edge or leaf that takes its gradient, null if it takes none. */
    readonly targets: readonly (Edge | Tensor | null)[],
    readonly inputShapes: readonly (readonly number[])[],
    readonly outputCount: number,
    private saved: Tensor[],
    private backwardFunction: BackwardFunction | null,
  ) {
    this.#versions = saved.map((tensor) => tensor.storage.version)
    for (const target of targets) if (target && 'node' in target) target.node.retain()
  }
  retain(): this {
    this.#references++
    return this
  }
  release(): void {
    if (--this.#references === 0) this.free()
  }
  /** Gradients of the inputs, as handles that the caller owns. */
  run(gradOutputs: readonly (Tensor | null)[]): readonly (Tensor | null)[] {
    if (!this.backwardFunction)
      throw new MambakitError(`backward: the gradient of '${this.name}' was already computed; run the forward again`)
    this.saved.forEach((tensor, i) => {
      if (tensor.storage.version !== this.#versions[i])
        throw new MambakitError(`backward: a tensor that '${this.name}' needs was changed in place since the forward`)
    })
    const backwardFunction = this.backwardFunction
    const needed = this.targets.map((target) => target !== null)
    const grads = noGrad(() =>
      scope(() => {
        const incoming = gradOutputs.map((grad) => (grad && !hasDenseLast(grad) ? dense(grad) : grad))
        return backwardFunction(incoming, this.saved, needed) as (Tensor | null)[]
      }),
    )
    grads.forEach((grad, i) => {
      if (grad && needed[i] && !sameShape(grad.shape, this.inputShapes[i]))
        throw new ShapeError(`gradient of ${this.name}, input ${i}`, [grad.shape], `expected (${this.inputShapes[i]})`)
    })
    // One tensor may serve several inputs, or be one of the incoming or saved ones: every taker gets a handle of its own.
    const borrowed = new Set<Tensor | null>([...gradOutputs, ...this.saved])
    return grads.map((grad) => {
      if (!grad) return null
      const own = borrowed.has(grad) ? keep(grad.view()) : keep(grad)
      borrowed.add(grad)
      return own
    })
  }
  /** Drops what was saved; the node can no longer be differentiated. */
  free(): void {
    if (!this.backwardFunction) return
    this.backwardFunction = null
    for (const tensor of this.saved) tensor.dispose()
    this.saved = []
    for (const target of this.targets) if (target && 'node' in target) target.node.release()
  }
}

/** A differentiable operation: the public extension point. */
export interface DifferentiableOperation<Out extends Tensor | readonly Tensor[]> {
  /** For error messages. */
  readonly name: string
  /** Tensors whose gradients the backward returns, in this order. */
  readonly inputs: readonly (Tensor | null | undefined)[]
  /** Computes the outputs; nothing inside is recorded. */
  readonly forward: () => Out
  /** Tensors that the backward needs; called only if the operation is recorded. */
  readonly save?: (outputs: Out) => readonly (Tensor | null | undefined)[]
  /**
   * Gradients of the inputs from those of the outputs (null where an output was not used). `saved` are the saved
   * tensors, absent ones left out; `needed[i]` says whether input i wants a gradient at all.
   */
  readonly backward: BackwardFunction
}

/** Runs an operation and records it where any input requires a gradient. */
export function differentiable<Out extends Tensor | readonly Tensor[]>(operation: DifferentiableOperation<Out>): Out {
  const recorded = isRecorded(operation.inputs)
  let saved: Tensor[] = []
  // What the forward makes besides its outputs ends here; what the backward needs lives on in handles of its own.
  const body = (): Out => {
    const made = operation.forward()
    if (recorded) saved = (operation.save?.(made) ?? []).flatMap((tensor) => (tensor ? [keep(tensor.view())] : []))
    return made
  }
  const outputs = noGrad(() => scope(body as () => never)) as Out
  if (!recorded) return outputs
  const list = (Array.isArray(outputs) ? outputs : [outputs]) as Tensor[]
  const node = new GradNode(
    operation.name,
    operation.inputs.map((input) => (input?.requiresGrad ? (input.edge ?? input) : null)),
    operation.inputs.map((input) => input?.shape ?? []),
    list.length,
    saved,
    operation.backward,
  )
  list.forEach((output, index) => {
    if (output.dtype === 'int32' || output.dtype === 'bool') return
    output.edge = { node: node.retain(), output: index }
  })
  return outputs
}

type Sink = (leaf: Tensor, grad: Tensor) => void
let activeSink: Sink | null = null

/** a + b into whichever of them nobody else sees, else into new memory. Ends both handles but the returned one. */
function addGradients(a: Tensor, b: Tensor): Tensor {
  const target = a.storage.references === 1 && a.isContiguous ? a : keep(empty(a.backend, a.shape, a.dtype))
  launch(a.backend, 'axpby', { a, b, out: target }, { alpha: 1, beta: 1 })
  if (target !== a) a.dispose()
  b.dispose()
  return target
}

/** Sends gradients from `roots` down the tape; leaves go to `sink`. Nodes passed on the way are freed. */
function propagate(roots: readonly { tensor: Tensor; grad: Tensor }[], sink: Sink): void {
  const pending = new Map<GradNode, (Tensor | null)[]>()
  const deliver = (target: Edge | Tensor, grad: Tensor) => {
    if (!('node' in target)) return sink(target, grad)
    const slots = pending.get(target.node) ?? new Array<Tensor | null>(target.node.outputCount).fill(null)
    pending.set(target.node, slots)
    const before = slots[target.output]
    slots[target.output] = before ? addGradients(before, grad) : grad
  }
  const order = topologicalOrder(roots.flatMap(({ tensor }) => (tensor.edge ? [tensor.edge.node] : [])))
  // A node must outlive the nodes that lead to it, though nobody else may hold it any more.
  for (const node of order) node.retain()
  for (const { tensor, grad } of roots) deliver(tensor.edge ?? tensor, grad)
  const before = activeSink
  activeSink = sink
  try {
    for (const node of order) {
      const gradOutputs = pending.get(node)
      if (!gradOutputs) {
        node.free()
        continue
      }
      pending.delete(node)
      const grads = node.run(gradOutputs)
      grads.forEach((grad, i) => {
        const target = node.targets[i]
        if (grad && target) deliver(target, grad)
        else grad?.dispose()
      })
      for (const grad of gradOutputs) grad?.dispose()
      node.free()
    }
  } finally {
    activeSink = before
    for (const node of order) node.release()
    for (const slots of pending.values()) for (const grad of slots) grad?.dispose()
  }
}

/** Nodes reachable from `roots`, every node before the nodes its gradients flow to. */
function topologicalOrder(roots: readonly GradNode[]): GradNode[] {
  const finished: GradNode[] = []
  const seen = new Set<GradNode>()
  const work: { node: GradNode; next: number }[] = []
  const enter = (node: GradNode) => {
    if (seen.has(node)) return
    seen.add(node)
    work.push({ node, next: 0 })
  }
  for (const root of roots) {
    enter(root)
    while (work.length) {
      const top = work[work.length - 1]
      if (top.next === top.node.targets.length) {
        finished.push(top.node)
        work.pop()
        continue
      }
      const target = top.node.targets[top.next++]
      if (target && 'node' in target) enter(target.node)
    }
  }
  return finished.reverse()
}

function onesLike(tensor: Tensor): Tensor {
  const ones = empty(tensor.backend, tensor.shape, tensor.dtype)
  launch(tensor.backend, 'fill', { out: ones }, { value: 1 })
  return keep(ones)
}

function accumulateGrad(leaf: Tensor, grad: Tensor): void {
  if (leaf.grad) {
    launch(leaf.backend, 'axpby', { a: leaf.grad, b: grad, out: leaf.grad }, { alpha: 1, beta: 1 })
    grad.dispose()
    return
  }
  if (grad.isContiguous && grad.storage.references === 1) {
    leaf.grad = grad
    return
  }
  const copy = keep(empty(leaf.backend, leaf.shape, grad.dtype))
  launch(leaf.backend, 'copy', { input: grad, out: copy }, {})
  grad.dispose()
  leaf.grad = copy
}

/**
 * Adds the gradients of `loss` to the `.grad` of every leaf it depends on, and frees the tape.
 * @param loss a tensor that requires a gradient; of one element unless `gradient` (its shape) is given.
 */
export function backward(loss: Tensor, gradient?: Tensor): void {
  propagate([rootOf('backward', loss, gradient)], accumulateGrad)
}

/** The gradients of `loss` for each of `leaves` (zeros where it does not depend on one), leaving `.grad` alone; they belong to the current scope. */
export function grad(loss: Tensor, leaves: readonly Tensor[], gradient?: Tensor): Tensor[] {
  const found = new Map<Tensor, Tensor>()
  propagate([rootOf('grad', loss, gradient)], (leaf, g) => {
    if (!leaves.includes(leaf)) return g.dispose()
    const before = found.get(leaf)
    found.set(leaf, before ? addGradients(before, g) : g)
  })
  return leaves.map((leaf) => {
    const g = found.get(leaf)
    if (g) {
      register(g)
      return g
    }
    const zeros = empty(leaf.backend, leaf.shape, leaf.dtype)
    launch(leaf.backend, 'fill', { out: zeros }, { value: 0 })
    return zeros
  })
}

function rootOf(operation: string, tensor: Tensor, gradient?: Tensor): { tensor: Tensor; grad: Tensor } {
  if (!tensor.requiresGrad) throw new MambakitError(`${operation}: the given tensor does not depend on any parameter`)
  if (!gradient && tensor.size !== 1)
    throw new ShapeError(operation, [tensor.shape], 'expected a tensor of one element, or its gradient as well')
  if (gradient && !sameShape(gradient.shape, tensor.shape))
    throw new ShapeError(operation, [gradient.shape, tensor.shape], 'expected a gradient of the shape of the tensor')
  return { tensor, grad: gradient ? keep(gradient.view()) : onesLike(tensor) }
}

/**
 * Runs `body(...inputs)` without keeping what its backward needs, and runs it again when the gradient is asked for:
 * memory for time. `body` must be a function of its inputs, parameters and the default random stream alone; the stream
 * is wound back for the second run, so that masks repeat.
 */
export function checkpoint(
  body: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  parameters: readonly Tensor[] = [],
): Tensor {
  const { seed, stream, offset } = defaultRandom()
  return differentiable({
    name: 'checkpoint',
    // Parameters are inputs too, so that the operation is recorded; their gradients go straight to the sink.
    inputs: [...inputs, ...parameters],
    forward: () => scope(() => body(...inputs)),
    save: () => inputs,
    backward: ([gradOut], saved) => {
      const leaves = saved.map((tensor) => tensor.view())
      leaves.forEach((leaf, i) => {
        leaf.requiresGrad = inputs[i].dtype !== 'int32' && inputs[i].dtype !== 'bool'
      })
      const before = { recording, recomputing }
      recording = true
      recomputing = true
      const outerSink = activeSink!
      const found = new Map<Tensor, Tensor>()
      try {
        const output = withRandom(new RandomStream(seed, stream, offset), () => body(...leaves))
        recomputing = before.recomputing
        if (output.requiresGrad)
          propagate([{ tensor: output, grad: keep(gradOut!.view()) }], (leaf, g) => {
            if (!leaves.includes(leaf)) return outerSink(leaf, g)
            const earlier = found.get(leaf)
            found.set(leaf, earlier ? addGradients(earlier, g) : g)
          })
      } finally {
        recording = before.recording
        recomputing = before.recomputing
      }
      return [...leaves.map((leaf) => found.get(leaf) ?? null), ...parameters.map(() => null)]
    },
  })
}
