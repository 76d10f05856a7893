// Cross-entropy, and its fusion with the last linear map of a language model, which never forms all logits at once.
import { launch } from '../../backend/kernels.js'
import { DtypeError, ShapeError } from '../../errors.js'
import { autocastDtype } from '../autocast.js'
import { differentiable, isRecorded } from '../autograd.js'
import { full } from '../create.js'
import { sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { cast, div, equal, mul, not, requireFloat } from './elementwise.js'
import { embedding } from './embedding.js'
import { gemmInto } from './linear.js'
import { asRows, converted, dense, operand } from './raw.js'
import { sum } from './reduce.js'
import { reshape } from './shape.js'

export interface CrossEntropyOptions {
  /** Targets of this value count for nothing. Default -100. */
  ignoreIndex?: number
  /** Default 0. */
  labelSmoothing?: number
  /** A weight for each class (V), float32. */
  classWeights?: Tensor | null
  /** 'mean' divides by the summed weights of the targets that count, as PyTorch does. Default 'mean'. */
  reduction?: 'mean' | 'sum' | 'none'
}

/** Cross-entropy of logits (..., V) against int32 targets (...), in nats. */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  requireFloat('crossEntropy', logits)
  checkTargets('crossEntropy', logits, targets)
  const { ignoreIndex = -100, labelSmoothing = 0, classWeights, reduction = 'mean' } = options
  const { backend } = logits
  const numbers = { ignoreIndex, labelSmoothing }
  const flatTargets = (t: Tensor) => operand(t, [targets.size], [1])
  const losses = differentiable({
    name: 'crossEntropy',
    inputs: [logits],
    forward: () => {
      const loss = empty(backend, targets.shape, 'float32')
      launch(
        backend,
        'crossEntropy',
        {
          logits: asRows(logits),
          targets: flatTargets(dense(targets)),
          classWeights,
          loss: operand(loss, [targets.size], [1]),
        },
        { ...numbers, scale: 1 },
      )
      return loss
    },
    save: () => [logits, targets, classWeights],
    backward: ([gradOut], [x, t, weights]) => {
      const gradLogits = empty(backend, x.shape, x.dtype)
      const rowScale = operand(dense(gradOut!), [targets.size], [1])
      launch(
        backend,
        'crossEntropy',
        {
          logits: asRows(x),
          targets: flatTargets(dense(t)),
          classWeights: weights,
          rowScale,
          gradLogits: asRows(gradLogits),
        },
        { ...numbers, scale: 1 },
      )
      return [gradLogits]
    },
  })
  if (reduction === 'none') return losses
  if (reduction === 'sum') return sum(losses)
  return div(sum(losses), targetWeight(targets, ignoreIndex, classWeights))
}

function checkTargets(operation: string, rows: Tensor, targets: Tensor): void {
  if (targets.dtype !== 'int32') throw new DtypeError(operation, [targets.dtype], 'expected int32 targets')
  if (!sameShape(targets.shape, rows.shape.slice(0, -1)))
    throw new ShapeError(operation, [rows.shape, targets.shape], 'expected one target for every row')
}

/** Summed weight of the targets that count, shape (). */
function targetWeight(targets: Tensor, ignoreIndex: number, classWeights?: Tensor | null): Tensor {
  const counted = cast(not(equal(targets, ignoreIndex)), 'float32')
  if (!classWeights) return sum(counted)
  const inRange = mul(targets, cast(counted, 'int32'))
  const weights = embedding(reshape(classWeights, [classWeights.size, 1]), inRange)
  return sum(mul(reshape(weights, targets.shape), counted))
}

/** Rows of hidden states whose logits are formed at a time, twice as many in half precision: enough for full matrix speed, little memory. */
const rowsPerChunk = 512
/** What gradients of logits are multiplied by where they are stored as float16, whose smallest normal value is 6e-5. */
const halfGradScale = 1024

/**
 * Mean cross-entropy of hidden (..., d) times weight (V, d) transposed, against int32 targets (...), in nats.
 * Logits exist for a chunk of rows at a time; where a gradient will be wanted it is computed in the same pass.
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: Pick<CrossEntropyOptions, 'ignoreIndex' | 'labelSmoothing'> = {},
): Tensor {
  requireFloat('linearCrossEntropy', hidden, weight)
  checkTargets('linearCrossEntropy', hidden, targets)
  const { ignoreIndex = -100, labelSmoothing = 0 } = options
  const { backend } = hidden
  const d = weight.shape[1]
  const vocabulary = weight.shape[0]
  const total = targets.size
  const wanted = isRecorded([hidden, weight])
  const mixed = autocastDtype()
  const gradScale = mixed ? halfGradScale : 1
  const chunkRows = mixed ? 2 * rowsPerChunk : rowsPerChunk
  const grads = { hidden: null as Tensor | null, weight: null as Tensor | null }
  return differentiable({
    name: 'linearCrossEntropy',
    inputs: [hidden, weight],
    forward: () => {
      const rows = converted(reshape(dense(hidden), [total, d]), mixed ?? hidden.dtype)
      const matrix = converted(weight, mixed ?? weight.dtype)
      const flat = reshape(dense(targets), [total])
      const losses = empty(backend, [total], 'float32')
      const logits = empty(backend, [Math.min(chunkRows, total), vocabulary], mixed ?? 'float32')
      if (wanted) {
        grads.hidden = empty(backend, [total, d], mixed ? 'float32' : hidden.dtype)
        grads.weight = full(weight.shape, 0, { backend })
      }
      for (let start = 0; start < total; start += chunkRows) {
        const count = Math.min(chunkRows, total - start)
        const part = (t: Tensor, width: number) =>
          t.view(width ? [count, width] : [count], width ? [width, 1] : [1], t.offset + start * (width || 1))
        const chunk = logits.view([count, vocabulary])
        gemmInto(part(rows, d), matrix, chunk, { transposeB: true })
        launch(
          backend,
          'crossEntropy',
          {
            logits: chunk,
            targets: part(flat, 0),
            loss: part(losses, 0),
            gradLogits: wanted ? chunk : null,
          },
          { ignoreIndex, labelSmoothing, scale: gradScale },
        )
        if (!wanted) continue
        gemmInto(chunk, matrix, part(grads.hidden!, d))
        gemmInto(chunk, part(rows, d), grads.weight!, { transposeA: true, accumulate: true })
      }
      return div(sum(losses), targetWeight(targets, ignoreIndex))
    },
    save: () => [grads.hidden, grads.weight, targets],
    backward: ([gradOut], [gradHidden, gradWeight, savedTargets]) => {
      const factor = mul(div(gradOut!, targetWeight(savedTargets, ignoreIndex)), 1 / gradScale)
      const scaled = mul(gradWeight, factor)
      return [reshape(mul(gradHidden, cast(factor, gradHidden.dtype)), hidden.shape), cast(scaled, weight.dtype)]
    },
  })
}
