// The default device: where tensors go that are made without naming one. Replaceable at any time.
import type { Backend } from '../backend/types.js'
import { DeviceError } from '../errors.js'

let current: Backend | null = null

/** The backend that new tensors use. Throws DeviceError if none was opened. */
export function defaultBackend(): Backend {
  if (!current) throw new DeviceError('no device is open; call `await useDevice()` first')
  return current
}

export function setDefaultBackend(backend: Backend | null): void {
  current = backend
}

/** Runs a synchronous function with another default backend. */
export function withBackend<T>(backend: Backend, body: () => T): T {
  const before = current
  current = backend
  try {
    return body()
  } finally {
    current = before
  }
}
