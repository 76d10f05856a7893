// Cross-entropy of logits and its gradient in one kernel: a workgroup a row.
import { kernelCode } from './errorCodes.js'
import { type Encoder, present, read, strideFields, write } from './launcher.js'
import { nanSafe } from './math.wgsl.js'
import { groupReductions, lowest, rowEntry, rowGrid, rowLanes } from './rows.wgsl.js'

export const crossEntropy: Encoder<'crossEntropy'> = (launcher, operands, numbers) => {
  const { logits, targets, classWeights, rowScale, loss, gradLogits } = operands
  const { ignoreIndex, labelSmoothing, scale } = numbers
  const [rows, V] = logits.shape
  const lanes = rowLanes(launcher.traits, rows, V)
  const bindings = present({
    x: read(logits),
    targets: read(targets),
    weights: classWeights && read(classWeights),
    rows: rowScale && read(rowScale),
    loss: loss && write(loss),
    grad: gradLogits && write(gradLogits),
    errors: launcher.errors,
  })
  const each = (text: string) => `for (var i = lane; i < args.V; i += ${lanes}u) { ${text} }`
  const weight = (i: string) => (classWeights ? `weights_get(${i})` : '1.0')
  launcher.dispatch({
    label: `crossEntropy.${lanes}.${Object.keys(bindings).join()}`,
    bindings,
    integers: {
      ...strideFields(bindings),
      targets_step: targets.strides[0],
      row_count: rows,
      V,
      ignored: ignoreIndex | 0,
      kernel: kernelCode('crossEntropy'),
    },
    floats: { smoothing: labelSmoothing, scale },
    code: () => `${nanSafe}${groupReductions(lanes)}
${rowEntry(lanes)}
  if (group >= args.row_count) { return; }
  let x_0 = group * args.x_s0;
  let target_ = targets_get(group * args.targets_step);
  let inside = u32(target_) < args.V;
  let counted = inside && target_ != bitcast<i32>(args.ignored);
  if (!inside && target_ != bitcast<i32>(args.ignored) && lane == 0u) { reportIndex(args.kernel, target_, args.V); }
  let t = select(0u, u32(target_), inside);
  let own = select(0.0, (1.0 - args.smoothing) * ${weight('t')}, counted);
  let spread = select(0.0, args.smoothing / f32(args.V), counted);
  let targetLogit = x_get(x_0 + t);
  var most = ${lowest};
  ${each('most = max(most, x_get(x_0 + i));')}
  most = groupMax(most, lane);
  var total = 0.0;
  var spreadSum = 0.0;
  var weightSum = 0.0;
  ${each(`let v = x_get(x_0 + i) - most; total += expOf(v); let w = ${weight('i')}; weightSum += w; spreadSum += w * v;`)}
  total = groupSum(total, lane);
  weightSum = groupSum(weightSum, lane);
  spreadSum = groupSum(spreadSum, lane);
  let logTotal = logOf(total);
  ${
    loss
      ? `if (lane == 0u) {
    loss_set(group, select(0.0, own * (logTotal - (targetLogit - most)) + spread * (logTotal * weightSum - spreadSum), counted));
  }`
      : ''
  }
  ${
    gradLogits
      ? `let factor = args.scale${rowScale ? ' * rows_get(group)' : ''};
  ${each(`let p = expOf(x_get(x_0 + i) - most) / total;
    let g = own * (p - select(0.0, 1.0, i == t)) + spread * (p * weightSum - ${weight('i')});
    grad_set(group * args.grad_s0 + i, select(0.0, g * factor, counted));`)}`
      : ''
  }
}`,
    workgroups: rowGrid(rows, lanes),
  })
}
