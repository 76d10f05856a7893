// What the tiled forms of the selective scan share. A workgroup takes W channels; a channel's N states lie in fours on Q
// neighbouring invocations. Tiles of T steps are brought into workgroup memory, coalesced over channels, while the tile
// before is walked; sums over states and channels go by exchanges within subgroups of 32.
import type { Operand } from '../types.js'
import { type DeviceTraits, range } from './launcher.js'
import { channelText, groupsOf, isFixed, placeText, rowText, type WalkFlags, type WalkSizes } from './scanText.js'

export const lanes = 128
/** Invocations that exchange values. */
const subgroup = 32

export interface TileShape {
  readonly N: number
  /** Invocations of a channel. */
  readonly Q: number
  /** Channels of a workgroup. */
  readonly W: number
  /** Steps of a tile. */
  readonly T: number
  /** Elements of a tile that an invocation loads and stores; all are of channel lane % W. */
  readonly E: number
}

export function tileShape(N: number, T: number): TileShape {
  const Q = N / 4
  const W = lanes / Q
  return { N, Q, W, T, E: (T * W) / lanes }
}

/** Is the scan of a kind that the tiled forms know? Borders must fall on the starts of tiles. */
export function isTileable(
  { exchange }: DeviceTraits,
  { B, C }: { readonly B: Operand; readonly C: Operand },
  { window }: WalkFlags,
  { L, channels, directions, own, N }: WalkSizes,
  chunk: number,
  T: number,
): boolean {
  if (exchange === 'none' || ![4, 8, 16].includes(N) || L < T || window) return false
  const { W } = tileShape(N, T)
  const whole = (groups: number) => groups === 1 || (channels % groups === 0 && (channels / groups) % W === 0)
  const maps = [B, C].every((map) => !isFixed(map) && whole(groupsOf(map)))
  return maps && (directions === 1 || own % W === 0) && (chunk % T === 0 || chunk >= L)
}

/** Parts of the sequence that are walked at once, so that the device is full: their number, and their steps in whole chunks. */
export function segmentsOf(
  { fillingInvocations }: DeviceTraits,
  batch: number,
  D: number,
  L: number,
  chunk: number,
  { W }: TileShape,
): { readonly count: number; readonly steps: number } {
  const groups = batch * Math.ceil(D / W)
  const wanted = Math.floor(fillingInvocations / (4 * lanes) / groups)
  const chunks = Math.ceil(L / chunk)
  const perSegment = Math.ceil(chunks / Math.max(1, Math.min(wanted, chunks)))
  return { count: Math.ceil(chunks / perSegment), steps: perSegment * chunk }
}

/** `exchange(v, mask, lane)`: v of the invocation whose number differs by the bits of mask. */
export const exchangeText = ({ exchange }: DeviceTraits) =>
  exchange === 'subgroup'
    ? 'fn exchange(v: f32, mask: u32, lane: u32) -> f32 { return subgroupShuffleXor(v, mask); }'
    : `var<workgroup> exchanged: array<f32, ${lanes}>;
fn exchange(v: f32, mask: u32, lane: u32) -> f32 {
  workgroupBarrier();
  exchanged[lane] = v;
  workgroupBarrier();
  return exchanged[lane ^ mask];
}`

/**
 * Sums values over the invocations that differ in the bits `masks`, and leaves them scattered: while an invocation holds
 * more than one value each mask halves what it holds, after that it only sums. `values` are variables; the sums are left
 * in the first of them. `index` is the expression of which value an invocation holds first.
 */
export function scatterSums(values: readonly string[], masks: readonly number[]) {
  const lines: string[] = []
  const terms: string[] = []
  let held = values.length
  let owners = 'true'
  for (const mask of masks) {
    const bit = `(lane & ${mask}u) != 0u`
    if (held > 1) {
      held /= 2
      terms.push(`select(0u, ${held}u, ${bit})`)
      for (let i = 0; i < held; i++) {
        const [low, high] = [values[i], values[i + held]]
        lines.push(
          `${low} = select(${low}, ${high}, ${bit}) + exchange(select(${high}, ${low}, ${bit}), ${mask}u, lane);`,
        )
      }
    } else {
      lines.push(`${values[0]} += exchange(${values[0]}, ${mask}u, lane);`)
      owners += ` && (lane & ${mask}u) == 0u`
    }
  }
  return { text: lines.join('\n      '), held, index: terms.join(' + ') || '0u', owners }
}

