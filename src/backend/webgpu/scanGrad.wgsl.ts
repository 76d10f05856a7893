// Gradients of the selective scan. Chunks are walked from the last to the first in windows: inside a window every
// chunk recomputes its states from chunkStates into scratch memory, then walks back with the adjoint that enters it from
// the right. With few channels that adjoint is found for all chunks first (a local walk and a carry), and a window is
// as large as the scratch memory allows; with many it is handed from window to window, one chunk each.
// Sums over channels (B, C) and over batch and time (A, D, bias, fixed B and C) are taken in two stages, in fixed order.
import type { OperandsOf } from '../kernels.js'
import type { Operand } from '../types.js'
import { elementwise } from './elementwise.wgsl.js'
import {
  ceilDiv,
  dispatchLayers,
  type Encoder,
  type Launcher,
  present,
  read,
  shifted,
  size,
  strideFields,
  update,
  write,
} from './launcher.js'
import { logistic } from './math.wgsl.js'
import type { Binding } from './program.js'
import { carry, layoutKey, scanHead } from './scan.wgsl.js'
import { scanGradByTiles } from './scanGradTiled.wgsl.js'
import { sumColumnParts, sumPlanes } from './scanSums.wgsl.js'
import {
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

const invocations = 64
/** Channels that one partial sum of B's and C's gradients covers. */
const partWidth = 32
/** States of which a workgroup sums the gradients of B and C together. */
const blockStates = 16
const scratchBytes = 2 ** 28

type Operands = OperandsOf<'selectiveScanGrad'>
export type KeptOperands = Operands & { readonly chunkStates: Operand }

/** What one chunk starts from where nothing was kept. */
function zeroStates(launcher: Launcher, { batch, N, channels }: WalkSizes): Operand {
  const zeros = launcher.scratch('float32', [batch, 1, N, channels])
  elementwise(launcher, { label: 'zero', bindings: { out: write(zeros) }, text: 'out = 0.0;' })
  return zeros
}

export const selectiveScanGrad: Encoder<'selectiveScanGrad'> = (launcher, given, { chunk, ...numbers }) => {
  const { flags, sizes } = walkOf(given, numbers)
  const { L, positions, channels, directions } = sizes
  const whole = L === positions
  const rowed = whole || numbers.byStep === 1
  const sequence = (target: Operand, visited: boolean) => perDirection(launcher, target, directions, channels, visited)
  // One group of B or C has a sum over directions where these find it at different steps.
  const map = (target: Operand) =>
    isFixed(target) ? null : perDirection(launcher, target, flags.byStep ? 1 : directions, directions, rowed)
  const [gradU, gradDelta] = [sequence(given.gradU, whole), sequence(given.gradDelta, rowed)]
  const gradZ = given.z && given.gradZ ? sequence(given.gradZ, whole) : null
  const [gradB, gradC] = [map(given.gradB), map(given.gradC)]
  const operands: KeptOperands = {
    ...given,
    chunkStates: given.chunkStates ?? zeroStates(launcher, sizes),
    ...{ gradU: gradU.into, gradDelta: gradDelta.into, gradZ: gradZ?.into },
    ...{ gradB: gradB?.into ?? given.gradB, gradC: gradC?.into ?? given.gradC },
  }
  if (!scanGradByTiles(launcher, operands, chunk, flags, sizes))
    scanGradByChannels(launcher, operands, chunk, flags, sizes)
  for (const result of [gradU, gradDelta, gradZ, gradB, gradC]) result?.finish()
}

function scanGradByChannels(
  launcher: Launcher,
  operands: KeptOperands,
  chunk: number,
  flags: WalkFlags,
  sizes: WalkSizes,
): void {
  const { B, C } = operands
  const { batch, L, channels: D, N, directions } = sizes
  // Channels in groups of which each lies in one group of B, one of C and one direction.
  const G = [groupsOf(C), directions].reduce(leastCommonMultiple, groupsOf(B))
  const chunks = ceilDiv(L, chunk)
  const parallel = chunks > 1 && batch * D < launcher.traits.fillingInvocations
  const innerStates = flags.window ? 3 * N : N
  const window = parallel
    ? Math.max(1, Math.min(chunks, Math.floor(scratchBytes / (batch * chunk * innerStates * D * 4))))
    : 1
  const fixedB = isFixed(B)
  const fixedC = isFixed(C)
  const groupBlocks = ceilDiv(ceilDiv(D, G), invocations)
  const parts = groupBlocks * (invocations / partWidth)
  const planes = N + 2 + (fixedB ? N : 0) + (fixedC ? N : 0)
  const adjointChunks = parallel ? chunks : 1
  // One buffer for all scratch, since bindings are few.
  const extents = {
    adjoint: [batch, adjointChunks, N, D],
    planes: [batch, window, planes, D],
    parts: [batch, Math.min(L, window * chunk), G, parts, 2 * N],
    states: [batch * window, chunk, innerStates, D],
  }
  const pool = launcher.scratch('float32', [Object.values(extents).reduce((sum, shape) => sum + size(shape), 0)])
  let at = 0
  const part = (shape: readonly number[]): Operand => {
    const operand = shifted(pool, at, shape)
    at += size(shape)
    return operand
  }
  const adjoint = part(extents.adjoint)
  const planeSums = part(extents.planes)
  const columnParts = part(extents.parts)
  const inner = part(extents.states)
  if (parallel) adjointsOfChunks(launcher, operands, flags, sizes, adjoint, chunk)
  else startAdjoint(launcher, operands, adjoint)

  const bindings = windowBindings(operands, adjoint, planeSums, columnParts, inner)
  for (let end = chunks; end > 0; end -= window) {
    const firstChunk = Math.max(0, end - window)
    const count = end - firstChunk
    dispatchLayers(launcher, {
      label: `scanGrad.${parallel}.${N}.${flagKey(flags)}.${layoutKey(bindings)}`,
      bindings,
      integers: {
        ...strideFields(bindings),
        ...walkFields(sizes),
        groups: G,
        B_groups: groupsOf(B),
        C_groups: groupsOf(C),
        steps: chunk,
        first_chunk: firstChunk,
        window,
        group_blocks: groupBlocks,
        first_window: end === chunks ? 1 : 0,
      },
      code: () => windowText(N, flags, bindings, parallel, launcher.traits.unrolledStates),
      workgroups: [G * groupBlocks, count, batch],
    })
    const stepsHere = Math.min(L, end * chunk) - firstChunk * chunk
    const walk = {
      first: firstChunk * chunk,
      steps: stepsHere,
      L,
      reverse: flags.reverse,
      path: flags.byStep ? null : operands.path,
    }
    if (!fixedB) sumColumnParts(launcher, columnParts, operands.gradB, 0, walk)
    if (!fixedC) sumColumnParts(launcher, columnParts, operands.gradC, N, walk)
  }
  if (!parallel && operands.gradInitialState) copyAdjoint(launcher, adjoint, operands.gradInitialState)
  const { gradA, gradB, gradC, gradD, gradDeltaBias } = operands
  sumPlanes(launcher, planeSums, 0, gradA)
  if (gradD) sumPlanes(launcher, planeSums, N, gradD)
  if (gradDeltaBias) sumPlanes(launcher, planeSums, N + 1, gradDeltaBias)
  if (fixedB) sumPlanes(launcher, planeSums, N + 2, gradB)
  if (fixedC) sumPlanes(launcher, planeSums, N + 2 + (fixedB ? N : 0), gradC)
}

function windowBindings(
  operands: KeptOperands,
  adjoint: Operand,
  planes: Operand,
  parts: Operand,
  inner: Operand,
): Record<string, Binding> {
  const { u, delta, A, B, C, D, z, deltaBias, resets, path, chunkStates, gradOut, gradStates } = operands
  return present({
    u: read(u),
    delta: read(delta),
    A: read(A),
    deltaBias: deltaBias && read(deltaBias),
    resets: resets && read(resets),
    path: path && read(path),
    B: projection(B),
    C: projection(C),
    D: D && read(D),
    z: z && read(z),
    border: read(chunkStates),
    g: read(gradOut),
    gs: gradStates && read(gradStates),
    gradU: write(operands.gradU),
    gradDelta: write(operands.gradDelta),
    gradZ: z && operands.gradZ && write(operands.gradZ),
    adjoint: update(adjoint),
    planes: update(planes),
    parts: write(parts),
    inner: update(inner),
  })
}

/** dy, the gradient of the scan's output before the gate; 0 in an invocation without a channel. */
function outputGradText(flags: WalkFlags, bindings: Record<string, Binding>, masked: boolean): string {
  const own = (value: string) => (masked ? `select(0.0, ${value}, valid)` : value)
  const gate = bindings.z ? `let gate = ${sequenceText(flags, 'z')};` : ''
  return `
    let go = ${sequenceText(flags, 'g')}; ${gate}
    let dy = ${own(bindings.z ? 'go * silu(gate)' : 'go')};
    ${bindings.gs ? 'let gs_0 = b * args.gs_s0 + p * args.gs_s1 + d * args.gs_s2;' : ''}`
}

/** One window: `count` chunks from `args.first_chunk` on, all of them at once. */
function windowText(
  N: number,
  flags: WalkFlags,
  bindings: Record<string, Binding>,
  parallel: boolean,
  unrolled: number,
): string {
  const { declare, each } = stateLoop(N, unrolled)
  const [loadB, B] = projectionText('B', bindings.B, N, unrolled)
  const [loadC, C] = projectionText('C', bindings.C, N, unrolled)
  const fixedB = isFixed(bindings.B.operand)
  const fixedC = isFixed(bindings.C.operand)
  const block = Math.min(N, blockStates)
  const rows = 2 * block
  const plane = (index: string, value: string) =>
    `{ let at = planes_0 + (${index}) * args.planes_s2; planes_set(at, select(planes_get(at), 0.0, args.first_window == 1u) + ${value}); }`
  const step = (n: string, of: (name: string) => string, slotOf: string) => `
      let a = exp2(dt * ${of('A')});
      let decayed = a * inner_get(inner_0 + ${n} * args.inner_s2);
      let Bn = ${B(n)};
      let after = decayed + dx * Bn;
      let Cn = ${C(n)};
      let gn = ${of('g')} + Cn * dy${bindings.gs ? ` + select(0.0, gs_get(gs_0 + ${n}), valid)` : ''};
      ${
        flags.window
          ? `let r = inner_get(inner_0 + (${n} + ${N}u) * args.inner_s2);
      let local = select(0.0, inner_get(inner_0 + (${n} + ${2 * N}u) * args.inner_s2), valid);
      let seen = after + r;
      let gx = gn + local;
      let ga = gn * decayed + (Cn * dy + local) * r;`
          : 'let seen = after; let gx = gn; let ga = gn * decayed;'
      }
      y += Cn * seen;
      dx_grad += gx * Bn;
      dt_grad += ga * ${of('A')};
      ${of('dA')} += ga * dt;
      ${fixedB ? `${of('dB')} += gx * dx;` : ''} ${fixedC ? `${of('dC')} += dy * seen;` : ''}
      ${fixedB && fixedC ? '' : `tile[(${slotOf}) * ${invocations + 1}u + lane] = gx * dx; tile[(${slotOf} + ${block}u) * ${invocations + 1}u + lane] = dy * seen;`}
      ${of('g')} = ${flags.resets ? 'select(gn * a, 0.0, isReset)' : 'gn * a'};`
  // Each half of the workgroup sums one row of its ${partWidth} channels an invocation.
  const reduceTile = (blockIndex: string) => `
      workgroupBarrier();
      for (var r = lane % ${partWidth}u; r < ${rows}u; r += ${partWidth}u) {
        let row_0 = r * ${invocations + 1}u + lane / ${partWidth}u * ${partWidth}u;
        var total = 0.0;
        for (var i = 0u; i < ${partWidth}u; i++) { total += tile[row_0 + i]; }
        let n = ${blockIndex} * ${block}u + r % ${block}u;
        if (n < ${N}u) { parts_set(parts_0 + select(0u, ${N}u, r >= ${block}u) + n, total); }
      }
      workgroupBarrier();`
  const partsBase = `let parts_0 = b * args.parts_s0 + (s - args.first_chunk * args.steps) * args.parts_s1 + group * args.parts_s2
      + (wid.x % args.group_blocks * ${invocations / partWidth}u + lane / ${partWidth}u) * args.parts_s3;`
  const perStep =
    fixedB && fixedC
      ? each((n, of) => step(n, of, '0u'))
      : N <= blockStates
        ? `${each((n, of) => step(n, of, n))} ${partsBase} ${reduceTile('0u')}`
        : `${partsBase}
    for (var block = 0u; block < ${ceilDiv(N, block)}u; block++) {
      for (var k = 0u; k < ${block}u; k++) {
        let n = block * ${block}u + k;
        if (n >= ${N}u) { break; }
        ${step('n', (name) => `${name}[n]`, 'k')}
      }
      ${reduceTile('block')}
    }`
  const loads = N <= blockStates ? [`${loadB} ${loadC}`, ''] : ['', `${loadB} ${loadC}`]
  return `${logistic}
var<workgroup> tile: array<f32, ${fixedB && fixedC ? 1 : rows * (invocations + 1)}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let b = wid.z + args.z_first;
  let c = args.first_chunk + wid.y;
  let group = wid.x / args.group_blocks;
  let low = (group * args.channels + args.groups - 1u) / args.groups;
  let high = ((group + 1u) * args.channels + args.groups - 1u) / args.groups;
  let own = low + wid.x % args.group_blocks * ${invocations}u + lane;
  // Invocations without a channel take part in the sums, at a valid place, with gradients of 0.
  let valid = own < high;
  let d = min(own, args.channels - 1u);
  let first = c * args.steps;
  let last = min(args.L, first + args.steps);
  ${declare('h')} ${declare('g')} ${declare('A')} ${declare('dA')}
  ${fixedB ? declare('dB') : ''} ${fixedC ? declare('dC') : ''}
  let border_0 = b * args.border_s0 + c * args.border_s1 + d;
  let adjoint_0 = b * args.adjoint_s0 + ${parallel ? 'c' : '0u'} * args.adjoint_s1 + d;
  ${each(
    (n, of) => `${of('A')} = A_get(d * args.A_s0 + ${n}) * ${log2e};
    ${of('h')} = border_get(border_0 + ${n} * args.border_s2);
    if (valid) { ${of('g')} = adjoint_get(adjoint_0 + ${n} * args.adjoint_s2); }`,
  )}
  ${flags.deltaBias ? 'let bias = deltaBias_get(d);' : ''}
  ${bindings.D ? 'let skip = D_get(d);' : ''}
  let inner_base = (b * args.window + wid.y) * args.inner_s0 + d;
  if (valid) {
    for (var s = first; s < last; s++) {
      ${positionText(flags)}
      ${stepSizeText(flags)}
      ${flags.resets ? `if (isReset) { ${each((_, of) => `${of('h')} = 0.0;`)} }` : ''}
      let dx = dt * ${sequenceText(flags, 'u')};
      let inner_0 = inner_base + (s - first) * args.inner_s1;
      ${loadB}
      ${each(
        (n, of) => `inner_set(inner_0 + ${n} * args.inner_s2, ${of('h')});
      ${of('h')} = exp2(dt * ${of('A')}) * ${of('h')} + dx * ${B(n)};`,
      )}
    }
    ${flags.window ? localText(N, flags, bindings, each) : ''}
  }
  var dD = 0.0;
  var dBias = 0.0;
  for (var back = last; back > first; back--) {
    let s = back - 1u;
    ${positionText(flags)}
    ${stepSizeText(flags)}
    ${outputGradText(flags, bindings, true)}
    let x = ${sequenceText(flags, 'u')};
    let dx = dt * x;
    let inner_0 = inner_base + (s - first) * args.inner_s1;
    var y = ${bindings.D ? 'skip * x' : '0.0'};
    var dx_grad = 0.0;
    var dt_grad = 0.0;
    ${loads[0]}${loads[1]}
    ${perStep}
    // A held base-2 logarithms; the chain rule wants natural ones.
    let gradStep = (dt_grad * ${Math.LN2} + dx_grad * x)${flags.softplus ? ' * sigmoid(raw)' : ''};
    dBias += gradStep;
    dD += dy * x;
    if (valid) {
      gradU_set(b * args.gradU_s0 + p * args.gradU_s1 + d, dx_grad * dt${bindings.D ? ' + skip * dy' : ''});
      gradDelta_set(b * args.gradDelta_s0 + row * args.gradDelta_s1 + d, gradStep);
      ${bindings.gradZ ? 'gradZ_set(b * args.gradZ_s0 + p * args.gradZ_s1 + d, go * y * siluGrad(gate));' : ''}
    }
  }
  if (!valid) { return; }
  let planes_0 = b * args.planes_s0 + wid.y * args.planes_s1 + d;
  ${each((n, of) => plane(n, of('dA')))}
  ${plane(`${N}u`, 'dD')} ${plane(`${N + 1}u`, 'dBias')}
  ${fixedB ? each((n, of) => plane(`${N + 2}u + ${n}`, of('dB'))) : ''}
  ${fixedC ? each((n, of) => plane(`${N + 2 + (fixedB ? N : 0)}u + ${n}`, of('dC'))) : ''}
  ${parallel ? '' : each((n, of) => `adjoint_set(adjoint_0 + ${n} * args.adjoint_s2, ${of('g')});`)}
}`
}

/** What the local recurrence of each step of a chunk adds to its state, and the adjoint of that recurrence, kept beside the states. */
function localText(N: number, flags: WalkFlags, bindings: Record<string, Binding>, each: StateLoop['each']): string {
  const w = flags.window
  const at = (name: 'B' | 'C', n: string) => `${name}_get(${mapBase(name, bindings[name].operand, 'row')} + ${n})`
  const walk = (index: string) => `let s = ${index};
        ${positionText(flags)}
        ${stepSizeText(flags)}
        let inner_0 = inner_base + (s - first) * args.inner_s1;`
  return `for (var s0 = first; s0 < last; s0 += ${w}u) {
      let end = min(s0 + ${w}u, last);
      ${each(
        (n, of) => `var next = 0.0;
      for (var back = end; back > s0; back--) {
        ${walk('back - 1u')}
        let r = exp2(dt * ${of('A')}) * next;
        inner_set(inner_0 + (${n} + ${N}u) * args.inner_s2, r);
        next = r + dt * ${sequenceText(flags, 'u')} * ${at('B', n)};
      }
      var local = 0.0;
      for (var forth = s0; forth < end; forth++) {
        ${walk('forth')}
        ${outputGradText(flags, bindings, false)}
        inner_set(inner_0 + (${n} + ${2 * N}u) * args.inner_s2, local);
        local = exp2(dt * ${of('A')}) * (${at('C', n)} * dy + local);
      }`,
      )}
    }`
}

/** The adjoint that enters each chunk from the right, for all chunks. */
function adjointsOfChunks(
  launcher: Launcher,
  operands: Operands,
  flags: WalkFlags,
  sizes: WalkSizes,
  adjoint: Operand,
  steps: number,
): void {
  const { delta, A, C, z, deltaBias, resets, path, gradOut, gradStates, gradFinalState, gradInitialState } = operands
  const [batch, chunks, N, D] = adjoint.shape
  const ends = launcher.scratch('float32', [batch, chunks, N + 2, D])
  const bindings = present({
    delta: read(delta),
    A: read(A),
    C: projection(C),
    z: z && read(z),
    deltaBias: deltaBias && read(deltaBias),
    resets: resets && read(resets),
    path: path && read(path),
    g: read(gradOut),
    gs: gradStates && read(gradStates),
    ends: write(ends),
  })
  const unrolled = launcher.traits.unrolledStates
  const { declare, each } = stateLoop(N, unrolled)
  dispatchLayers(launcher, {
    label: `scanGrad.local.${N}.${flagKey(flags)}.${layoutKey(bindings)}`,
    bindings,
    integers: { ...strideFields(bindings), ...walkFields(sizes), C_groups: groupsOf(C), steps },
    code: () => {
      const [loadC, Cn] = projectionText('C', bindings.C, N, unrolled)
      return `${logistic}
${scanHead(invocations)}
  ${declare('g')} ${declare('A')}
  ${each((n, of) => `${of('A')} = A_get(d * args.A_s0 + ${n}) * ${log2e};`)}
  ${flags.deltaBias ? 'let bias = deltaBias_get(d);' : ''}
  var span = 0.0;
  var alive = 1.0;
  for (var back = last; back > first; back--) {
    let s = back - 1u;
    ${positionText(flags)}
    ${stepSizeText(flags)}
    ${outputGradText(flags, bindings, false)}
    span += dt;
    ${loadC}
    ${each(
      (n, of) =>
        `${of('g')} = exp2(dt * ${of('A')}) * (${of('g')} + ${Cn(n)} * dy${bindings.gs ? ` + gs_get(gs_0 + ${n})` : ''});`,
    )}
    ${flags.resets ? `if (isReset) { alive = 0.0; ${each((_, of) => `${of('g')} = 0.0;`)} }` : ''}
  }
  let ends_0 = b * args.ends_s0 + c * args.ends_s1 + d;
  ${each((n, of) => `ends_set(ends_0 + ${n} * args.ends_s2, ${of('g')});`)}
  ends_set(ends_0 + ${N}u * args.ends_s2, span);
  ends_set(ends_0 + ${N + 1}u * args.ends_s2, alive);
}`
    },
    workgroups: [ceilDiv(D, invocations), chunks, batch],
  })
  carry(launcher, { A, ends, starts: adjoint, start: gradFinalState, end: gradInitialState }, true)
}

/** The adjoint of the final state, (B, D, N) to (B, 1, N, D), or zeros. */
function startAdjoint(launcher: Launcher, { gradFinalState }: Operands, adjoint: Operand): void {
  const flipped = transposedStates(adjoint)
  if (gradFinalState) moveStates(launcher, gradFinalState, flipped)
  else elementwise(launcher, { label: 'zero', bindings: { out: write(flipped) }, text: 'out = 0.0;' })
}

function copyAdjoint(launcher: Launcher, adjoint: Operand, gradInitialState: Operand): void {
  moveStates(launcher, transposedStates(adjoint), gradInitialState)
}

export const moveStates = (launcher: Launcher, from: Operand, to: Operand) =>
  elementwise(launcher, { label: 'copy.f32', bindings: { x: read(from), out: write(to) }, text: 'out = x;' })

/** (B, 1, N, D) seen as (B, D, N). */
export function transposedStates(adjoint: Operand): Operand {
  const [batch, , N, D] = adjoint.shape
  const [perBatch, , perState] = adjoint.strides
  return { ...adjoint, shape: [batch, D, N], strides: [perBatch, 1, perState] }
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b]
  while (y > 0) [x, y] = [y, x % y]
  return (a / x) * b
}
