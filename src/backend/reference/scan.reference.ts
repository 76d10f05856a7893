// The selective scan and all its gradients, one channel of one sequence at a time, in float64.
import { silu, siluDerivative, softplus, softplusDerivative } from './elementwise.reference.js'
import type { ReferenceKernel, ReportIndex, View } from './view.js'

/** Is every place of the path a position? */
function isInRange(length: number, path: View | null, reportIndex: ReportIndex): boolean {
  const outside = Array.from(path?.values() ?? []).filter((p) => p < 0 || p >= length)
  for (const p of outside) reportIndex(p, length)
  return outside.length === 0
}

/** The steps of each direction in the order in which they run: where a step works, and where its delta, B and C lie. */
function stepsOf(length: number, path: View | null, reverse: number, byStep: number) {
  const directions = path?.rank === 2 ? path.shape[0] : 1
  const count = path ? path.shape[path.rank - 1] : length
  return Array.from({ length: directions }, (_, k) => {
    const steps = Array.from({ length: count }, (_, t) => {
      const position = path ? (path.rank === 2 ? path.at(k, t) : path.at(t)) : t
      return { position, row: byStep ? t : position }
    })
    return reverse ? steps.reverse() : steps
  })
}

/** B or C as every channel sees it at every row: fixed maps are (D, N), others (B, L, G, N). */
function byChannel(map: View, channels: number) {
  const group = (d: number) => Math.floor((d * map.shape[2]) / channels)
  const fixed = map.rank === 2
  return {
    at: (b: number, p: number, d: number, n: number) => (fixed ? map.at(d, n) : map.at(b, p, group(d), n)),
    add: (value: number, b: number, p: number, d: number, n: number) =>
      fixed ? map.add(value, d, n) : map.add(value, b, p, group(d), n),
  }
}

/** What each step adds to the state it gives on from the end of its window: exp(dt A) g of the next step, 0 at a window's end. */
function localBackward(
  decay: readonly Float64Array[],
  driven: readonly Float64Array[],
  window: number,
): Float64Array[] {
  const added: Float64Array[] = []
  for (let step = decay.length - 1; step >= 0; step--) {
    const last = step === decay.length - 1 || (step + 1) % window === 0
    added[step] = decay[step].map((e, n) => (last ? 0 : e * (added[step + 1][n] + driven[step + 1][n])))
  }
  return added
}

export const selectiveScan: ReferenceKernel<'selectiveScan'> = (
  { u, delta, A, B, C, D, z, deltaBias, initialState, resets, path, out, finalState, states, chunkStates },
  { softplus: useSoftplus, reverse, chunk, window, byStep },
  reportIndex,
) => {
  const [batch, length] = u.shape
  if (!isInRange(length, path, reportIndex)) return
  const [channels, stateSize] = A.shape
  const directions = stepsOf(length, path, reverse, byStep)
  const [mapB, mapC] = [byChannel(B, channels), byChannel(C, channels)]
  out.fill(0)
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      const steps = directions[Math.floor((d * directions.length) / channels)]
      let h = Float64Array.from({ length: stateSize }, (_, n) => initialState?.at(b, d, n) ?? 0)
      const decay: Float64Array[] = []
      const driven: Float64Array[] = []
      const after = steps.map(({ position, row }, step) => {
        if (chunkStates && step % chunk === 0) for (const n of h.keys()) chunkStates.put(h[n], b, step / chunk, n, d)
        if (resets?.at(b, position)) h = new Float64Array(stateSize)
        const raw = delta.at(b, row, d % delta.shape[2]) + (deltaBias?.at(d) ?? 0)
        const dt = useSoftplus ? softplus(raw) : raw
        const x = u.at(b, position, d % u.shape[2])
        decay[step] = h.map((_, n) => Math.exp(dt * A.at(d, n)))
        driven[step] = h.map((_, n) => dt * mapB.at(b, row, d, n) * x)
        h = h.map((value, n) => decay[step][n] * value + driven[step][n])
        return h
      })
      const added = window > 1 ? localBackward(decay, driven, window) : null
      steps.forEach(({ position, row }, step) => {
        let y = D ? D.at(d) * u.at(b, position, d % u.shape[2]) : 0
        for (let n = 0; n < stateSize; n++) {
          y += mapC.at(b, row, d, n) * (after[step][n] + (added ? added[step][n] : 0))
          states?.put(after[step][n], b, position, d, n)
        }
        out.add(z ? y * silu(z.at(b, position, d % z.shape[2])) : y, b, position, d % out.shape[2])
      })
      for (const n of h.keys()) finalState?.put(h[n], b, d, n)
    }
}

