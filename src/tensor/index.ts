// The tensor layer's public surface.
export type { Backend, DeviceName, Dtype } from '../backend/types.js'
export { autocast, autocastDtype } from './autocast.js'
export {
  backward,
  checkpoint,
  type DifferentiableOperation,
  differentiable,
  grad,
  isRecomputing,
  isRecorded,
  noGrad,
} from './autograd.js'
export { full, ones, type TensorData, type TensorOptions, tensor, tensorFromBytes, zeros } from './create.js'
export { defaultBackend, setDefaultBackend, withBackend } from './device.js'
export * from './ops/attention.js'
export { type CausalConv1dOptions, causalConv1d, type WithState } from './ops/convolution.js'
export * from './ops/convolutionNd.js'
export * from './ops/denseLosses.js'
export * from './ops/elementwise.js'
export { embedding } from './ops/embedding.js'
export { groupedLinear, linear, type MatmulOptions, matmul } from './ops/linear.js'
export * from './ops/losses.js'
export { addProjected, mambaStepIn, mambaStepScan, residualStream, wholeStream } from './ops/mambaStep.js'
export * from './ops/normalization.js'
export * from './ops/norms.js'
export * from './ops/patches.js'
export * from './ops/pooling.js'
export { dropout, normal, type RandomOptions, randomIntegers, uniform } from './ops/random.js'
export * from './ops/reduce.js'
export {
  type InterpolateOptions,
  type InterpolationMode,
  interpolate,
  type PadMode,
  pad,
} from './ops/resample.js'
export * from './ops/sampling.js'
export { type ScanResult, type SelectiveScanOptions, selectiveScan } from './ops/scan.js'
export * from './ops/shape.js'
export { defaultRandom, RandomStream, withRandom } from './random.js'
export { keep, outsideScopes, Scope, scope } from './scope.js'
export { empty, Storage, Tensor, type TensorValues } from './tensor.js'
