// Matrix products: batched matmul, and the linear map with weights in the official (out, in) layout.
import { type Activation, activations, launch } from '../../backend/kernels.js'
import type { Operand } from '../../backend/types.js'
import { DtypeError, ShapeError } from '../../errors.js'
import { autocastDtype } from '../autocast.js'
import { differentiable } from '../autograd.js'
import { broadcastShapes, mergeLeading, type Shape, sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { isFloat, requireFloat } from './elementwise.js'
import { asRows, converted, dense, operand, reduceAxes, sumTo } from './raw.js'
import { denseLast } from './shape.js'

interface GemmOptions {
  transposeA?: boolean
  transposeB?: boolean
  alpha?: number
  accumulate?: boolean
  activation?: Activation
  bias?: Operand | null
}

/** One gemm launch on rank-3 operands. */
function gemm(backend: Tensor['backend'], a: Operand, b: Operand, out: Operand, options: GemmOptions = {}): void {
  launch(
    backend,
    'gemm',
    { a, b, bias: options.bias, out },
    {
      transposeA: options.transposeA ? 1 : 0,
      transposeB: options.transposeB ? 1 : 0,
      alpha: options.alpha ?? 1,
      accumulate: options.accumulate ? 1 : 0,
      activation: activations.indexOf(options.activation ?? 'none'),
    },
  )
}

/** A rank-2 operand as a batch of one. */
function single(rows: Operand): Operand {
  return { ...rows, shape: [1, ...rows.shape], strides: [0, ...rows.strides] }
}

/** A tensor (..., M, K) as the operand (batch, M, K), repeated over `batchShape` by stride 0 where it can be. */
function batched(input: Tensor, batchShape: Shape, batch: number): Operand {
  const [rows, columns] = input.shape.slice(-2)
  const source = denseLast(input)
  const strides = source.strides.slice(-2)
  if (source.rank === 2) return operand(source, [batch, rows, columns], [0, ...strides])
  const lead = source.shape.slice(0, -2)
  if (sameShape(lead, batchShape)) {
    const merged = mergeLeading(source.shape, source.strides, 2)
    if (merged) return operand(source, [batch, rows, columns], [merged.stride, ...strides])
  }
  const shape = [...batchShape, rows, columns]
  const leadStrides = batchShape.map((extent, axis) => {
    const own = axis - batchShape.length + lead.length
    return own < 0 || (lead[own] === 1 && extent !== 1) ? 0 : source.strides[own]
  })
  const whole = dense(source.view(shape, [...leadStrides, ...strides], source.offset))
  return operand(whole, [batch, rows, columns], [rows * columns, columns, 1])
}

export interface MatmulOptions {
  /** Use a (..., K, M) as its transpose. */
  transposeA?: boolean
  /** Use b (..., N, K) as its transpose. */
  transposeB?: boolean
  /** Factor of the product. Default 1. */
  scale?: number
}

/**
 * Batched matrix product (..., M, K) x (..., K, N) -> (..., M, N), leading axes broadcast; both at least rank 2, float.
 * Throws ShapeError where inner extents differ.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  requireFloat('matmul', a, b)
  const { transposeA = false, transposeB = false, scale = 1 } = options
  if (a.rank < 2 || b.rank < 2) throw new ShapeError('matmul', [a.shape, b.shape], 'expected at least rank 2')
  const [m, k] = transposeA ? a.shape.slice(-2).reverse() : a.shape.slice(-2)
  const [kb, n] = transposeB ? b.shape.slice(-2).reverse() : b.shape.slice(-2)
  if (k !== kb) throw new ShapeError('matmul', [a.shape, b.shape], `expected equal inner extents, got ${k} and ${kb}`)
  const batchShape = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2))
  const batch = batchShape.reduce((x, y) => x * y, 1)
  return differentiable({
    name: 'matmul',
    inputs: [a, b],
    forward: () => {
      const out = empty(a.backend, [...batchShape, m, n], a.dtype)
      const target = operand(out, [batch, m, n], [m * n, n, 1])
      gemm(a.backend, batched(a, batchShape, batch), batched(b, batchShape, batch), target, {
        transposeA,
        transposeB,
        alpha: scale,
      })
      return out
    },
    save: () => [a, b],
    backward: ([g], [x, y], needed) => {
      const gradA = () =>
        transposeA
          ? matmul(y, g!, { transposeA: transposeB, transposeB: true, scale })
          : matmul(g!, y, { transposeB: !transposeB, scale })
      const gradB = () =>
        transposeB
          ? matmul(g!, x, { transposeA: true, transposeB: transposeA, scale })
          : matmul(x, g!, { transposeA: !transposeA, scale })
      return [needed[0] ? sumTo(gradA(), x.shape) : null, needed[1] ? sumTo(gradB(), y.shape) : null]
    },
  })
}

/**
 * x W^T + bias with weight W (out, in), as PyTorch's linear: input (..., in) -> (..., out).
 * The weight may be stored in half precision; the result has the input's dtype, gradients of the weight its own.
 */
export function linear(input: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  requireFloat('linear', input, weight, bias)
  const [outFeatures, inFeatures] = weight.shape
  if (weight.rank !== 2 || input.shape[input.rank - 1] !== inFeatures)
    throw new ShapeError('linear', [input.shape, weight.shape], 'expected input (..., in) and weight (out, in)')
  if (bias && !sameShape(bias.shape, [outFeatures]))
    throw new ShapeError('linear', [bias.shape, weight.shape], `expected a bias of ${outFeatures}`)
  const mixed = autocastDtype()
  const made = { input, weight }
  return differentiable({
    name: 'linear',
    inputs: [input, weight, bias],
    forward: () => {
      if (mixed) {
        made.input = converted(input, mixed)
        made.weight = converted(weight, mixed)
      }
      const out = empty(input.backend, [...input.shape.slice(0, -1), outFeatures], made.input.dtype)
      const w = single(asRows(made.weight))
      gemm(input.backend, single(asRows(made.input)), w, single(asRows(out)), { transposeB: true, bias })
      return out
    },
    save: () => [made.input, made.weight],
    backward: ([gradOut], [x, w], needed) => {
      const g = mixed ? converted(gradOut!, mixed) : gradOut!
      return [
        needed[0] ? linearGradInput(g, w, input.shape, input.dtype) : null,
        needed[1] ? linearGradWeight(g, x, weight.dtype) : null,
        needed[2] ? biasGrad(g, bias!) : null,
      ]
    },
  })
}

/** gradOut (..., out) times weight (out, in). */
function linearGradInput(gradOut: Tensor, weight: Tensor, shape: Shape, dtype: Tensor['dtype']): Tensor {
  const grad = empty(gradOut.backend, shape, dtype)
  gemm(gradOut.backend, single(asRows(gradOut)), single(asRows(weight)), single(asRows(grad)))
  return grad
}

/** gradOut^T (out, rows) times input (rows, in). */
function linearGradWeight(gradOut: Tensor, input: Tensor, dtype: Tensor['dtype']): Tensor {
  const shape = [gradOut.shape[gradOut.rank - 1], input.shape[input.rank - 1]]
  const grad = empty(gradOut.backend, shape, dtype)
  gemm(gradOut.backend, single(asRows(gradOut)), single(asRows(input)), single(asRows(grad)), { transposeA: true })
  return grad
}

function biasGrad(gradOut: Tensor, bias: Tensor): Tensor {
  const axes = gradOut.shape.slice(0, -1).map((_, axis) => axis)
  return converted(reduceAxes('sum', gradOut, axes), bias.dtype)
}

/**
 * Each group's own linear map: input (..., G, in), weight (G, out, in) -> (..., G, out). What a grouped convolution of width
 * 1 computes.
 */
export function groupedLinear(input: Tensor, weight: Tensor): Tensor {
  requireFloat('groupedLinear', input, weight)
  const [groups, outFeatures, inFeatures] = weight.shape
  if (weight.rank !== 3 || input.rank < 2 || !sameShape(input.shape.slice(-2), [groups, inFeatures]))
    throw new ShapeError('groupedLinear', [input.shape, weight.shape], 'expected (..., G, in) and weight (G, out, in)')
  const mixed = autocastDtype()
  const made = { input, weight }
  return differentiable({
    name: 'groupedLinear',
    inputs: [input, weight],
    forward: () => {
      if (mixed) {
        made.input = converted(input, mixed)
        made.weight = converted(weight, mixed)
      }
      const out = empty(input.backend, [...input.shape.slice(0, -1), outFeatures], made.input.dtype)
      gemm(input.backend, groupsOf(made.input), dense(made.weight), groupsOf(out), { transposeB: true })
      return out
    },
    save: () => [made.input, made.weight],
    backward: ([gradOut], [x, w], needed) => {
      const g = mixed ? converted(gradOut!, mixed) : gradOut!
      const gradInput = () => {
        const grad = empty(g.backend, input.shape, input.dtype)
        gemm(g.backend, groupsOf(g), dense(w), groupsOf(grad))
        return grad
      }
      const gradWeight = () => {
        const grad = empty(g.backend, weight.shape, weight.dtype)
        gemm(g.backend, groupsOf(g), groupsOf(x), grad, { transposeA: true })
        return grad
      }
      return [needed[0] ? gradInput() : null, needed[1] ? gradWeight() : null]
    },
  })
}

/** A tensor (..., G, C) as the operand (G, rows, C), in its own memory where strides allow. */
function groupsOf(input: Tensor): Operand {
  const [groups, columns] = input.shape.slice(-2)
  const strided = denseLast(input)
  const merged = mergeLeading(strided.shape, strided.strides, 2)
  const source = merged ? strided : dense(input)
  const { rows, stride } = merged ?? mergeLeading(source.shape, source.strides, 2)!
  return operand(source, [groups, rows, columns], [source.strides[source.rank - 2], stride, 1])
}

/** Internal products for fused operations: out (rows, n) = a (rows, k) x b, with transposes. */
export function gemmInto(a: Tensor, b: Tensor, out: Tensor, options: GemmOptions = {}): void {
  for (const side of [a, b])
    if (!isFloat(side.dtype)) throw new DtypeError('gemm', [side.dtype], 'expected floating-point operands')
  gemm(a.backend, single(asRows(a)), single(asRows(b)), single(operand(out, out.shape, out.strides)), options)
}
