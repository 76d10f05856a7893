// The table of kernels: the names, operands and numbers that an operation record may carry. Native, WebAssembly, WebGPU
// and the float64 reference implement exactly these; nothing else crosses the line between tensors and backends.
//
// Letters: B batch, L length, D inner channels, N state size, G groups, K convolution width, H heads, P head dimension,
// V vocabulary, R rows. All arithmetic is in float32, whatever the storage. Unless an entry says otherwise an operand
// may have any row strides but a dense last axis, floats may be float32, float16 or bfloat16, and outputs must not
// overlap inputs.
import type { Backend, Operand } from './types.js'

/** r read, w written, rw updated in place; `?` may be absent. */
type Access = 'r' | 'w' | 'rw' | 'r?' | 'w?' | 'rw?'
interface KernelEntry {
  readonly operands: Readonly<Record<string, Access>>
  readonly numbers: readonly string[]
}

/** Element-wise functions of one value, in the order of their codes; alpha and beta parametrise some. */
export const unaryFunctions = [
  'neg',
  'abs',
  'exp',
  'log',
  'sqrt',
  'rsqrt',
  'square',
  'reciprocal',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'silu',
  'relu',
  'relu6',
  'gelu',
  'geluTanh',
  'softplus',
  'elu',
  'leakyRelu',
  'hardsigmoid',
  'hardswish',
  'mish',
  'logSigmoid',
  'affine',
  'clamp',
  'sign',
  'floor',
  'expm1',
  'log1p',
  'erf',
  'pow',
  'not',
] as const
export type UnaryFunction = (typeof unaryFunctions)[number]

/** Element-wise functions of two values, in the order of their codes. Comparisons write bool. NaN in max or min gives NaN. */
export const binaryFunctions = [
  'add',
  'sub',
  'mul',
  'div',
  'max',
  'min',
  'pow',
  'equal',
  'notEqual',
  'less',
  'lessEqual',
  'greater',
  'greaterEqual',
  'and',
  'or',
] as const
export type BinaryFunction = (typeof binaryFunctions)[number]

/** Reductions of one axis, in the order of their codes. argmax and argmin write int32, the first extreme wins; any NaN wins. */
export const reductions = ['sum', 'mean', 'max', 'min', 'sumSquares', 'argmax', 'argmin'] as const
export type Reduction = (typeof reductions)[number]

/** Functions that a GEMM may apply to its result, in the order of their codes. */
export const activations = ['none', 'silu', 'relu', 'gelu', 'geluTanh', 'sigmoid', 'tanh', 'softplus'] as const
export type Activation = (typeof activations)[number]

/** Distributions of `random`, in the order of their codes: uniform in [alpha, beta), normal of mean alpha and deviation beta, int32 uniform in [alpha, beta). */
export const distributions = ['uniform', 'normal', 'integer'] as const
export type Distribution = (typeof distributions)[number]

/** Per axis, then the number of groups. */
const convolutionNumbers = [
  'strideT',
  'strideH',
  'strideW',
  'dilationT',
  'dilationH',
  'dilationW',
  'paddingT',
  'paddingH',
  'paddingW',
  'groups',
] as const
export type ConvolutionNumbers = Record<(typeof convolutionNumbers)[number], number>

