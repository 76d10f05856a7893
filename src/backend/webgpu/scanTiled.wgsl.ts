// The selective scan by tiles: the common kinds (N of 4, 8 or 16, B and C per token) on devices with subgroups. With few
// channels the sequence is cut into segments: every segment's end state from a zero start, a carry over the segments, and
// then all segments at once from their true starts.
import type { OperandsOf } from '../kernels.js'
import type { Operand } from '../types.js'
import { ceilDiv, dispatchLayers, type Launcher, present, range, read, strideFields, write } from './launcher.js'
import { logistic } from './math.wgsl.js'
import type { Binding } from './program.js'
import { carry, layoutKey } from './scan.wgsl.js'
import { flagKey, groupsOf, log2e, projection, type WalkFlags, type WalkSizes, walkFields } from './scanText.js'
import {
  elementStep,
  elementText,
  exchangeText,
  isTileable,
  mapLoads,
  placesText,
  positionOf,
  scatterSums,
  segmentsOf,
  stateMasks,
  type TileShape,
  tileHead,
  tileShape,
} from './scanTile.js'

/** Steps of a tile. */
const T = 16
/** Steps between borders where the caller keeps no chunk states. */
const ownChunk = 64

/** Scans by tiles where that form knows the kind; else returns false and does nothing. */
export function scanByTiles(
  launcher: Launcher,
  operands: OperandsOf<'selectiveScan'>,
  chunk: number,
  flags: WalkFlags,
  sizes: WalkSizes,
): boolean {
  const { u, delta, A, B, C, D, z, deltaBias, initialState, resets, path, out, finalState, states, chunkStates } =
    operands
  const borderSteps = chunkStates ? chunk : ownChunk
  if (states || !isTileable(launcher.traits, operands, flags, sizes, borderSteps, T)) return false
  const { batch, L, channels, N } = sizes
  const shape = tileShape(N, T)
  const segments = segmentsOf(launcher.traits, batch, channels, L, borderSteps, shape)
  const parallel = segments.count > 1
  const walk = {
    u: read(u),
    delta: read(delta),
    A: read(A),
    deltaBias: deltaBias && read(deltaBias),
    resets: resets && read(resets),
    path: path && read(path),
    B: projection(B),
  }
  const run = (name: string, bindings: Record<string, Binding>) =>
    dispatchLayers(launcher, {
      label: `scan.${name}.${shape.N}.${flagKey(flags)}.${layoutKey(bindings)}`,
      bindings,
      integers: {
        ...strideFields(bindings),
        ...walkFields(sizes),
        B_groups: groupsOf(B),
        C_groups: groupsOf(C),
        steps: segments.steps,
        border_steps: borderSteps,
      },
      code: () => scanText(launcher, shape, flags, bindings, parallel),
      subgroups: launcher.traits.exchange === 'subgroup',
      workgroups: [ceilDiv(channels, shape.W), segments.count, batch],
    })
  let start: Operand | null | undefined = initialState
  if (parallel) {
    const ends = launcher.scratch('float32', [batch, segments.count, shape.N + 2, channels])
    const starts = launcher.scratch('float32', [batch, segments.count, shape.N, channels])
    run('ends', present({ ...walk, ends: write(ends) }))
    carry(launcher, { A, ends, starts, start: initialState, end: finalState }, false)
    start = starts
  }
  run(
    `tiled${+parallel}`,
    present({
      ...walk,
      C: projection(C),
      D: D && read(D),
      z: z && read(z),
      start: start && read(start),
      out: write(out),
      end: !parallel && finalState && write(finalState),
      border: chunkStates && write(chunkStates),
    }),
  )
  return true
}

