// The root of every error that mambakit throws on purpose. Its message is one line: what was expected, what came,
// what to do. The command line prints the message of these and a stack trace of everything else.

export class MambakitError extends Error {
  override name = 'MambakitError'
}

/** A tensor operation was given shapes that do not fit. */
export class ShapeError extends MambakitError {
  override name = 'ShapeError'
  constructor(
    readonly operation: string,
    readonly shapes: readonly (readonly number[])[],
    expected: string,
  ) {
    super(`${operation}: ${expected}; got ${shapes.map((s) => `(${s.join(', ')})`).join(' and ')}`)
  }
}

/** A tensor operation was given a dtype that it does not take. */
export class DtypeError extends MambakitError {
  override name = 'DtypeError'
  constructor(
    readonly operation: string,
    readonly dtypes: readonly string[],
    expected: string,
  ) {
    super(`${operation}: ${expected}; got ${dtypes.join(' and ')}`)
  }
}

/** A backend has no kernel for an operation. Nothing falls back to another device in silence. */
export class MissingKernelError extends MambakitError {
  override name = 'MissingKernelError'
  constructor(
    readonly kernel: string,
    readonly device: string,
    detail = '',
  ) {
    super(`no '${kernel}' kernel on device ${device}${detail && ` (${detail})`}; choose another device`)
  }
}

/** An index lay outside the table it points into. Raised when results are next read back from the device. */
export class IndexError extends MambakitError {
  override name = 'IndexError'
  constructor(
    readonly kernel: string,
    readonly index: number,
    readonly size: number,
  ) {
    super(`${kernel}: index ${index} is outside [0, ${size})`)
  }
}

/** A device could not be opened, was lost, or ran out of memory. */
export class DeviceError extends MambakitError {
  override name = 'DeviceError'
}
