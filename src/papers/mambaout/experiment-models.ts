// The networks that the experiment compares: gated convolutions at the size of CIFAR-10, and the same with a state-space
// model behind every convolution.
import { GatedCnnBlock, GatedCnnMini } from '../../models/gated-cnn.js'
import type { ScanPattern } from '../../ssm/scan-paths.js'
import { MapScan } from '../../ssm/ss2d.js'
import { silu, type Tensor } from '../../tensor/index.js'

/** A block whose convolved channels go through selective scans: c <- SSM(silu(c)). */
class ScannedBlock extends GatedCnnBlock {
  readonly #scan: MapScan
  constructor(channels: number, pattern: ScanPattern) {
    super(channels)
    this.#scan = this.child('ssm', new MapScan({ channels, states: 4, rank: Math.ceil(channels / 16), pattern }))
  }
  protected override mix(convolved: Tensor): Tensor {
    return this.#scan.scan(silu(convolved))
  }
}

export const widths = [24, 48, 96]

/** Without scans, or with those of a pattern; a `stemStride` of 2 makes the published stem, whose grid is a quarter. */
export const miniOf = (pattern: ScanPattern | null, stemStride: 1 | 2 = 1): GatedCnnMini =>
  new GatedCnnMini(widths, pattern ? (channels) => new ScannedBlock(channels, pattern) : undefined, stemStride)