/** With `ends` among the bindings: each segment's end state from zero. Else: outputs, borders and the final state. */
function scanText(
  launcher: Launcher,
  shape: TileShape,
  flags: WalkFlags,
  bindings: Record<string, Binding>,
  parallel: boolean,
): string {
  const { W, E, Q } = shape
  const outputs = !bindings.ends
  const maps = mapLoads(shape, flags, outputs ? ['B', 'C'] : ['B'], 'last')
  const elements = range(E)
  const step = (e: number) => elementStep(shape, e)
  const sequences = (['u', 'delta', 'z'] as const).filter((name) => name !== 'z' || (bindings.z && outputs))
  const fetch = (s0: string) => `${elements
    .map(
      (e) => `{ ${placesText(flags, `min(${s0} + ${step(e)}, last - 1u)`)}
      ${sequences.map((name) => `next_${name}${e} = ${elementText(flags, name)};`).join(' ')} }`,
    )
    .join('\n    ')}
    ${flags.resets ? `{ let p = ${positionOf(flags, `min(${s0} + lane % ${T}u, last - 1u)`)}; next_reset = u32(resets_get(b * args.resets_s0 + p)); }` : ''}
    ${maps.fetch(s0)}`
  const state = (name: string, n: string) =>
    parallel
      ? `${name}_get(b * args.${name}_s0 + segment * args.${name}_s1 + (${n}) * args.${name}_s2 + d)`
      : `${name}_get(b * args.${name}_s0 + d * args.${name}_s1 + ${n})`
  const four = (text: (n: string) => string) =>
    `vec4<f32>(${range(4)
      .map((i) => text(`quad * 4u + ${i}u`))
      .join(', ')})`
  const sums = scatterSums(['y0', 'y1', 'y2', 'y3'], stateMasks(shape))
  const walkOne = (t: string, y: string) => `{
        let dt = tile_dt[(${t}) * ${W}u + channel];
        ${flags.resets ? `if (tile_reset[${t}] != 0u) { h = vec4<f32>(); alive = 0.0; }` : ''}
        h = fma(exp2(dt * A), h, tile_dx[(${t}) * ${W}u + channel] * ${maps.read('B', t)});
        ${outputs ? `${y} = dot(${maps.read('C', t)}, h);` : 'span += dt;'}
      }`
  return `${logistic}
${exchangeText(launcher.traits)}
var<workgroup> tile_dt: array<f32, ${T * W}>;
var<workgroup> tile_dx: array<f32, ${T * W}>;
${outputs ? `var<workgroup> tile_y: array<f32, ${T * W}>;` : ''}
${flags.resets ? `var<workgroup> tile_reset: array<u32, ${T}>;` : ''}
${maps.declaration}
${tileHead(shape)}
  let A = ${four((n) => `A_get(d * args.A_s0 + ${n})`)} * ${log2e};
  var h = ${bindings.start ? four((n) => state('start', n)) : 'vec4<f32>()'};
  var alive = 1.0;
  var span = 0.0;
  let bias = ${flags.deltaBias ? 'deltaBias_get(od)' : '0.0'};
  let skip = ${bindings.D && outputs ? 'D_get(od)' : '0.0'};
  ${elements.map((e) => sequences.map((name) => `var next_${name}${e} = 0.0;`).join(' ')).join(' ')}
  var next_reset = 0u;
  ${maps.declare}
  ${fetch('first')}
  for (var s0 = first; s0 < last; s0 += ${T}u) {
    ${
      bindings.border
        ? `if (s0 % args.border_steps == 0u && walks) {
      let border_0 = b * args.border_s0 + s0 / args.border_steps * args.border_s1 + quad * 4u * args.border_s2 + d;
      ${range(4)
        .map((i) => `border_set(border_0 + ${i}u * args.border_s2, h[${i}]);`)
        .join(' ')}
    }`
        : ''
    }
    ${elements
      .map(
        (e) => `let u${e} = next_u${e}; ${bindings.z && outputs ? `let z${e} = next_z${e};` : ''}
    { let raw = next_delta${e} + bias;
      let inside = s0 + ${step(e)} < last;
      let dt = select(0.0, ${flags.softplus ? 'softplus(raw)' : 'raw'}, inside);
      tile_dt[${step(e)} * ${W}u + own] = dt;
      tile_dx[${step(e)} * ${W}u + own] = select(0.0, dt * u${e}, inside); }`,
      )
      .join('\n    ')}
    ${flags.resets ? `if (lane < ${T}u) { tile_reset[lane] = select(0u, next_reset, s0 + lane < last); }` : ''}
    ${maps.store}
    workgroupBarrier();
    ${fetch(`s0 + ${T}u`)}
    for (var t = 0u; t < ${T}u; t += 4u) {
      var y0 = 0.0; var y1 = 0.0; var y2 = 0.0; var y3 = 0.0;
      ${range(4)
        .map((i) => walkOne(`t + ${i}u`, `y${i}`))
        .join('\n      ')}
      ${
        outputs
          ? `${sums.text}
      let which = ${sums.index};
      ${range(sums.held)
        .map((i) => `tile_y[(t + which + ${i}u) * ${W}u + channel] = y${i};`)
        .join(' ')}`
          : ''
      }
    }
    workgroupBarrier();
    ${
      outputs
        ? elements
            .map(
              (e) => `{ let s = s0 + ${step(e)};
      var y = tile_y[${step(e)} * ${W}u + own]${bindings.D ? ` + skip * u${e}` : ''};
      ${bindings.z ? `y *= silu(z${e});` : ''}
      if (s < last && stores) { let p = ${positionOf(flags, 's')}; out_set(b * args.out_s0 + p * args.out_s1 + od, y); } }`,
            )
            .join('\n    ')
        : ''
    }
  }
  if (!walks) { return; }
  ${
    bindings.end
      ? range(4)
          .map((i) => `end_set(b * args.end_s0 + d * args.end_s1 + quad * 4u + ${i}u, h[${i}]);`)
          .join(' ')
      : ''
  }
  ${
    outputs
      ? ''
      : `let ends_0 = b * args.ends_s0 + segment * args.ends_s1 + d;
  ${range(4)
    .map((i) => `ends_set(ends_0 + (quad * 4u + ${i}u) * args.ends_s2, h[${i}]);`)
    .join(' ')}
  if (quad == ${Q - 1}u) {
    ends_set(ends_0 + ${shape.N}u * args.ends_s2, span);
    ends_set(ends_0 + ${shape.N + 1}u * args.ends_s2, alive);
  }`
  }
}`
}