export const selectiveScanGrad: ReferenceKernel<'selectiveScanGrad'> = (
  views,
  { softplus: useSoftplus, reverse, window, byStep },
  reportIndex,
) => {
  const { u, delta, A, B, C, D, z, deltaBias, resets, path, chunkStates, gradOut, gradFinalState, gradStates } = views
  const { gradU, gradDelta, gradA, gradB, gradC, gradD, gradZ, gradDeltaBias, gradInitialState } = views
  const [batch, length] = u.shape
  if (!isInRange(length, path, reportIndex)) return
  const [channels, stateSize] = A.shape
  const directions = stepsOf(length, path, reverse, byStep)
  const [mapB, mapC] = [byChannel(B, channels), byChannel(C, channels)]
  const [sumB, sumC] = [byChannel(gradB, channels), byChannel(gradC, channels)]
  for (const sum of [gradU, gradDelta, gradZ, gradA, gradB, gradC, gradD, gradDeltaBias]) sum?.fill(0)
  const zeros = () => new Float64Array(stateSize)
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      const steps = directions[Math.floor((d * directions.length) / channels)]
      // Every state of the channel again, from the one before the first chunk: what a step starts from, and its result.
      const before: Float64Array[] = []
      const decay: Float64Array[] = []
      const driven: Float64Array[] = []
      const gradY: number[] = []
      let h = Float64Array.from({ length: stateSize }, (_, n) => chunkStates?.at(b, 0, n, d) ?? 0)
      const timeStep = (row: number) => {
        const raw = delta.at(b, row, d % delta.shape[2]) + (deltaBias?.at(d) ?? 0)
        return useSoftplus ? { dt: softplus(raw), dtDerivative: softplusDerivative(raw) } : { dt: raw, dtDerivative: 1 }
      }
      const after = steps.map(({ position, row }, step) => {
        if (resets?.at(b, position)) h = zeros()
        const { dt } = timeStep(row)
        before[step] = h
        decay[step] = h.map((_, n) => Math.exp(dt * A.at(d, n)))
        driven[step] = h.map((_, n) => dt * mapB.at(b, row, d, n) * u.at(b, position, d % u.shape[2]))
        h = h.map((value, n) => decay[step][n] * value + driven[step][n])
        const gate = z ? silu(z.at(b, position, d % z.shape[2])) : 1
        gradY[step] = gradOut.at(b, position, d % gradOut.shape[2]) * gate
        return h
      })
      const added = window > 1 ? localBackward(decay, driven, window) : steps.map(zeros)
      // The adjoint of the second recurrence, which runs forward inside a window.
      const local = steps.map(zeros)
      if (window > 1)
        steps.forEach(({ row }, step) => {
          if (step + 1 === steps.length || (step + 1) % window === 0) return
          for (let n = 0; n < stateSize; n++)
            local[step + 1][n] = decay[step][n] * (mapC.at(b, row, d, n) * gradY[step] + local[step][n])
        })

      // g is the gradient of the state after the step at hand.
      const g = Float64Array.from({ length: stateSize }, (_, n) => gradFinalState?.at(b, d, n) ?? 0)
      for (let step = steps.length - 1; step >= 0; step--) {
        const { position, row } = steps[step]
        const x = u.at(b, position, d % u.shape[2])
        const { dt, dtDerivative } = timeStep(row)
        let y = D ? D.at(d) * x : 0
        let gradX = D ? D.at(d) * gradY[step] : 0
        let gradDt = 0
        for (let n = 0; n < stateSize; n++) {
          const seen = after[step][n] + added[step][n]
          y += mapC.at(b, row, d, n) * seen
          const throughC = mapC.at(b, row, d, n) * gradY[step]
          g[n] += throughC + (gradStates?.at(b, position, d, n) ?? 0)
          const gradDriven = g[n] + local[step][n]
          // The gradient of the decay, times the decay.
          const throughDecay = g[n] * decay[step][n] * before[step][n] + (throughC + local[step][n]) * added[step][n]
          sumC.add(gradY[step] * seen, b, row, d, n)
          sumB.add(gradDriven * dt * x, b, row, d, n)
          gradA.add(throughDecay * dt, d, n)
          gradX += gradDriven * dt * mapB.at(b, row, d, n)
          gradDt += gradDriven * mapB.at(b, row, d, n) * x + throughDecay * A.at(d, n)
          g[n] *= decay[step][n]
        }
        if (z) {
          const gate = z.at(b, position, d % z.shape[2])
          const through = gradOut.at(b, position, d % gradOut.shape[2]) * y * siluDerivative(gate)
          gradZ?.add(through, b, position, d % z.shape[2])
        }
        gradD?.add(gradY[step] * x, d)
        gradU.add(gradX, b, position, d % u.shape[2])
        gradDelta.add(gradDt * dtDerivative, b, row, d % delta.shape[2])
        gradDeltaBias?.add(gradDt * dtDerivative, d)
        if (resets?.at(b, position)) g.fill(0)
      }
      for (const n of g.keys()) gradInitialState?.put(g[n], b, d, n)
    }
}
