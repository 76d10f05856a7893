// The walk of the scan's gradient over a segment alone: the adjoint at its start, from zero at its end; and what it shares
// with the gradient itself.
import { type Launcher, range } from './launcher.js'
import { logistic } from './math.wgsl.js'
import type { Binding } from './program.js'
import { log2e, type WalkFlags } from './scanText.js'
import {
  type ElementName,
  elementStep,
  elementText,
  exchangeText,
  mapLoads,
  placesText,
  positionOf,
  type TileShape,
  tileHead,
} from './scanTile.js'

/** Steps of a tile. */
export const T = 16

/** What both walks share: loads of the elements `names` and of the maps, and the declarations. */
export function tileLoads(
  shape: TileShape,
  flags: WalkFlags,
  names: readonly ElementName[],
  maps: ReturnType<typeof mapLoads>,
) {
  const elements = range(shape.E)
  const step = (e: number) => elementStep(shape, e)
  return {
    declare: `${elements.map((e) => names.map((name) => `var next_${name}${e} = 0.0;`).join(' ')).join(' ')}
  var next_reset = 0u;
  ${maps.declare}`,
    fetch: (s0: string, wanted = names) => `${elements
      .map(
        (e) => `{ ${placesText(flags, `min(${s0} + ${step(e)}, last - 1u)`)}
      ${wanted.map((name) => `next_${name}${e} = ${elementText(flags, name)};`).join(' ')} }`,
      )
      .join('\n    ')}
    ${flags.resets ? `{ let p = ${positionOf(flags, `min(${s0} + lane % ${T}u, last - 1u)`)}; next_reset = u32(resets_get(b * args.resets_s0 + p)); }` : ''}
    ${maps.fetch(s0)}`,
    storeResets: flags.resets
      ? `if (lane < ${T}u) { tile_reset[lane] = select(0u, next_reset, s0 + lane < last); }`
      : '',
  }
}

export const four = (text: (n: string) => string) =>
  `vec4<f32>(${range(4)
    .map((i) => text(`quad * 4u + ${i}u`))
    .join(', ')})`
export const loadA = `let A = ${four((n) => `A_get(d * args.A_s0 + ${n})`)} * ${log2e};`
export const stepSize = (flags: WalkFlags) => (flags.softplus ? 'softplus(raw)' : 'raw')

/** Each segment's adjoint at its start, from zero at its end. */
export function adjointText(
  launcher: Launcher,
  shape: TileShape,
  flags: WalkFlags,
  bindings: Record<string, Binding>,
): string {
  const { W, E, Q, N } = shape
  const maps = mapLoads(shape, flags, ['C'], 'last')
  const names = (['delta', 'g', 'z'] as const).filter((name) => name !== 'z' || bindings.z)
  const loads = tileLoads(shape, flags, names, maps)
  return `${logistic}
${exchangeText(launcher.traits)}
var<workgroup> tile_dt: array<f32, ${T * W}>;
var<workgroup> tile_dy: array<f32, ${T * W}>;
${flags.resets ? `var<workgroup> tile_reset: array<u32, ${T}>;` : ''}
${maps.declaration}
${tileHead(shape)}
  ${loadA}
  var adjoint = vec4<f32>();
  var alive = 1.0;
  var span = 0.0;
  let bias = ${flags.deltaBias ? 'deltaBias_get(od)' : '0.0'};
  ${loads.declare}
  let tiles = (last - first + ${T - 1}u) / ${T}u;
  ${loads.fetch(`first + (tiles - 1u) * ${T}u`)}
  for (var i = 0u; i < tiles; i++) {
    let s0 = first + (tiles - 1u - i) * ${T}u;
    ${range(E)
      .map(
        (e) => `{ let raw = next_delta${e} + bias;
      let inside = s0 + ${elementStep(shape, e)} < last;
      tile_dt[${elementStep(shape, e)} * ${W}u + own] = select(0.0, ${stepSize(flags)}, inside);
      tile_dy[${elementStep(shape, e)} * ${W}u + own] = select(0.0, next_g${e}${bindings.z ? ` * silu(next_z${e})` : ''}, inside); }`,
      )
      .join('\n    ')}
    ${loads.storeResets}
    ${maps.store}
    workgroupBarrier();
    ${loads.fetch(`max(s0, first + ${T}u) - ${T}u`)}
    for (var back = ${T}u; back > 0u; back--) {
      let t = back - 1u;
      let dt = tile_dt[t * ${W}u + channel];
      adjoint = exp2(dt * A) * fma(${maps.read('C', 't')}, vec4<f32>(tile_dy[t * ${W}u + channel]), adjoint);
      span += dt;
      ${flags.resets ? 'if (tile_reset[t] != 0u) { adjoint = vec4<f32>(); alive = 0.0; }' : ''}
    }
    workgroupBarrier();
  }
  if (!walks) { return; }
  let ends_0 = b * args.ends_s0 + segment * args.ends_s1 + d;
  ${range(4)
    .map((i) => `ends_set(ends_0 + (quad * 4u + ${i}u) * args.ends_s2, adjoint[${i}]);`)
    .join(' ')}
  if (quad == ${Q - 1}u) {
    ends_set(ends_0 + ${N}u * args.ends_s2, span);
    ends_set(ends_0 + ${N + 1}u * args.ends_s2, alive);
  }
}`
}
