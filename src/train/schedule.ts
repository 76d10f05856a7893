// Learning-rate schedules: functions from the step (counted from 0) to a factor of the peak rate.
import { MambakitError } from '../errors.js'

export type Schedule = (step: number) => number

export interface ScheduleOptions {
  /** 'cosine' falls along half a cosine, 'wsd' (warm-up, stable, decay) stays and falls linearly at the end. */
  kind: 'cosine' | 'wsd' | 'constant'
  steps: number
  /** Steps of linear warm-up from 0. Default 0. */
  warmup?: number
  /** What is left at the end, as a factor of the peak. Default 0. */
  final?: number
  /** Share of the steps in which 'wsd' decays. Default 0.2. */
  decayShare?: number
}

export function makeSchedule({ kind, steps, warmup = 0, final = 0, decayShare = 0.2 }: ScheduleOptions): Schedule {
  if (!(warmup >= 0 && warmup <= steps))
    throw new MambakitError(`schedule: expected a warm-up of 0 to ${steps} steps, got ${warmup}`)
  return (step) => {
    if (step < warmup) return (step + 1) / warmup
    if (kind === 'constant') return 1
    const start = kind === 'cosine' ? warmup : Math.max(warmup, Math.round(steps * (1 - decayShare)))
    if (step < start) return 1
    const progress = Math.min(1, (step - start) / Math.max(1, steps - start))
    const left = kind === 'cosine' ? 0.5 * (1 + Math.cos(Math.PI * progress)) : 1 - progress
    return final + (1 - final) * left
  }
}
