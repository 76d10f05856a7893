// Stands for the native backend where there is no Node.
import { DeviceError } from '../../errors.js'
import type { Backend } from '../types.js'

export const nativeFault = (): string | null => 'the native device needs Node'

export function openNative(): Backend {
  throw new DeviceError('native: the native device needs Node; use wasm or webgpu here')
}
