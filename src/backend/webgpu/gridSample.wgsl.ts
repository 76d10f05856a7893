// Sampling of a grid of cells at any points, and its gradients. The gradient of the cells is summed over the points in
// their order by an invocation a channel.
import type { NumbersOf, OperandsOf } from '../kernels.js'
import type { Operand } from '../types.js'
import { ceilDiv, type Encoder, type Launcher, linearEntry, linearGrid, read, update, write } from './launcher.js'
import { nanSafe } from './math.wgsl.js'

const invocations = 64
type Numbers = NumbersOf<'gridSample'>

/** A place within the axis for one outside, and the slope of that. */
const insideText = ({ outside, alignCorners }: Numbers) => {
  const fold = `let low = ${alignCorners ? '0.0' : '-0.5'};
  let span = ${alignCorners ? 'n - 1.0' : 'n'};
  if (span == 0.0) { return vec2<f32>(0.0, 0.0); }
  let turns = floor((x - low) / span);
  let rest = x - low - turns * span;
  let odd = (i32(turns) & 1) == 1;
  x = select(low + rest, low + span - rest, odd);
  slope = select(1.0, -1.0, odd);`
  return `fn inside(place: f32, n: f32) -> vec2<f32> {
  var x = place;
  var slope = 1.0;
  ${outside === 2 ? fold : ''}
  ${
    outside === 0
      ? ''
      : `if (x <= 0.0) { return vec2<f32>(0.0, 0.0); }
  if (x >= n - 1.0) { return vec2<f32>(n - 1.0, 0.0); }`
  }
  return vec2<f32>(x, slope);
}`
}

const countOf = ({ filter }: Numbers) => [2, 1, 4][filter]

/** taps(): the cells that a coordinate reads along an axis of n, their weights and the weights' slopes. */
const tapsText = (numbers: Numbers) => {
  const count = countOf(numbers)
  const body = [
    `let found = inside(limited, n);
  let low = floor(found.x);
  let f = found.x - low;
  t.at = array<i32, 2>(i32(low), i32(low) + 1);
  t.weight = array<f32, 2>(1.0 - f, f);
  t.slope = array<f32, 2>(-found.y * scale, found.y * scale);`,
    `t.at[0] = i32(round(inside(limited, n).x));
  t.weight[0] = 1.0;`,
    `let low = floor(limited);
  let f = limited - low;
  for (var k = 0; k < 4; k++) {
    let d = f - f32(k - 1);
    let x = abs(d);
    t.at[k] = i32(inside(low + f32(k - 1), n).x);
    t.weight[k] = select(((-0.75 * x + 3.75) * x - 6.0) * x + 3.0, (1.25 * x - 2.25) * x * x + 1.0, x < 1.0);
    t.slope[k] = scale * select(1.0, -1.0, d < 0.0) * select((-2.25 * x + 7.5) * x - 6.0, (3.75 * x - 4.5) * x, x < 1.0);
  }`,
  ][numbers.filter]
  return `${nanSafe}
${insideText(numbers)}
struct Taps { at: array<i32, ${count}>, weight: array<f32, ${count}>, slope: array<f32, ${count}> }
fn taps(coordinate: f32, cells: u32) -> Taps {
  let n = f32(cells);
  let scale = ${numbers.alignCorners ? '0.5 * (n - 1.0)' : '0.5 * n'};
  let place = ${numbers.alignCorners ? '(coordinate + 1.0) * scale' : '((coordinate + 1.0) * n - 1.0) * 0.5'};
  let limited = clamp(place, -4194304.0, 4194304.0);
  var t: Taps;
  ${body}
  return t;
}`
}

/** The taps of point i of member b along each axis, and whether all its coordinates are numbers. */
const pointText = (axes: number) => {
  const names = ['x', 'y', 'z'].slice(0, axes)
  return `let p_0 = b * args.grid_s0 + i * args.grid_s1;
  ${names.map((name, axis) => `let p${name} = grid_get(p_0 + ${axis}u);`).join(' ')}
  let known = ${names.map((name) => `!isNan(p${name})`).join(' && ')};
  ${names.map((name, axis) => `var t${name} = taps(p${name}, args.${['width', 'height', 'depth'][axis]});`).join(' ')}`
}

/** A loop over the cells that the point reads, as `cell`, with weights and slopes by axis. */
const eachCell = (axes: number, count: number, text: string) => {
  const loop = (
    name: string,
    extent: string,
    inner: string,
  ) => `for (var k${name} = 0; k${name} < ${count}; k${name}++) {
    let a${name} = t${name}.at[k${name}];
    if (a${name} < 0 || u32(a${name}) >= args.${extent}) { continue; }
    ${inner}
  }`
  const z = axes === 3 ? '(u32(az) * args.height + u32(ay))' : 'u32(ay)'
  const inner = loop('y', 'height', loop('x', 'width', `let cell = ${z} * args.width + u32(ax); ${text}`))
  return axes === 3 ? loop('z', 'depth', inner) : inner
}

const part = (axis: string, what: 'weight' | 'slope') => `t${axis}.${what}[k${axis}]`
const product = (axes: number, sloped?: number) =>
  ['x', 'y', 'z']
    .slice(0, axes)
    .map((name, axis) => part(name, axis === sloped ? 'slope' : 'weight'))
    .join(' * ')

