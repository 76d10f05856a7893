// The selective scan. Where there are enough channels, an invocation walks one channel through the whole sequence.
// Else the sequence is cut into chunks: every chunk's end state from a zero start, a carry over the chunks, and then
// all chunks at once from their true starts.
import type { OperandsOf } from '../kernels.js'
import type { Operand } from '../types.js'
import { kernelCode } from './errorCodes.js'
import { ceilDiv, dispatchLayers, type Encoder, type Launcher, present, read, strideFields, write } from './launcher.js'
import { logistic } from './math.wgsl.js'
import type { Binding } from './program.js'
import {
  checkPath,
  flagKey,
  groupsOf,
  isFixed,
  log2e,
  mapBase,
  perDirection,
  positionText,
  projection,
  projectionText,
  type StateLoop,
  sequenceText,
  stateLoop,
  stepSizeText,
  type WalkFlags,
  type WalkSizes,
  walkFields,
  walkOf,
} from './scanText.js'
import { scanByTiles } from './scanTiled.wgsl.js'

const invocations = 64
/** Steps a chunk where the caller keeps no chunk states. */
const ownChunk = 64

type Operands = OperandsOf<'selectiveScan'>

export const selectiveScan: Encoder<'selectiveScan'> = (launcher, given, numbers) => {
  const { flags, sizes } = walkOf(given, numbers)
  if (given.path) checkPath(launcher, given.path, sizes.positions, kernelCode('selectiveScan'))
  const out = perDirection(launcher, given.out, sizes.directions, sizes.channels, sizes.L === sizes.positions)
  const operands = { ...given, out: out.into }
  if (!scanByTiles(launcher, operands, numbers.chunk, flags, sizes))
    scanByChannels(launcher, operands, numbers.chunk, flags, sizes)
  out.finish()
}

function scanByChannels(
  launcher: Launcher,
  operands: Operands,
  chunk: number,
  flags: WalkFlags,
  sizes: WalkSizes,
): void {
  const { u, delta, A, B, C, D, z, deltaBias, initialState, resets, path } = operands
  const { out, finalState, states, chunkStates } = operands
  const { batch, L, channels, N } = sizes
  const steps = chunkStates ? chunk : flags.window ? Math.ceil(ownChunk / flags.window) * flags.window : ownChunk
  const chunks = ceilDiv(L, steps)
  const parallel = chunks > 1 && batch * channels < launcher.traits.fillingInvocations
  const walk = {
    delta: read(delta),
    A: read(A),
    deltaBias: deltaBias && read(deltaBias),
    resets: resets && read(resets),
    path: path && read(path),
  }
  const start = parallel ? startsOfChunks(launcher, operands, flags, sizes, steps, chunks) : (initialState ?? null)
  const bindings = present({
    u: read(u),
    ...walk,
    B: projection(B),
    C: projection(C),
    D: D && read(D),
    z: z && read(z),
    start: start && read(start),
    out: write(out),
    end: !parallel && finalState && write(finalState),
    states: states && write(states),
    border: !parallel && chunkStates && write(chunkStates),
  })
  dispatchLayers(launcher, {
    label: `scan.${parallel}.${N}.${flagKey(flags)}.${layoutKey(bindings)}`,
    bindings,
    integers: {
      ...strideFields(bindings),
      ...walkFields(sizes),
      B_groups: groupsOf(B),
      C_groups: groupsOf(C),
      steps: parallel ? steps : L,
      border_steps: steps,
    },
    code: () => (flags.window ? windowsText : scanText)(N, flags, bindings, parallel, launcher.traits.unrolledStates),
    workgroups: [ceilDiv(channels, invocations), parallel ? chunks : L === 0 ? 0 : 1, batch],
  })
}

/** What the text depends on besides dtypes: which operands are there, fixed B or C, loads by four. */
export const layoutKey = (bindings: Record<string, Binding>) =>
  `${Object.keys(bindings).join(',')}.${['B', 'C'].map((x) => bindings[x] && `${isFixed(bindings[x].operand)}${bindings[x].wide}`)}`

export const scanHead = (lanes: number) => `
@compute @workgroup_size(${lanes}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let d = wid.x * ${lanes}u + lane;
  let b = wid.z + args.z_first;
  let c = wid.y;
  if (d >= args.channels) { return; }
  let first = c * args.steps;
  let last = min(args.L, first + args.steps);`

