// The kernels that this backend has.

import { gemm } from './gemm.wgsl.js'
import type { Encoders } from './launcher.js'
import * as pointwise from './pointwise.wgsl.js'
import { softmax, softmaxGrad } from './rows.wgsl.js'
import { selectiveScan } from './scan.wgsl.js'
import { selectiveScanGrad } from './scanGrad.wgsl.js'

export const encoders: Encoders = { ...pointwise, gemm, softmax, softmaxGrad, selectiveScan, selectiveScanGrad }
