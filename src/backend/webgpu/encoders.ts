// The kernels that this backend has.
import { attention, attentionGrad } from './attention.wgsl.js'
import { causalConv1d, causalConv1dGrad } from './conv.wgsl.js'
import { convolution, convolutionGradInput, convolutionGradWeight } from './convolution.wgsl.js'
import { gather, scatterAdd } from './gather.wgsl.js'
import { gemm } from './gemm.wgsl.js'
import { gridSample, gridSampleGrad } from './gridSample.wgsl.js'
import { groupNorm, groupNormGrad, groupStatistics } from './groupNorm.wgsl.js'
import type { Encoders } from './launcher.js'
import { crossEntropy } from './loss.wgsl.js'
import { mambaStepIn, mambaStepScan } from './mambaStep.wgsl.js'
import { layerNorm, layerNormGrad, rmsNorm, rmsNormGrad } from './norms.wgsl.js'
import { adamW } from './optimizer.wgsl.js'
import * as pointwise from './pointwise.wgsl.js'
import { dropout, random } from './random.wgsl.js'
import { reduce } from './reduce.wgsl.js'
import { maxPool, maxPoolGrad, resample } from './resample.wgsl.js'
import { rotary } from './rotary.wgsl.js'
import { softmax, softmaxGrad } from './rows.wgsl.js'
import { sample } from './sample.wgsl.js'
import { selectiveScan } from './scan.wgsl.js'
import { selectiveScanGrad } from './scanGrad.wgsl.js'

export const encoders: Encoders = {
  ...pointwise,
  reduce,
  softmax,
  softmaxGrad,
  rmsNorm,
  rmsNormGrad,
  layerNorm,
  layerNormGrad,
  groupStatistics,
  groupNorm,
  groupNormGrad,
  resample,
  maxPool,
  maxPoolGrad,
  gridSample,
  gridSampleGrad,
  gemm,
  crossEntropy,
  gather,
  scatterAdd,
  causalConv1d,
  causalConv1dGrad,
  convolution,
  convolutionGradInput,
  convolutionGradWeight,
  selectiveScan,
  selectiveScanGrad,
  mambaStepIn,
  mambaStepScan,
  attention,
  attentionGrad,
  rotary,
  adamW,
  random,
  dropout,
  sample,
}