const sizesOf = ({ depth, height, width }: Numbers, grid: Operand) => ({
  ...{ depth, height, width },
  ...{ grid_s0: grid.strides[0], grid_s1: grid.strides[1] },
})
const labelOf = ({ filter, outside, alignCorners }: Numbers, axes: number) =>
  `${axes}.${filter}.${outside}.${alignCorners}`

const entry = `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }`

export const gridSample: Encoder<'gridSample'> = (launcher, { input, grid, out }, numbers) => {
  const [batch, points, channels] = out.shape
  const axes = grid.shape[2]
  const items = batch * points * channels
  launcher.dispatch({
    label: `gridSample.${labelOf(numbers, axes)}`,
    bindings: { x: read(input), grid: read(grid), out: write(out) },
    integers: {
      ...sizesOf(numbers, grid),
      ...{ x_s0: input.strides[0], x_s1: input.strides[1], out_s0: out.strides[0], out_s1: out.strides[1] },
      ...{ points, channels, items },
    },
    code: () => `${tapsText(numbers)}
${entry}
  let c = item % args.channels;
  let i = item / args.channels % args.points;
  let b = item / args.channels / args.points;
  ${pointText(axes)}
  var total = bitcast<f32>(0x7fc00000u + args.items * 0u);
  if (known) {
    total = 0.0;
    ${eachCell(axes, countOf(numbers), `total += ${product(axes)} * x_get(b * args.x_s0 + cell * args.x_s1 + c);`)}
  }
  out_set(b * args.out_s0 + i * args.out_s1 + c, total);
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
}

export const gridSampleGrad: Encoder<'gridSampleGrad'> = (launcher, operands, numbers) => {
  if (operands.gradGrid) gradOfGrid(launcher, operands, operands.gradGrid, numbers)
  if (operands.gradIn) gradOfInput(launcher, operands, operands.gradIn, numbers)
}

type Gradient = OperandsOf<'gridSampleGrad'>

function gradOfGrid(launcher: Launcher, { input, grid, gradOut }: Gradient, target: Operand, numbers: Numbers): void {
  const [batch, points, channels] = gradOut.shape
  const axes = grid.shape[2]
  const names = ['x', 'y', 'z'].slice(0, axes)
  launcher.dispatch({
    label: `gridSampleGrad.grid.${labelOf(numbers, axes)}`,
    bindings: { x: read(input), grid: read(grid), g: read(gradOut), out: write(target) },
    integers: {
      ...sizesOf(numbers, grid),
      ...{ x_s0: input.strides[0], x_s1: input.strides[1], g_s0: gradOut.strides[0], g_s1: gradOut.strides[1] },
      ...{ out_s0: target.strides[0], out_s1: target.strides[1], points, channels, items: batch * points },
    },
    code: () => `${tapsText(numbers)}
${entry}
  let i = item % args.points;
  let b = item / args.points;
  ${pointText(axes)}
  let nan = bitcast<f32>(0x7fc00000u + args.items * 0u);
  ${names.map((name) => `var d${name} = select(nan, 0.0, known);`).join(' ')}
  if (known) {
    ${eachCell(
      axes,
      countOf(numbers),
      `var dot = 0.0;
    for (var c = 0u; c < args.channels; c++) {
      dot += x_get(b * args.x_s0 + cell * args.x_s1 + c) * g_get(b * args.g_s0 + i * args.g_s1 + c);
    }
    ${names.map((name, axis) => `d${name} += ${product(axes, axis)} * dot;`).join(' ')}`,
    )}
  }
  ${names.map((name, axis) => `out_set(b * args.out_s0 + i * args.out_s1 + ${axis}u, d${name});`).join(' ')}
}`,
    workgroups: linearGrid(ceilDiv(batch * points, invocations)),
  })
}

function gradOfInput(launcher: Launcher, { grid, gradOut }: Gradient, target: Operand, numbers: Numbers): void {
  const [batch, points, channels] = gradOut.shape
  const positions = target.shape[1]
  const axes = grid.shape[2]
  // Sums are kept in float32 whatever the target holds.
  const sums = launcher.scratch('float32', [batch, positions, channels])
  launcher.dispatch({
    label: `gridSampleGrad.input.${labelOf(numbers, axes)}`,
    bindings: { grid: read(grid), g: read(gradOut), sums: update(sums), out: write(target) },
    integers: {
      ...sizesOf(numbers, grid),
      ...{ g_s0: gradOut.strides[0], g_s1: gradOut.strides[1], out_s0: target.strides[0], out_s1: target.strides[1] },
      ...{ points, channels, positions, items: batch * channels },
    },
    code: () => `${tapsText(numbers)}
${entry}
  let c = item % args.channels;
  let b = item / args.channels;
  let sums_0 = b * args.positions * args.channels + c;
  for (var s = 0u; s < args.positions; s++) { sums_set(sums_0 + s * args.channels, 0.0); }
  for (var i = 0u; i < args.points; i++) {
    ${pointText(axes)}
    if (!known) { continue; }
    let g = g_get(b * args.g_s0 + i * args.g_s1 + c);
    ${eachCell(
      axes,
      countOf(numbers),
      `let at = sums_0 + cell * args.channels;
    sums_set(at, sums_get(at) + ${product(axes)} * g);`,
    )}
  }
  for (var s = 0u; s < args.positions; s++) {
    out_set(b * args.out_s0 + s * args.out_s1 + c, sums_get(sums_0 + s * args.channels));
  }
}`,
    workgroups: linearGrid(ceilDiv(batch * channels, invocations)),
  })
}
