// RMSNorm and LayerNorm with the residual added on the way in, and their gradients: a workgroup a row; the gradients of
// weight and bias are column sums in two stages.
import type { Operand } from '../types.js'
import { ceilDiv, type Encoder, type Launcher, present, read, strideFields, write } from './launcher.js'
import { sumParts } from './reduce.wgsl.js'
import { groupReductions, rowEntry, rowGrid, rowLanes } from './rows.wgsl.js'

type Forward = Parameters<Encoder<'layerNorm'>>[1]
type Backward = Omit<Parameters<Encoder<'layerNormGrad'>>[1], 'mean'> & { readonly mean?: Operand | null }

export const rmsNorm: Encoder<'rmsNorm'> = (launcher, operands, { eps }) => normalize(launcher, operands, eps, false)
export const layerNorm: Encoder<'layerNorm'> = (launcher, operands, { eps }) => normalize(launcher, operands, eps, true)
export const rmsNormGrad: Encoder<'rmsNormGrad'> = (launcher, operands) => gradient(launcher, operands)
export const layerNormGrad: Encoder<'layerNormGrad'> = (launcher, operands) => gradient(launcher, operands)

function normalize(launcher: Launcher, operands: Forward, eps: number, centred: boolean): void {
  const { input, residual, weight, bias, out, sum, mean, rstd } = operands
  const [rows, n] = input.shape
  const lanes = rowLanes(launcher.traits, rows, n)
  const bindings = present({
    x: read(input),
    residual: residual && read(residual),
    weight: weight && read(weight),
    bias: bias && read(bias),
    out: write(out),
    sum: sum && write(sum),
    mean: mean && write(mean),
    rstd: rstd && write(rstd),
  })
  const valueAt = (i: string) =>
    `x_get(group * args.x_s0 + ${i})${residual ? ` + residual_get(group * args.residual_s0 + ${i})` : ''}`
  const each = (text: string) => `for (var i = lane; i < args.n; i += ${lanes}u) { let v = ${valueAt('i')}; ${text} }`
  launcher.dispatch({
    label: `norm.${centred}.${lanes}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), rows, n },
    floats: { eps, scale: 1 / n },
    code: () => `${groupReductions(lanes)}
${rowEntry(lanes)}
  if (group >= args.rows) { return; }
  var total = 0.0;
  ${
    // The mean of differences from the first value is exact where all values are one.
    centred
      ? `let first = ${valueAt('0u')}; ${each('total += v - first;')}
  let centre = first + groupSum(total, lane) * args.scale; total = 0.0;`
      : 'let centre = 0.0;'
  }
  ${each('total += (v - centre) * (v - centre);')}
  let scale = inverseSqrt(groupSum(total, lane) * args.scale + args.eps);
  ${each(`${sum ? 'sum_set(group * args.sum_s0 + i, v);' : ''}
    out_set(group * args.out_s0 + i, (v - centre) * scale${weight ? ' * weight_get(i)' : ''}${bias ? ' + bias_get(i)' : ''});`)}
  if (lane == 0u) { ${rstd ? 'rstd_set(group, scale);' : ''} ${mean ? 'mean_set(group, centre);' : ''} }
}`,
    workgroups: rowGrid(rows, lanes),
  })
}

function gradient(launcher: Launcher, operands: Backward): void {
  const { input, weight, mean, rstd, gradOut, gradSum, gradIn, gradWeight, gradBias } = operands
  const [rows, n] = input.shape
  const lanes = rowLanes(launcher.traits, rows, n)
  const bindings = present({
    x: read(input),
    weight: weight && read(weight),
    mean: mean && read(mean),
    rstd: read(rstd),
    g: read(gradOut),
    gradSum: gradSum && read(gradSum),
    out: write(gradIn),
  })
  const each = (text: string) => `for (var i = lane; i < args.n; i += ${lanes}u) {
    let normal = (x_get(group * args.x_s0 + i) - centre) * scale;
    let g = g_get(group * args.g_s0 + i)${weight ? ' * weight_get(i)' : ''};
    ${text} }`
  launcher.dispatch({
    label: `normGrad.${lanes}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), rows, n },
    floats: { scale: 1 / n },
    code: () => `${groupReductions(lanes)}
${rowEntry(lanes)}
  if (group >= args.rows) { return; }
  let centre = ${mean ? 'mean_get(group)' : '0.0'};
  let scale = rstd_get(group);
  var dot = 0.0;
  var total = 0.0;
  ${each('dot += g * normal; total += g;')}
  dot = groupSum(dot, lane) * args.scale;
  ${mean ? 'total = groupSum(total, lane) * args.scale;' : 'total = 0.0;'}
  ${each(`out_set(group * args.out_s0 + i, scale * (g - total - normal * dot)${gradSum ? ' + gradSum_get(group * args.gradSum_s0 + i)' : ''});`)}
}`,
    workgroups: rowGrid(rows, lanes),
  })
  if (gradWeight || gradBias) parameterGradients(launcher, operands)
}

/** gradWeight = sum over rows of gradOut times the normalised input, gradBias that of gradOut. */
function parameterGradients(launcher: Launcher, operands: Backward): void {
  const { input, mean, rstd, gradOut, gradWeight, gradBias } = operands
  const [rows, n] = input.shape
  const parts = Math.max(1, Math.min(ceilDiv(launcher.traits.fillingInvocations, n), ceilDiv(rows, 16), 256))
  const sums = launcher.scratch('float32', [2, parts, n])
  const bindings = present({
    x: read(input),
    mean: mean && read(mean),
    rstd: read(rstd),
    g: read(gradOut),
    sums: write(sums),
  })
  const lanes = 64
  launcher.dispatch({
    label: `normGrad.parameters.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), rows, n, parts, per_part: ceilDiv(rows, parts) },
    code: () => `
@compute @workgroup_size(${lanes}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  let part = id.y;
  if (i >= args.n) { return; }
  var weight = 0.0;
  var bias = 0.0;
  let last = min(args.rows, (part + 1u) * args.per_part);
  for (var r = part * args.per_part; r < last; r++) {
    let g = g_get(r * args.g_s0 + i);
    bias += g;
    weight += g * (x_get(r * args.x_s0 + i)${mean ? ' - mean_get(r)' : ''}) * rstd_get(r);
  }
  sums_set(part * args.n + i, weight);
  sums_set((args.parts + part) * args.n + i, bias);
}`,
    workgroups: [ceilDiv(n, lanes), parts, 1],
  })
  const half = (index: number): Operand => ({
    ...sums,
    offset: sums.offset + index * parts * n,
    shape: [parts, n],
    strides: [n, 1],
  })
  if (gradWeight) sumParts(launcher, half(0), gradWeight)
  if (gradBias) sumParts(launcher, half(1), gradBias)
}
