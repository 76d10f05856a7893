// Gradients of the selective scan by tiles, for the kinds that scanTile.ts names. A workgroup walks the chunks of its
// segment from the last to the first. In a chunk it first runs forward from the border and keeps the state at the start of
// each tile; then tiles go from last to first: forward over half a tile, whose states stay in registers, and back with the
// adjoint. With few channels the sequence is cut into segments, whose adjoints a local walk and a carry find first.
// Sums over channels (B, C) and over batch and time (A, D, bias) are taken in two stages, in fixed order.
import {
  ceilDiv,
  dispatchLayers,
  type Launcher,
  present,
  range,
  read,
  shifted,
  size,
  strideFields,
  write,
} from './launcher.js'
import { logistic } from './math.wgsl.js'
import type { Binding } from './program.js'
import { carry, layoutKey } from './scan.wgsl.js'
import { adjointText, four, loadA, stepSize, T, tileLoads } from './scanAdjointTiled.wgsl.js'
import { type KeptOperands, moveStates, transposedStates } from './scanGrad.wgsl.js'
import { sumChannelParts, sumPlanes } from './scanSums.wgsl.js'
import { flagKey, groupsOf, projection, type WalkFlags, type WalkSizes, walkFields } from './scanText.js'
import {
  channelMasks,
  elementStep,
  exchangeText,
  isTileable,
  lanes,
  mapLoads,
  placesText,
  scatterSums,
  segmentsOf,
  stateMasks,
  subgroups,
  type TileShape,
  tileHead,
  tileShape,
} from './scanTile.js'

/** Steps of a tile whose states are in registers at a time. */
const held = 8
/** The most tiles of a chunk, whose first states lie in workgroup memory. */
const mostTiles = 8

/** Workgroup memory of the gradient's kernel, in bytes. */
function bytesOf({ N, W, Q }: TileShape, tilesOfChunk: number): number {
  const floats = 6 * T * W + subgroups * T * 2 * N + T
  const fours = 2 * T * Q + (tilesOfChunk - 1) * lanes
  return 4 * floats + 16 * fours
}

/** Computes the gradients by tiles where that form knows the kind; else returns false and does nothing. */
export function scanGradByTiles(
  launcher: Launcher,
  operands: KeptOperands,
  chunk: number,
  flags: WalkFlags,
  sizes: WalkSizes,
): boolean {
  const { u, delta, A, B, C, D, z, deltaBias, resets, path, chunkStates, gradOut, gradStates } = operands
  const { batch, L, channels } = sizes
  const steps = Math.min(chunk, ceilDiv(L, T) * T)
  if (gradStates || steps > mostTiles * T || !isTileable(launcher.traits, operands, flags, sizes, chunk, T))
    return false
  const shape = tileShape(A.shape[1], T)
  if (bytesOf(shape, steps / T) > launcher.traits.workgroupBytes) return false
  const { N, W } = shape
  const segments = segmentsOf(launcher.traits, batch, channels, L, steps, shape)
  const parallel = segments.count > 1
  const blocks = ceilDiv(channels, W)
  // One buffer for all scratch, since bindings are few.
  const extents = [
    [batch, segments.count, N, channels],
    [batch, segments.count, N + 2, channels],
    [batch, L, blocks, 2 * N],
  ]
  const pool = launcher.scratch('float32', [extents.reduce((sum, shape) => sum + size(shape), 0)])
  let at = 0
  const [adjoint, planes, parts] = extents.map((extent) => {
    const operand = shifted(pool, at, extent)
    at += size(extent)
    return operand
  })
  const walk = {
    delta: read(delta),
    A: read(A),
    deltaBias: deltaBias && read(deltaBias),
    resets: resets && read(resets),
    path: path && read(path),
    C: projection(C),
    z: z && read(z),
    g: read(gradOut),
  }
  const run = (name: string, bindings: Record<string, Binding>, code: () => string) =>
    dispatchLayers(launcher, {
      label: `scanGrad.${name}.${steps / T}.${N}.${flagKey(flags)}.${layoutKey(bindings)}`,
      bindings,
      integers: {
        ...strideFields(bindings),
        ...walkFields(sizes),
        B_groups: groupsOf(B),
        C_groups: groupsOf(C),
        steps: segments.steps,
        chunk: steps,
      },
      code,
      subgroups: launcher.traits.exchange === 'subgroup',
      workgroups: [blocks, segments.count, batch],
    })
  const { gradFinalState, gradInitialState } = operands
  if (parallel) {
    const ends = launcher.scratch('float32', [batch, segments.count, N + 2, channels])
    const local = present({ ...walk, ends: write(ends) })
    run('ends', local, () => adjointText(launcher, shape, flags, local))
    carry(launcher, { A, ends, starts: adjoint, start: gradFinalState, end: gradInitialState }, true)
  } else if (gradFinalState) moveStates(launcher, gradFinalState, transposedStates(adjoint))
  const bindings = present({
    ...walk,
    u: read(u),
    B: projection(B),
    D: D && read(D),
    border: read(chunkStates),
    adjoint: (parallel || gradFinalState) && read(adjoint),
    gradU: write(operands.gradU),
    gradDelta: write(operands.gradDelta),
    gradZ: z && operands.gradZ && write(operands.gradZ),
    gradState: !parallel && gradInitialState && write(gradInitialState),
    planes: write(planes),
    parts: write(parts),
  })
  run('tiled', bindings, () => gradientText(launcher, shape, flags, bindings, steps / T))
  sumChannelParts(launcher, parts, operands.gradB, operands.gradC, flags.reverse, flags.byStep ? null : path)
  const { gradA, gradD, gradDeltaBias } = operands
  sumPlanes(launcher, planes, 0, gradA)
  if (gradD) sumPlanes(launcher, planes, N, gradD)
  if (gradDeltaBias) sumPlanes(launcher, planes, N + 1, gradDeltaBias)
  return true
}