/** Bits of the invocations of one channel, and of the channels of one subgroup. */
export const stateMasks = ({ Q }: TileShape) => range(Math.log2(Q)).map((i) => 2 ** i)
export const channelMasks = ({ Q }: TileShape) => range(Math.log2(subgroup / Q)).map((i) => Q * 2 ** i)
export const subgroups = lanes / subgroup

/** Entry point, and the places of the invocation. Beyond the last channel it works at the last one, with steps of 0. */
export const tileHead = ({ Q, W }: TileShape, name = 'main') => `
@compute @workgroup_size(${lanes}) fn ${name}(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let b = wid.z + args.z_first;
  let segment = wid.y;
  let first = segment * args.steps;
  let last = min(args.L, first + args.steps);
  // The channel and the four states that it walks, and the channel whose elements it loads and stores.
  let quad = lane % ${Q}u;
  let channel = lane / ${Q}u;
  let d = min(wid.x * ${W}u + channel, args.channels - 1u);
  let walks = wid.x * ${W}u + channel < args.channels;
  let own = lane % ${W}u;
  let od = min(wid.x * ${W}u + own, args.channels - 1u);
  let stores = wid.x * ${W}u + own < args.channels;`

/** Positions and rows of a step, the channels of a workgroup being of one direction. */
export const positionOf = (flags: WalkFlags, s: string) => placeText(flags, s, 'od')
export const rowOf = (flags: WalkFlags, s: string) => rowText(flags, s, 'od')

/** `<name>_get` of channel od at `p`, or of delta at `row`. */
export type ElementName = 'u' | 'delta' | 'z' | 'g'
export const elementText = (flags: WalkFlags, name: ElementName) =>
  `${name}_get(b * args.${name}_s0 + ${name === 'delta' ? 'row' : 'p'} * args.${name}_s1 + ${channelText(flags, name, 'od')})`

/** `p` and, where it differs, `row` of step `s`. */
export const placesText = (flags: WalkFlags, s: string) => {
  const step = `let step = ${s};`
  return `${step} let p = ${positionOf(flags, 'step')}; let row = ${flags.byStep ? rowOf(flags, 'step') : 'p'};`
}

/** Step of the tile that element e of an invocation belongs to. */
export const elementStep = ({ W }: TileShape, e: number) => `(lane / ${W}u + ${(e * lanes) / W}u)`

/**
 * Loads of B and C, T x Q fours each: statements that fill `next_<map><i>` for the tile at `s0`, and that bring them into
 * workgroup memory. Invocations too many load a four that another has, since a branch would be waited for.
 */
export function mapLoads({ T, Q, W }: TileShape, flags: WalkFlags, names: readonly ('B' | 'C')[], limit: string) {
  const fours = T * Q
  const loads = names.flatMap((name) => range(Math.ceil(fours / lanes)).map((i) => ({ name, i })))
  return {
    declaration: names.map((name) => `var<workgroup> tile_${name}: array<vec4<f32>, ${fours}>;`).join('\n'),
    declare: loads.map(({ name, i }) => `var next_${name}${i} = vec4<f32>();`).join(' '),
    fetch: (s0: string) =>
      loads
        .map(
          ({ name, i }) => `{ let slot = min(lane + ${i * lanes}u, ${fours - 1}u);
      let row = ${rowOf(flags, `min(${s0} + slot / ${Q}u, ${limit} - 1u)`)};
      next_${name}${i} = ${name}_get4(b * args.${name}_s0 + row * args.${name}_s1
        + wid.x * ${W}u * args.${name}_groups / args.channels * args.${name}_s2 + slot % ${Q}u * 4u); }`,
        )
        .join('\n    '),
    store: loads
      .map(
        ({ name, i }) =>
          `if (lane + ${i * lanes}u < ${fours}u) { tile_${name}[lane + ${i * lanes}u] = next_${name}${i}; }`,
      )
      .join(' '),
    read: (name: 'B' | 'C', t: string) => `tile_${name}[(${t}) * ${Q}u + quad]`,
  }
}