function scanText(
  N: number,
  flags: WalkFlags,
  bindings: Record<string, Binding>,
  parallel: boolean,
  unrolled: number,
): string {
  const { declare, each } = stateLoop(N, unrolled)
  const [loadB, B] = projectionText('B', bindings.B, N, unrolled)
  const [loadC, C] = projectionText('C', bindings.C, N, unrolled)
  return `${logistic}
${scanHead(invocations)}
  ${declare('h')} ${declare('A')}
  ${each((n, of) => `${of('A')} = A_get(d * args.A_s0 + ${n}) * ${log2e};${startText(bindings, parallel, n, of('h'))}`)}
  ${flags.deltaBias ? 'let bias = deltaBias_get(d);' : ''}
  ${bindings.D ? 'let skip = D_get(d);' : ''}
  for (var s = first; s < last; s++) {
    ${borderText(bindings, each)}
    ${positionText(flags)}
    ${stepSizeText(flags)}
    ${flags.resets ? `if (isReset) { ${each((_, of) => `${of('h')} = 0.0;`)} }` : ''}
    let x = ${sequenceText(flags, 'u')};
    let dx = dt * x;
    ${loadB} ${loadC}
    var y = ${bindings.D ? 'skip * x' : '0.0'};
    ${bindings.states ? 'let states_0 = b * args.states_s0 + p * args.states_s1 + d * args.states_s2;' : ''}
    ${each(
      (n, of) =>
        `${of('h')} = exp2(dt * ${of('A')}) * ${of('h')} + dx * ${B(n)}; y += ${C(n)} * ${of('h')};${
          bindings.states ? ` states_set(states_0 + ${n}, ${of('h')});` : ''
        }`,
    )}
    ${bindings.z ? `y *= silu(${sequenceText(flags, 'z')});` : ''}
    out_set(b * args.out_s0 + p * args.out_s1 + d, y);
  }
  ${bindings.end ? each((n, of) => `end_set(b * args.end_s0 + d * args.end_s1 + ${n}, ${of('h')});`) : ''}
}`
}

/** The state that a chunk, or the sequence, starts from. */
function startText(bindings: Record<string, Binding>, parallel: boolean, n: string, h: string): string {
  if (!bindings.start) return ''
  const place = parallel ? `c * args.start_s1 + ${n} * args.start_s2 + d` : `d * args.start_s1 + ${n}`
  return ` ${h} = start_get(b * args.start_s0 + ${place});`
}

/** Keeps the state before the step `s` where a chunk begins. */
const borderText = (bindings: Record<string, Binding>, each: StateLoop['each']) =>
  bindings.border
    ? `if (s % args.border_steps == 0u) {
      let border_0 = b * args.border_s0 + s / args.border_steps * args.border_s1 + d;
      ${each((n, of) => `border_set(border_0 + ${n} * args.border_s2, ${of('h')});`)}
    }`
    : ''

/** The locally bidirectional scan: a window's step sizes and inputs first, then state by state through it and back. */
function windowsText(
  N: number,
  flags: WalkFlags,
  bindings: Record<string, Binding>,
  parallel: boolean,
  unrolled: number,
): string {
  const { declare, each } = stateLoop(N, unrolled)
  const w = flags.window
  const at = (name: 'B' | 'C', t: string, n: string) =>
    `${name}_get(${mapBase(name, bindings[name].operand, `rows[${t}]`)} + ${n})`
  return `${logistic}
${scanHead(invocations)}
  ${declare('h')}
  ${each((n, of) => startText(bindings, parallel, n, of('h')))}
  ${flags.deltaBias ? 'let bias = deltaBias_get(d);' : ''}
  ${bindings.D ? 'let skip = D_get(d);' : ''}
  var places: array<u32, ${w}>;
  var rows: array<u32, ${w}>;
  var dts: array<f32, ${w}>;
  var dxs: array<f32, ${w}>;
  var ys: array<f32, ${w}>;
  var decays: array<f32, ${w}>;
  for (var s0 = first; s0 < last; s0 += ${w}u) {
    let count = min(${w}u, last - s0);
    { let s = s0; ${borderText(bindings, each)} }
    for (var t = 0u; t < count; t++) {
      let s = s0 + t;
      ${positionText(flags)}
      ${stepSizeText(flags)}
      let x = ${sequenceText(flags, 'u')};
      places[t] = p;
      rows[t] = row;
      dts[t] = dt;
      dxs[t] = dt * x;
      ys[t] = ${bindings.D ? 'skip * x' : '0.0'};
    }
    ${each(
      (n, of) => `let A = A_get(d * args.A_s0 + ${n}) * ${log2e};
      var g = 0.0;
      for (var t = 0u; t < count; t++) {
        let a = exp2(dts[t] * A);
        decays[t] = a;
        g = dxs[t] * ${at('B', 't', n)};
        ${of('h')} = a * ${of('h')} + g;
        ys[t] += ${at('C', 't', n)} * ${of('h')};
      }
      for (var back = count - 1u; back > 0u; back--) {
        let t = back - 1u;
        let r = decays[t] * g;
        ys[t] += ${at('C', 't', n)} * r;
        g = r + dxs[t] * ${at('B', 't', n)};
      }`,
    )}
    for (var t = 0u; t < count; t++) {
      let p = places[t];
      var y = ys[t];
      ${bindings.z ? `y *= silu(${sequenceText(flags, 'z')});` : ''}
      out_set(b * args.out_s0 + p * args.out_s1 + d, y);
    }
  }
  ${bindings.end ? each((n, of) => `end_set(b * args.end_s0 + d * args.end_s1 + ${n}, ${of('h')});`) : ''}
}`
}