function gradientText(
  launcher: Launcher,
  shape: TileShape,
  flags: WalkFlags,
  bindings: Record<string, Binding>,
  tilesOfChunk: number,
): string {
  const { W, E, N } = shape
  const maps = mapLoads(shape, flags, ['B', 'C'], 'last')
  const names = (['u', 'delta', 'g', 'z'] as const).filter((name) => name !== 'z' || bindings.z)
  const loads = tileLoads(shape, flags, names, maps)
  const elements = range(E)
  const step = (e: number) => elementStep(shape, e)
  const own = (e: number) => `${step(e)} * ${W}u + own`
  const reset = (t: string) => (flags.resets ? `if (tile_reset[${t}] != 0u) { h = vec4<f32>(); }` : '')
  const storeWalk = (e: number) => `let inside = s0 + ${step(e)} < last && stores;
      tile_dt[${own(e)}] = select(0.0, ${stepSize(flags)}, inside);
      tile_u[${own(e)}] = select(0.0, next_u${e}, inside);`
  const advance = (t: string) => `${reset(t)}
        { let dt = tile_dt[(${t}) * ${W}u + channel];
        h = fma(exp2(dt * A), h, dt * tile_u[(${t}) * ${W}u + channel] * ${maps.read('B', t)}); }`
  // Where every tile is a chunk its border comes with it.
  const single = tilesOfChunk === 1
  const borderText = (chunk: string) =>
    four((n) => `border_get(b * args.border_s0 + (${chunk}) * args.border_s1 + (${n}) * args.border_s2 + d)`)
  const byStates = (name: string) =>
    scatterSums(
      range(4).map((i) => `${name}${i}`),
      stateMasks(shape),
    )
  const byChannels = scatterSums(
    range(8).map((i) => `v${i}`),
    channelMasks(shape),
  )
  // Steps go back by fours, whose sums over the states are taken together.
  const back = (t0: number) => `{
      ${['y', 'x', 'd']
        .map((name) =>
          range(4)
            .map((i) => `var ${name}${i} = 0.0;`)
            .join(' '),
        )
        .join(' ')}
      ${range(4)
        .map((i) => 3 - i)
        .map(
          (i) => `{
        let dt = tile_dt[${(t0 + i) * W}u + channel];
        let dx = dt * tile_u[${(t0 + i) * W}u + channel];
        let dy = tile_dy[${(t0 + i) * W}u + channel];
        let Bt = ${maps.read('B', `${t0 + i}u`)};
        let Ct = ${maps.read('C', `${t0 + i}u`)};
        let a = exp2(dt * A);
        let decayed = a * h${(t0 + i) % held};
        let after = fma(vec4<f32>(dx), Bt, decayed);
        let slope = fma(Ct, vec4<f32>(dy), adjoint);
        let slopeA = slope * decayed;
        y${i} = dot(Ct, after);
        x${i} = dot(slope, Bt);
        d${i} = dot(slopeA, A);
        sumA = fma(slopeA, vec4<f32>(dt), sumA);
        adjoint = slope * a;
        ${flags.resets ? `if (tile_reset[${t0 + i}] != 0u) { adjoint = vec4<f32>(); }` : ''}
        let forB = slope * dx;
        let forC = after * dy;
        ${range(4)
          .map((c) => `var v${c} = forB[${c}];`)
          .join(' ')} ${range(4)
          .map((c) => `var v${c + 4} = forC[${c}];`)
          .join(' ')}
        ${byChannels.text}
        ${
          byChannels.owners === 'true' ? '' : `if (${byChannels.owners}) `
        }{ let which = ${byChannels.index}; tile_parts[(lane / 32u * ${T}u + ${t0 + i}u) * ${2 * N}u + which / 4u * ${N}u + quad * 4u + which % 4u] = v0; }
      }`,
        )
        .join('\n      ')}
      ${(
        [
          ['y', 'tile_y'],
          ['x', 'tile_x'],
          ['d', 'tile_d'],
        ] as const
      )
        .map(([name, tile]) => {
          const sums = byStates(name)
          return `${sums.text}
      { let which = ${t0}u + ${sums.index}; ${range(sums.held)
        .map((i) => `${tile}[(which + ${i}u) * ${W}u + channel] = ${name}${i};`)
        .join(' ')} }`
        })
        .join('\n      ')}
    }`
  const partSlots = range(ceilDiv(T * 2 * N, lanes))
  return `${logistic}
${exchangeText(launcher.traits)}
var<workgroup> tile_dt: array<f32, ${T * W}>;
var<workgroup> tile_u: array<f32, ${T * W}>;
var<workgroup> tile_dy: array<f32, ${T * W}>;
var<workgroup> tile_y: array<f32, ${T * W}>;
var<workgroup> tile_x: array<f32, ${T * W}>;
var<workgroup> tile_d: array<f32, ${T * W}>;
var<workgroup> tile_parts: array<f32, ${subgroups * T * 2 * N}>;
${single ? '' : `var<workgroup> tile_start: array<vec4<f32>, ${(tilesOfChunk - 1) * lanes}>;`}
${flags.resets ? `var<workgroup> tile_reset: array<u32, ${T}>;` : ''}
${maps.declaration}
${tileHead(shape)}
  ${loadA}
  var adjoint = vec4<f32>();
  ${
    bindings.adjoint
      ? `if (walks) { adjoint = ${four((n) => `adjoint_get(b * args.adjoint_s0 + segment * args.adjoint_s1 + (${n}) * args.adjoint_s2 + d)`)}; }`
      : ''
  }
  var sumA = vec4<f32>();
  var sumD = 0.0;
  var sumBias = 0.0;
  let bias = ${flags.deltaBias ? 'deltaBias_get(od)' : '0.0'};
  let skip = ${bindings.D ? 'D_get(od)' : '0.0'};
  ${loads.declare}
  let chunks = (last - first + args.chunk - 1u) / args.chunk;
  ${
    single
      ? `var next_h = ${borderText('(first + (chunks - 1u) * args.chunk) / args.chunk')};
  ${loads.fetch('first + (chunks - 1u) * args.chunk')}`
      : ''
  }
  for (var back = chunks; back > 0u; back--) {
    let chunk_first = first + (back - 1u) * args.chunk;
    ${
      single
        ? `let tiles = 1u;
    var h = select(vec4<f32>(), next_h, walks);`
        : `let tiles = (min(last, chunk_first + args.chunk) - chunk_first + ${T - 1}u) / ${T}u;
    var h = select(vec4<f32>(), ${borderText('chunk_first / args.chunk')}, walks);
    ${loads.fetch('chunk_first', ['u', 'delta'])}
    for (var i = 0u; i + 1u < tiles; i++) {
      let s0 = chunk_first + i * ${T}u;
      tile_start[i * ${lanes}u + lane] = h;
      ${elements.map((e) => `{ let raw = next_delta${e} + bias; ${storeWalk(e)} }`).join('\n      ')}
      ${loads.storeResets}
      ${maps.store}
      workgroupBarrier();
      ${loads.fetch(`s0 + ${T}u`, ['u', 'delta'])}
      for (var t = 0u; t < ${T}u; t++) { ${advance('t')} }
      workgroupBarrier();
    }
    ${loads.fetch(`chunk_first + (tiles - 1u) * ${T}u`)}`
    }
    for (var left = tiles; left > 0u; left--) {
      let s0 = chunk_first + (left - 1u) * ${T}u;
      ${single ? '' : `if (left < tiles) { h = tile_start[(left - 1u) * ${lanes}u + lane]; }`}
      ${elements
        .map(
          (e) => `var slope${e} = 1.0; ${bindings.z ? `var gate${e} = 0.0;` : ''}
      { let raw = next_delta${e} + bias; ${storeWalk(e)}
        ${flags.softplus ? `slope${e} = sigmoid(raw);` : ''}
        ${bindings.z ? `gate${e} = next_g${e} * siluGrad(next_z${e});` : ''}
        tile_dy[${own(e)}] = select(0.0, next_g${e}${bindings.z ? ` * silu(next_z${e})` : ''}, inside); }`,
        )
        .join('\n      ')}
      ${loads.storeResets}
      ${maps.store}
      workgroupBarrier();
      ${
        single
          ? `let chunk_next = first + (max(back, 2u) - 2u) * args.chunk;
      ${loads.fetch('chunk_next')}
      next_h = ${borderText('chunk_next / args.chunk')};`
          : loads.fetch(`max(s0, chunk_first + ${T}u) - ${T}u`)
      }
      let h_first = h;
      for (var t = 0u; t < ${T - held}u; t++) { ${advance('t')} }
      ${[T - held, 0]
        .map(
          (t0) => `{ ${t0 === 0 ? 'h = h_first;' : ''}
      ${range(held)
        .map((t) => `${reset(`${t0 + t}u`)} let h${t} = h; ${t === held - 1 ? '' : advance(`${t0 + t}u`)}`)
        .join('\n      ')}
      ${back(t0 + 4)}
      ${back(t0)} }`,
        )
        .join('\n      ')}
      workgroupBarrier();
      ${partSlots
        .map(
          (i) => `{ let slot = lane + ${i * lanes}u; let s = s0 + slot / ${2 * N}u;
      if (${(i + 1) * lanes > T * 2 * N ? `slot < ${T * 2 * N}u && ` : ''}s < last) {
        parts_set(b * args.parts_s0 + s * args.parts_s1 + wid.x * args.parts_s2 + slot % ${2 * N}u,
          ${range(subgroups)
            .map((w) => `tile_parts[slot + ${w * T * 2 * N}u]`)
            .join(' + ')}); } }`,
        )
        .join('\n      ')}
      ${elements
        .map(
          (e) => `{ let s = s0 + ${step(e)};
        let u = tile_u[${own(e)}];
        let dy = tile_dy[${own(e)}];
        let grad_x = tile_x[${own(e)}];
        // A holds base-2 logarithms; the chain rule wants natural ones.
        let gradStep = (tile_d[${own(e)}] * ${Math.LN2} + grad_x * u) * slope${e};
        sumD += dy * u;
        if (s < last && stores) {
          ${placesText(flags, 's')}
          sumBias += gradStep;
          gradU_set(b * args.gradU_s0 + p * args.gradU_s1 + od, grad_x * tile_dt[${own(e)}]${bindings.D ? ' + skip * dy' : ''});
          gradDelta_set(b * args.gradDelta_s0 + row * args.gradDelta_s1 + od, gradStep);
          ${bindings.gradZ ? `gradZ_set(b * args.gradZ_s0 + p * args.gradZ_s1 + od, gate${e} * (tile_y[${own(e)}]${bindings.D ? ' + skip * u' : ''}));` : ''}
        } }`,
        )
        .join('\n      ')}
    }
  }
  // The invocations that store a channel sum what each of them saw.
  workgroupBarrier();
  tile_parts[lane] = sumD;
  tile_parts[lane + ${lanes}u] = sumBias;
  workgroupBarrier();
  let planes_0 = b * args.planes_s0 + segment * args.planes_s1;
  if (lane < ${W}u && stores) {
    ${['D', 'Bias']
      .map(
        (_, i) =>
          `planes_set(planes_0 + ${N + i}u * args.planes_s2 + od, ${range(lanes / W)
            .map((k) => `tile_parts[lane + ${k * W + i * lanes}u]`)
            .join(' + ')});`,
      )
      .join('\n    ')}
  }
  if (!walks) { return; }
  ${range(4)
    .map((i) => `planes_set(planes_0 + (quad * 4u + ${i}u) * args.planes_s2 + d, sumA[${i}]);`)
    .join('\n  ')}
  ${
    bindings.gradState
      ? range(4)
          .map(
            (i) => `gradState_set(b * args.gradState_s0 + d * args.gradState_s1 + quad * 4u + ${i}u, adjoint[${i}]);`,
          )
          .join(' ')
      : ''
  }
}`
}