export const kernels = {
  /** Sets every element of `out` (any strides, any dtype) to `value`. */
  fill: { operands: { out: 'w' }, numbers: ['value'] },
  /** Copies elements with any strides on both sides, converting the dtype (floats to integers truncate, to bool by != 0). Rank <= 6, equal shapes. */
  copy: { operands: { input: 'r', out: 'w' }, numbers: [] },
  /** out = f(input), f = unaryFunctions[function]. affine: alpha*x + beta; clamp: to [alpha, beta]; leakyRelu, elu: slope or scale alpha; softplus: log(1+e^x), x above 20; pow: x^alpha; not: bool. `out` may be `input`. */
  unary: { operands: { input: 'r', out: 'w' }, numbers: ['function', 'alpha', 'beta'] },
  /** gradIn = gradOut * f'(input). `gradIn` may be `gradOut`. */
  unaryGrad: { operands: { input: 'r', gradOut: 'r', gradIn: 'w' }, numbers: ['function', 'alpha', 'beta'] },
  /** out = f(a, b); a, b and out have out's shape (any strides, 0 where broadcast). a, b of one dtype (float, int32 or bool). `out` may be `a` or `b`. */
  binary: { operands: { a: 'r', b: 'r', out: 'w' }, numbers: ['function'] },
  /** out = condition ? a : b; all of out's shape, any strides; condition bool. */
  select: { operands: { condition: 'r', a: 'r', b: 'r', out: 'w' }, numbers: [] },
  /** out = alpha*a + beta*b, one shape. `out` may be `a` or `b`. */
  axpby: { operands: { a: 'r', b: 'r', out: 'w' }, numbers: ['alpha', 'beta'] },
  /** input (R, n, inner) -> out (R, inner) contiguous. Sums are pairwise or by fixed blocks, the same for any number of threads. */
  reduce: { operands: { input: 'r', out: 'w' }, numbers: ['reduction'] },
  /** Rows (R, n): out = softmax(input), or its logarithm where `log` is 1. */
  softmax: { operands: { input: 'r', out: 'w' }, numbers: ['log'] },
  /** Gradient of softmax from its output. */
  softmaxGrad: { operands: { output: 'r', gradOut: 'r', gradIn: 'w' }, numbers: ['log'] },
  /** Rows (R, n): sum = input + residual (where residual is given); out = sum * rsqrt(mean(sum^2) + eps) * weight. `rstd` (R) float32 is kept for the gradient. */
  rmsNorm: {
    operands: { input: 'r', residual: 'r?', weight: 'r?', out: 'w', sum: 'w?', rstd: 'w?' },
    numbers: ['eps'],
  },
  /** Gradient of rmsNorm at `input` (the sum, where there was a residual). gradSum, if given, is added to gradIn. gradWeight (n) is written. */
  rmsNormGrad: {
    operands: { input: 'r', weight: 'r?', rstd: 'r', gradOut: 'r', gradSum: 'r?', gradIn: 'w', gradWeight: 'w?' },
    numbers: [],
  },
  /** As rmsNorm, with mean subtraction and bias; `mean`, `rstd` (R) float32 are kept for the gradient. */
  layerNorm: {
    operands: { input: 'r', residual: 'r?', weight: 'r?', bias: 'r?', out: 'w', sum: 'w?', mean: 'w?', rstd: 'w?' },
    numbers: ['eps'],
  },
  layerNormGrad: {
    operands: {
      input: 'r',
      weight: 'r?',
      mean: 'r',
      rstd: 'r',
      gradOut: 'r',
      gradSum: 'r?',
      gradIn: 'w',
      gradWeight: 'w?',
      gradBias: 'w?',
    },
    numbers: [],
  },
  /** Mean and biased variance of input (B, S, C) over S and the C/G channels of each group: mean, variance (B, G) float32, contiguous. Two passes or as accurate: a mean far from 0 costs no digits of the variance. */
  groupStatistics: { operands: { input: 'r', mean: 'w', variance: 'w' }, numbers: [] },
  /** input (B, S, C), mean and variance (B, G): out = (input - mean) / sqrt(variance + eps) * weight + bias, channel c in group floor(c G / C). */
  groupNorm: {
    operands: { input: 'r', mean: 'r', variance: 'r', weight: 'r?', bias: 'r?', out: 'w' },
    numbers: ['eps'],
  },
  /** Gradients of groupNorm, through the statistics too, unless `fixed` is 1: then they are constants. */
  groupNormGrad: {
    operands: {
      input: 'r',
      mean: 'r',
      variance: 'r',
      weight: 'r?',
      gradOut: 'r',
      gradIn: 'w',
      gradWeight: 'w?',
      gradBias: 'w?',
    },
    numbers: ['eps', 'fixed'],
  },
  /** input (R, n, inner) -> out (R, m, inner): out[r,i,:] = sum_t weight[i,t] input[r,index[i,t],:]. index int32 and weight float32 (m, T), contiguous; an index outside [0, n) adds nothing. Interpolation, average pooling and padding of one axis, and their gradients by the transposed table. */
  resample: { operands: { input: 'r', index: 'r', weight: 'r', out: 'w' }, numbers: [] },
  /** input (R, n, inner) -> out (R, m, inner): the largest of input[r,index[i,t],:] over t; any NaN wins. index (m, T) int32, contiguous; an index outside [0, n) is passed over. winner (R, m, inner) int32, contiguous: the index of the first largest. Where a window holds nothing, out is -infinity and winner -1. */
  maxPool: { operands: { input: 'r', index: 'r', out: 'w', winner: 'w?' }, numbers: [] },
  /** gradIn[r,j,:] = sum of gradOut[r,i,:] over those i = index[j,t] whose winner[r,i,:] is j; index (n, T) int32: the windows that hold position j, -1 for none. */
  maxPoolGrad: { operands: { winner: 'r', gradOut: 'r', index: 'r', gradIn: 'w' }, numbers: [] },
  /** Values of input (B, depth height width, C) at the points of grid (B, N, 2 or 3) float32: (x, y) or (x, y, z), -1 and 1 being the middles of the first and last cells where `alignCorners` is 1, else their outer edges. out (B, N, C). `filter`: 0 linear, 1 nearest (halves to even), 2 cubic (A = -0.75). `outside`: 0 zeros, 1 the border's value, 2 reflected at the edges. A NaN coordinate gives NaN. */
  gridSample: {
    operands: { input: 'r', grid: 'r', out: 'w' },
    numbers: ['depth', 'height', 'width', 'filter', 'outside', 'alignCorners'],
  },
  /** Gradients of gridSample; points with a NaN coordinate add nothing to gradIn, and have NaN in gradGrid. */
  gridSampleGrad: {
    operands: { input: 'r', grid: 'r', gradOut: 'r', gradIn: 'w?', gradGrid: 'w?' },
    numbers: ['depth', 'height', 'width', 'filter', 'outside', 'alignCorners'],
  },
  /** out (batch, M, N) = activation(alpha * op(a) op(b) + bias) (+ out where `accumulate` is 1, without bias or activation). a is (batch, M, K), or (batch, K, M) with transposeA; b (batch, K, N), or (batch, N, K) with transposeB; bias (N). All rank 3; a batch stride of 0 repeats an operand. `out` has any row stride. */
  gemm: {
    operands: { a: 'r', b: 'r', bias: 'r?', out: 'rw' },
    numbers: ['transposeA', 'transposeB', 'alpha', 'accumulate', 'activation'],
  },
  /** Rows of logits (R, V), int32 targets (R): loss[r] = -(1-s) w[t] log p[t] - s/V sum_c w[c] log p[c], 0 where t = ignoreIndex. gradLogits = d loss[r] / d logits * rowScale[r] * scale. `gradLogits` may be `logits`. classWeights (V), rowScale (R) float32. A target outside [0, V) is an index error and gives 0. */
  crossEntropy: {
    operands: { logits: 'r', targets: 'r', classWeights: 'r?', rowScale: 'r?', loss: 'w?', gradLogits: 'w?' },
    numbers: ['ignoreIndex', 'labelSmoothing', 'scale'],
  },
  /** Draws an index of each row of logits (B, n) into out (B) int32. Its weight is exp((logit - the row's largest) / temperature), temperature > 0; kept are the topK largest (0: all, the first of equals), of these the largest that together reach the share topP of their weight, of these those whose weight is at least minP. The first index, in order, at which the sum of the weights kept reaches uniform[b] of their total; uniform (B) float32 in [0, 1]. */
  sample: {
    operands: { logits: 'r', uniform: 'r', out: 'w' },
    numbers: ['temperature', 'topK', 'topP', 'minP'],
  },
  /** out[r, :] = table[ids[r], :]; table (V, n), ids (R) int32. An id outside [0, V) is an index error and gives zeros. */
  gather: { operands: { table: 'r', ids: 'r', out: 'w' }, numbers: [] },
  /** table[ids[r], :] += rows[r, :], float32, rows added in order of r. An id outside is an index error and adds nothing. */
  scatterAdd: { operands: { rows: 'r', ids: 'r', table: 'rw' }, numbers: [] },
  /** Causal depth-wise convolution over time: out[b,t,d] = f(bias[d] + sum_k weight[d,0,k] x[b,t-K+1+k,d]), f = silu where `silu` is 1. input (B, L, D), weight (D, 1, K), bias (D). Inputs before the first come from initialState (B, K, D), the last K inputs, oldest first (its first row is never used), or are 0. resets (B, L) uint8: 1 starts a new sequence, whose past is 0. finalState (B, K, D), may be initialState. `reverse` runs the steps from last to first. */
  causalConv1d: {
    operands: { input: 'r', weight: 'r', bias: 'r?', initialState: 'r?', resets: 'r?', out: 'w', finalState: 'w?' },
    numbers: ['silu', 'reverse'],
  },
  causalConv1dGrad: {
    operands: {
      input: 'r',
      weight: 'r',
      bias: 'r?',
      initialState: 'r?',
      resets: 'r?',
      gradOut: 'r',
      gradFinalState: 'r?',
      gradIn: 'w',
      gradWeight: 'w',
      gradBias: 'w?',
      gradInitialState: 'w?',
    },
    numbers: ['silu', 'reverse'],
  },
  /** Convolution over three axes, channels last (one or two axes: the first extents are 1): out[b,o,n] = bias[n] + sum_{k,c} weight[n,c,k] input[b, o stride - padding + k dilation, first + c], where what lies outside the input is 0 and output channel n of group g = floor(n groups / Cout) sees the Cin/groups channels from first = g Cin/groups on. input (B, T, H, W, Cin), weight (Cout, Cin/groups, KT, KH, KW), bias (Cout), out (B, T', H', W', Cout). `padding` is what lies before the first input; what lies after the last follows from the extents of `out`. NaN times what lies outside is NaN or left out. */
  convolution: {
    operands: { input: 'r', weight: 'r', bias: 'r?', out: 'w' },
    numbers: convolutionNumbers,
  },
  /** The gradient of convolution at its input, which is also the forward of a transposed convolution: then weight is (Cin, Cout/groups, ...), gradOut its input, gradIn its output and bias (channels of gradIn) is added. Inputs that no output sees get the bias, or 0. */
  convolutionGradInput: {
    operands: { gradOut: 'r', weight: 'r', bias: 'r?', gradIn: 'w' },
    numbers: convolutionNumbers,
  },
  /** The gradients of convolution at its weight and bias. */
  convolutionGradWeight: {
    operands: { input: 'r', gradOut: 'r', gradWeight: 'w', gradBias: 'w?' },
    numbers: convolutionNumbers,
  },
  /** The selective scan, over one sequence or over K directions of the same positions. u, delta, z, out (B, L, D); A (D, N) float32; B, C (B, L, G, N), channel d using group floor(d G / D), or (D, N) fixed; D, deltaBias (D) float32; states (B, D, N) float32.
   *  dt = delta + deltaBias, softplus(dt) where `softplus` is 1; h = exp(dt A) h + dt B u; y = C.h + D u; out = y silu(z).
   *  resets (B, L) uint8: 1 sets h to 0 before that step. path (L) int32: step t works at position path[t] of u, delta, z, B, C, resets, out, states. `reverse` runs the steps from last to first. states (B, L, D, N): every h. chunkStates (B, ceil(L/chunk), N, D): h before each chunk of steps (counted in the order they run, before any reset), for the gradient. finalState may be initialState. NaN in gives NaN out.
   *  Directions: path (K, T); direction k has channels [k D/K, (k+1) D/K) and takes its T steps along path[k], no position twice; a place outside [0, L) is an index error, and what is written then is arbitrary. u, delta and z may have D/K channels, the same for all directions; so may out, which then is the sum over the directions (0 where none came). G is 1 or a multiple of K. Where T = L every row is a permutation; else there are no states.
   *  `byStep` 1: delta, B and C, (B, T, ...), are those of step t, not of position path[t].
   *  `window` w > 1, at most 32: locally bidirectional. Inside each w steps (counted in the order they run; the last may be fewer) a second recurrence runs back from 0: g_t = exp(dt_t A) g_{t+1} + dt_t B_t u_t, and y_t = C.(h_t + exp(dt_t A) g_{t+1}) + D u_t. What is carried on, kept and returned is h alone. `chunk` is a multiple of w, and there are neither resets nor states. */
  selectiveScan: {
    operands: {
      u: 'r',
      delta: 'r',
      A: 'r',
      B: 'r',
      C: 'r',
      D: 'r?',
      z: 'r?',
      deltaBias: 'r?',
      initialState: 'r?',
      resets: 'r?',
      path: 'r?',
      out: 'w',
      finalState: 'w?',
      states: 'w?',
      chunkStates: 'w?',
    },
    numbers: ['softplus', 'reverse', 'chunk', 'window', 'byStep'],
  },
  /** Every gradient of selectiveScan at once; gradB and gradC have the shape of B and C, float32; what directions share has the sum of their gradients. Without chunkStates there is one chunk, from a state of zeros. */
  selectiveScanGrad: {
    operands: {
      u: 'r',
      delta: 'r',
      A: 'r',
      B: 'r',
      C: 'r',
      D: 'r?',
      z: 'r?',
      deltaBias: 'r?',
      resets: 'r?',
      path: 'r?',
      chunkStates: 'r?',
      gradOut: 'r',
      gradFinalState: 'r?',
      gradStates: 'r?',
      gradU: 'w',
      gradDelta: 'w',
      gradA: 'w',
      gradB: 'w',
      gradC: 'w',
      gradD: 'w?',
      gradZ: 'w?',
      gradDeltaBias: 'w?',
      gradInitialState: 'w?',
    },
    numbers: ['softplus', 'reverse', 'chunk', 'window', 'byStep'],
  },
  /** The first part of one step of a Mamba layer. stream (S, B, d) float32: its sum over S is the residual stream, and becomes part 0. [x, z] (B, 2D) = rmsNorm(stream) weight^T + bias; the rows of convState (B, K, D) float32 move up by one and x becomes the last; out (B, 2D) = [silu(convBias + sum_k convWeight[:, 0, k] convState[:, k]), z]. projected (P, B, M) float32 are the parts, by blocks of D / P channels, of x xWeight^T, xWeight (M, D); D / P is at most 1024. */
  mambaStepIn: {
    operands: {
      stream: 'rw',
      normWeight: 'r',
      weight: 'r',
      bias: 'r?',
      convWeight: 'r',
      convBias: 'r?',
      convState: 'rw',
      xWeight: 'r',
      out: 'w',
      projected: 'w',
    },
    numbers: ['eps'],
  },
  /** The second part: xz (B, 2D) = [x, z] of mambaStepIn, projected (P, B, R + 2N) the parts whose sum is [dt, B, C]. delta = softplus(dt dtWeight^T + dtBias), dtWeight (D, R); state (B, D, N) becomes exp(delta A) state + delta B x; out (B, D) = (C.state + D x) silu(z). projected, dtBias, A, D and state float32. */
  mambaStepScan: {
    operands: {
      xz: 'r',
      projected: 'r',
      dtWeight: 'r',
      dtBias: 'r',
      A: 'r',
      D: 'r',
      state: 'rw',
      out: 'w',
    },
    numbers: [],
  },
  /** Softmax attention without an L x S matrix. q, out (B, L, H, P), k, v (B, S, Hkv, P), head h uses key head floor(h Hkv / H). out = softmax(scale q k^T) v. `causal`: query t sees keys up to t + S - L; with keyLengths (B) int32 it sees keys below keyLengths[b], and up to t + keyLengths[b] - L where causal. logSumExp (B, H, L) float32 is kept for the gradient. A query that sees no key gives 0. */
  attention: {
    operands: { q: 'r', k: 'r', v: 'r', keyLengths: 'r?', out: 'w', logSumExp: 'w?' },
    numbers: ['scale', 'causal'],
  },
  attentionGrad: {
    operands: {
      q: 'r',
      k: 'r',
      v: 'r',
      keyLengths: 'r?',
      out: 'r',
      logSumExp: 'r',
      gradOut: 'r',
      gradQ: 'w',
      gradK: 'w',
      gradV: 'w',
    },
    numbers: ['scale', 'causal'],
  },
  /** Rotary position embedding of input (B, L, H, P) on its first `rotaryDim` channels: pairs (i, i + rotaryDim/2), or (2i, 2i+1) where `interleaved`, turn by position * base^(-2i/rotaryDim). positions (B, L) int32, absent: 0..L-1. `inverse` turns back (the gradient). `out` may be `input`. */
  rotary: {
    operands: { input: 'r', positions: 'r?', out: 'w' },
    numbers: ['base', 'rotaryDim', 'interleaved', 'inverse'],
  },
  /** out = f(gate) * value, one shape; f = activations[activation]. */
  gatedActivation: { operands: { gate: 'r', value: 'r', out: 'w' }, numbers: ['activation'] },
  gatedActivationGrad: {
    operands: { gate: 'r', value: 'r', gradOut: 'r', gradGate: 'w', gradValue: 'w' },
    numbers: ['activation'],
  },
  /** One AdamW step (decoupled decay) on contiguous float32 tensors. schedule (3) float32: learning rate, 1 - beta1^t, 1 - beta2^t. gradScale (1) float32 multiplies the gradient first; where it is not finite nothing is changed. master, if given, is the float32 copy of a half-precision parameter: it is updated and `parameter` rounded from it. */
  adamW: {
    operands: {
      parameter: 'rw',
      gradient: 'r',
      firstMoment: 'rw',
      secondMoment: 'rw',
      schedule: 'r',
      gradScale: 'r?',
      master: 'rw?',
    },
    numbers: ['beta1', 'beta2', 'epsilon', 'weightDecay'],
  },
  /** Philox4x32-10. Element i of `out` (contiguous) takes word i mod 4 of counter (offset + floor(i/4), stream) under key seed; `step` (1) int32, if given, is added to the stream. Normals are Box-Muller pairs of words (0,1) and (2,3). seed, stream, offset are integers below 2^53, split into low and high 32 bits. */
  random: {
    operands: { step: 'r?', out: 'w' },
    numbers: ['distribution', 'alpha', 'beta', 'seed', 'stream', 'offset'],
  },
  /** out = input / (1 - p) where uniform(seed, stream, offset) >= p, else 0; the uniforms of `random`. `out` may be `input`. */
  dropout: { operands: { input: 'r', step: 'r?', out: 'w' }, numbers: ['p', 'seed', 'stream', 'offset'] },
} as const satisfies Record<string, KernelEntry>