/** The state before each chunk, (B, chunks, N, D), in the caller's chunkStates where there are such. */
function startsOfChunks(
  launcher: Launcher,
  operands: Operands,
  flags: WalkFlags,
  sizes: WalkSizes,
  steps: number,
  chunks: number,
): Operand {
  const { u, delta, A, B, deltaBias, resets, path, initialState, finalState, chunkStates } = operands
  const { batch, channels: D, N } = sizes
  const ends = launcher.scratch('float32', [batch, chunks, N + 2, D])
  const local = present({
    u: read(u),
    delta: read(delta),
    A: read(A),
    B: projection(B),
    deltaBias: deltaBias && read(deltaBias),
    resets: resets && read(resets),
    path: path && read(path),
    ends: write(ends),
  })
  const unrolled = launcher.traits.unrolledStates
  const { declare, each } = stateLoop(N, unrolled)
  dispatchLayers(launcher, {
    label: `scan.local.${N}.${flagKey(flags)}.${layoutKey(local)}`,
    bindings: local,
    integers: { ...strideFields(local), ...walkFields(sizes), B_groups: groupsOf(B), steps },
    code: () => {
      const [loadB, Bn] = projectionText('B', local.B, N, unrolled)
      return `${logistic}
${scanHead(invocations)}
  ${declare('h')} ${declare('A')}
  ${each((n, of) => `${of('A')} = A_get(d * args.A_s0 + ${n}) * ${log2e};`)}
  ${flags.deltaBias ? 'let bias = deltaBias_get(d);' : ''}
  var span = 0.0;
  var alive = 1.0;
  for (var s = first; s < last; s++) {
    ${positionText(flags)}
    ${stepSizeText(flags)}
    ${flags.resets ? `if (isReset) { alive = 0.0; ${each((_, of) => `${of('h')} = 0.0;`)} }` : ''}
    span += dt;
    let dx = dt * ${sequenceText(flags, 'u')};
    ${loadB}
    ${each((n, of) => `${of('h')} = exp2(dt * ${of('A')}) * ${of('h')} + dx * ${Bn(n)};`)}
  }
  let ends_0 = b * args.ends_s0 + c * args.ends_s1 + d;
  ${each((n, of) => `ends_set(ends_0 + ${n} * args.ends_s2, ${of('h')});`)}
  ends_set(ends_0 + ${N}u * args.ends_s2, span);
  ends_set(ends_0 + ${N + 1}u * args.ends_s2, alive);
}`
    },
    workgroups: [ceilDiv(D, invocations), chunks, batch],
  })
  const starts = chunkStates ?? launcher.scratch('float32', [batch, chunks, N, D])
  carry(launcher, { A, ends, starts, start: initialState, end: finalState }, false)
  return starts
}

export interface Carry {
  readonly A: Operand
  /** (B, chunks, N + 2, D): local results, sum of step sizes, 0 where a reset cuts the chunk. */
  readonly ends: Operand
  /** (B, chunks, N, D): what enters each chunk. */
  readonly starts: Operand
  /** (B, D, N): what enters the first chunk of the walk, and what leaves the last. */
  readonly start?: Operand | null
  readonly end?: Operand | null
}

/** Walks over the chunks, forwards for states or backwards for their adjoints. */
export function carry(launcher: Launcher, { A, ends, starts, start, end }: Carry, backwards: boolean): void {
  const [batch, chunks, N, D] = starts.shape
  const bindings = present({
    A: read(A),
    ends: read(ends),
    starts: write(starts),
    start: start && read(start),
    end: end && write(end),
  })
  dispatchLayers(launcher, {
    label: `scan.carry.${backwards}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), chunks, channels: D, N },
    code: () => `
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let d = wid.x * ${invocations}u + lane;
  let n = wid.y;
  let b = wid.z + args.z_first;
  if (d >= args.channels) { return; }
  let A = A_get(d * args.A_s0 + n) * ${log2e};
  var h = ${bindings.start ? 'start_get(b * args.start_s0 + d * args.start_s1 + n)' : '0.0'};
  for (var i = 0u; i < args.chunks; i++) {
    let c = ${backwards ? 'args.chunks - 1u - i' : 'i'};
    starts_set(b * args.starts_s0 + c * args.starts_s1 + n * args.starts_s2 + d, h);
    let ends_0 = b * args.ends_s0 + c * args.ends_s1 + d;
    let local = ends_get(ends_0 + n * args.ends_s2);
    let span = ends_get(ends_0 + args.N * args.ends_s2);
    if (ends_get(ends_0 + (args.N + 1u) * args.ends_s2) == 0.0) { h = local; } else { h = exp2(A * span) * h + local; }
  }
  ${bindings.end ? 'end_set(b * args.end_s0 + d * args.end_s1 + n, h);' : ''}
}`,
    workgroups: [ceilDiv(D, invocations), N, batch],
  })
}
