// The selective scan and all its gradients, one channel of one sequence at a time, in float64.
import { silu, siluDerivative, softplus, softplusDerivative } from './elementwise.reference.js'
import type { ReferenceKernel, View } from './view.js'

/** Positions in the order in which steps run. */
function runOrder(length: number, path: View | null, reverse: number): number[] {
  const positions = Array.from({ length }, (_, step) => (path ? path.at(step) : step))
  return reverse ? positions.reverse() : positions
}

/** B or C as every channel sees it at every position: fixed maps are (D, N), others (B, L, G, N). */
function byChannel(map: View, channels: number) {
  const group = (d: number) => Math.floor((d * map.shape[2]) / channels)
  const fixed = map.rank === 2
  return {
    at: (b: number, p: number, d: number, n: number) => (fixed ? map.at(d, n) : map.at(b, p, group(d), n)),
    add: (value: number, b: number, p: number, d: number, n: number) =>
      fixed ? map.add(value, d, n) : map.add(value, b, p, group(d), n),
  }
}

export const selectiveScan: ReferenceKernel<'selectiveScan'> = (
  { u, delta, A, B, C, D, z, deltaBias, initialState, resets, path, out, finalState, states, chunkStates },
  { softplus: useSoftplus, reverse, chunk },
) => {
  const [batch, length, channels] = u.shape
  const stateSize = A.shape[1]
  const order = runOrder(length, path, reverse)
  const [mapB, mapC] = [byChannel(B, channels), byChannel(C, channels)]
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      const h = Float64Array.from({ length: stateSize }, (_, n) => initialState?.at(b, d, n) ?? 0)
      order.forEach((p, step) => {
        if (chunkStates && step % chunk === 0) for (const n of h.keys()) chunkStates.put(h[n], b, step / chunk, n, d)
        if (resets?.at(b, p)) h.fill(0)
        const raw = delta.at(b, p, d) + (deltaBias?.at(d) ?? 0)
        const dt = useSoftplus ? softplus(raw) : raw
        const x = u.at(b, p, d)
        let y = D ? D.at(d) * x : 0
        for (let n = 0; n < stateSize; n++) {
          h[n] = Math.exp(dt * A.at(d, n)) * h[n] + dt * mapB.at(b, p, d, n) * x
          y += mapC.at(b, p, d, n) * h[n]
          states?.put(h[n], b, p, d, n)
        }
        out.put(z ? y * silu(z.at(b, p, d)) : y, b, p, d)
      })
      for (const n of h.keys()) finalState?.put(h[n], b, d, n)
    }
}

export const selectiveScanGrad: ReferenceKernel<'selectiveScanGrad'> = (views, { softplus: useSoftplus, reverse }) => {
  const { u, delta, A, B, C, D, z, deltaBias, resets, path, chunkStates, gradOut, gradFinalState, gradStates } = views
  const { gradU, gradDelta, gradA, gradB, gradC, gradD, gradZ, gradDeltaBias, gradInitialState } = views
  const [batch, length, channels] = u.shape
  const stateSize = A.shape[1]
  const order = runOrder(length, path, reverse)
  const [mapB, mapC] = [byChannel(B, channels), byChannel(C, channels)]
  const [sumB, sumC] = [byChannel(gradB, channels), byChannel(gradC, channels)]
  for (const sum of [gradA, gradB, gradC, gradD, gradDeltaBias]) sum?.fill(0)
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      // Every state of the channel again, from the one before the first chunk: what a step starts from, and its result.
      const before: Float64Array[] = []
      const after: Float64Array[] = []
      let h = Float64Array.from({ length: stateSize }, (_, n) => chunkStates.at(b, 0, n, d))
      const timeStep = (p: number) => {
        const raw = delta.at(b, p, d) + (deltaBias?.at(d) ?? 0)
        return useSoftplus ? { dt: softplus(raw), dtDerivative: softplusDerivative(raw) } : { dt: raw, dtDerivative: 1 }
      }
      order.forEach((p, step) => {
        if (resets?.at(b, p)) h = new Float64Array(stateSize)
        const { dt } = timeStep(p)
        before[step] = h
        h = h.map((value, n) => Math.exp(dt * A.at(d, n)) * value + dt * mapB.at(b, p, d, n) * u.at(b, p, d))
        after[step] = h
      })

      // g is the gradient of the state after the step at hand.
      const g = Float64Array.from({ length: stateSize }, (_, n) => gradFinalState?.at(b, d, n) ?? 0)
      for (let step = length - 1; step >= 0; step--) {
        const p = order[step]
        const x = u.at(b, p, d)
        const { dt, dtDerivative } = timeStep(p)
        let y = D ? D.at(d) * x : 0
        for (let n = 0; n < stateSize; n++) y += mapC.at(b, p, d, n) * after[step][n]
        const gate = z ? z.at(b, p, d) : 0
        const gradY = gradOut.at(b, p, d) * (z ? silu(gate) : 1)
        gradZ?.put(gradOut.at(b, p, d) * y * siluDerivative(gate), b, p, d)
        gradD?.add(gradY * x, d)
        let gradX = D ? D.at(d) * gradY : 0
        let gradDt = 0
        for (let n = 0; n < stateSize; n++) {
          const decay = Math.exp(dt * A.at(d, n))
          g[n] += mapC.at(b, p, d, n) * gradY + (gradStates?.at(b, p, d, n) ?? 0)
          sumC.add(gradY * after[step][n], b, p, d, n)
          sumB.add(g[n] * dt * x, b, p, d, n)
          gradA.add(g[n] * decay * dt * before[step][n], d, n)
          gradX += g[n] * dt * mapB.at(b, p, d, n)
          gradDt += g[n] * (mapB.at(b, p, d, n) * x + decay * A.at(d, n) * before[step][n])
          g[n] *= decay
        }
        gradU.put(gradX, b, p, d)
        gradDelta.put(gradDt * dtDerivative, b, p, d)
        gradDeltaBias?.add(gradDt * dtDerivative, d)
        if (resets?.at(b, p)) g.fill(0)
      }
      for (const n of g.keys()) gradInitialState?.put(g[n], b, d, n)
    }
}