export type KernelName = keyof typeof kernels
type Operands<K extends KernelName> = (typeof kernels)[K]['operands']
type Optional<A> = A extends `${string}?` ? true : false
export type OperandsOf<K extends KernelName> = {
  [O in keyof Operands<K> as Optional<Operands<K>[O]> extends true ? never : O]: Operand
} & { [O in keyof Operands<K> as Optional<Operands<K>[O]> extends true ? O : never]?: Operand | null }
export type NumbersOf<K extends KernelName> = Record<(typeof kernels)[K]['numbers'][number], number>

interface Signature {
  readonly operandNames: readonly string[]
  readonly writes: readonly boolean[]
  readonly numberNames: readonly string[]
}

/** Names by position, and which operands a kernel writes. */
export const signatures = Object.fromEntries(
  Object.entries(kernels).map(([name, entry]: [string, KernelEntry]) => [
    name,
    {
      operandNames: Object.keys(entry.operands),
      writes: Object.values(entry.operands).map((access) => access.includes('w')),
      numberNames: entry.numbers,
    },
  ]),
) as unknown as Readonly<Record<KernelName, Signature>>

/** A record keeps what an operand was when it was enqueued: the tensor behind it may end before a capture is replayed. */
function plain(operand: Operand | null | undefined): Operand | null {
  if (!operand) return null
  const { buffer, offset, dtype, shape, strides } = operand
  return { buffer, offset, dtype, shape, strides }
}

/** Enqueues one kernel with named operands and numbers. */
export function launch<K extends KernelName>(
  backend: Backend,
  kernel: K,
  operands: OperandsOf<K>,
  numbers: NumbersOf<K>,
): void {
  const { operandNames, numberNames } = signatures[kernel]
  const byOperand = operands as Record<string, Operand | null | undefined>
  const byNumber = numbers as Record<string, number>
  backend.enqueue({
    kernel,
    operands: operandNames.map((name) => plain(byOperand[name])),
    numbers: numberNames.map((name) => byNumber[name]),
  })
}
